//! The order of the layers around every handler, in one place.
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, Error, web};

use crate::blueprint::Configure;
use crate::deadline;
use crate::error::ApiError;
use crate::reject;
use crate::routes::{self, Routes};

/// The application of one worker. From the outside in:
///
/// 1. server span, around everything, so that all below is inside the trace;
/// 2. request metrics and panics, so that nothing ends uncounted;
/// 3. the log line of a failure, once, where it has become a response;
/// 4. the request's time-out (per resource), whose 504 is counted and logged like any other;
/// 5. the handler.
pub(crate) fn application(
    routes: Routes,
    configure: &[Configure],
    request_timeout: Duration,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody + use<>>,
        Error = Error,
        InitError = (),
    > + use<>,
> {
    let mut app = App::new().configure(reject::configure);
    for configure in configure {
        app = app.configure(|config| configure(config));
    }
    for resource in routes::resources(routes) {
        app = app.service(resource.wrap(from_fn(move |request, next: Next<BoxBody>| {
            deadline::enforce(request_timeout, request, next)
        })));
    }
    app.default_service(web::to(routes::not_found))
        .wrap(from_fn(log_failure))
        .wrap(telemetry::http_server::Red)
        .wrap(telemetry::http_server::tracing_logger())
}

async fn log_failure(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let result = next.call(request).await;
    let error = match &result {
        Ok(response) => response.response().error(),
        Err(error) => Some(error),
    };
    match error.map(|error| (error, error.as_error::<ApiError>())) {
        Some((_, Some(error))) => error.log(),
        Some((error, None)) => {
            tracing::error!(error = %error, "request failed outside the service's own errors")
        }
        None => {}
    }
    result
}

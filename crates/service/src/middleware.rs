//! The order of the layers around every handler, in one place.
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, Error, web};

use crate::blueprint::Configure;
use crate::error::ApiError;
use crate::extract;
use crate::host_guard::{self, HostGuard};
use crate::routes::{self, Routes};

/// The application of one worker. From the outside in:
///
/// 1. server span, around everything, so that all below is inside the trace;
/// 2. request metrics and panics, so that nothing ends uncounted;
/// 3. the log line of a failure, once, where it has become a response;
/// 4. whom we answer, and by which names;
/// 5. `HEAD` as `GET`;
/// 6. the wait for the body, then the time-out (per route), whose 504 is counted and logged like any other;
/// 7. the handler.
pub(crate) fn application(
    routes: Routes,
    configure: &[Configure],
    request_timeout: Duration,
    host_guard: Option<HostGuard>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody + use<>>,
        Error = Error,
        InitError = (),
    > + use<>,
> {
    let mut app = App::new().configure(extract::configure);
    for configure in configure {
        app = app.configure(|config| configure(config));
    }
    for resource in routes::resources(routes, request_timeout) {
        app = app.service(resource);
    }
    app.default_service(web::to(routes::not_found))
        .wrap(from_fn(listen::head_as_get))
        .wrap(from_fn(move |request, next| {
            host_guard::enter(host_guard.clone(), request, next)
        }))
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
    // For any other error, the layer that counts it logs the cause.
    if let Some(error) = error.and_then(|error| error.as_error::<ApiError>()) {
        error.log();
    }
    result
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;
    use actix_web::http::Method;
    use actix_web::test::{TestRequest, init_service, try_call_service};
    use serde_json::{Value, json};

    use super::*;
    use crate::extract::Json;
    use crate::problem::Problem;
    use crate::routes::Route;

    async fn panics() -> String {
        panic!("on purpose")
    }

    async fn hangs() -> String {
        std::future::pending().await
    }

    async fn echo(Json(body): Json<Value>) -> web::Json<Value> {
        web::Json(body)
    }

    fn routes() -> Routes {
        vec![
            Route::get("/panics", panics),
            Route::get("/hangs", hangs),
            Route::post("/echo", echo),
        ]
    }

    /// The response that a client gets, whichever layer made it.
    async fn answer(request: TestRequest) -> (u16, Vec<u8>) {
        let app = init_service(application(routes(), &[], Duration::from_millis(20), None)).await;
        match try_call_service(&app, request.to_request()).await {
            Ok(response) => {
                let status = response.status().as_u16();
                (
                    status,
                    to_bytes(response.into_body()).await.ok().unwrap().to_vec(),
                )
            }
            Err(error) => {
                let response = error.error_response();
                let status = response.status().as_u16();
                (
                    status,
                    to_bytes(response.into_body()).await.unwrap().to_vec(),
                )
            }
        }
    }

    #[actix_web::test]
    async fn every_failure_is_a_problem_document() {
        let json = ("content-type", "application/json");
        let large = format!("{{}}{}", " ".repeat(70_000));
        for (request, status) in [
            (TestRequest::get().uri("/nowhere"), 404),
            (TestRequest::get().uri("/echo"), 405),
            (
                TestRequest::default().method(Method::DELETE).uri("/hangs"),
                405,
            ),
            (
                TestRequest::post()
                    .uri("/echo")
                    .insert_header(json)
                    .set_payload("{"),
                400,
            ),
            (TestRequest::post().uri("/echo").set_payload("{}"), 400),
            (
                TestRequest::post()
                    .uri("/echo")
                    .insert_header(json)
                    .set_payload(large),
                413,
            ),
            (TestRequest::get().uri("/panics"), 500),
            (TestRequest::get().uri("/hangs"), 504),
        ] {
            let (got, body) = answer(request).await;
            assert_eq!(got, status);
            let problem: Problem = serde_json::from_slice(&body).unwrap();
            assert_eq!(problem.status, status);
        }
    }

    #[actix_web::test]
    async fn a_good_request_passes_through() {
        let (status, body) =
            answer(TestRequest::post().uri("/echo").set_json(json!({"a": 1}))).await;
        assert_eq!((status, body.as_slice()), (200, b"{\"a\":1}".as_slice()));
    }
}

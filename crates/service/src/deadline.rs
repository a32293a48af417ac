//! The time-out of a request.
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage};
use telemetry::deadline::Deadline;

use crate::error::ApiError;
use crate::problem;

/// Answers 504 when the handler takes longer than `limit` once the request is there, and drops it.
///
/// It wraps each route and not the application: only after routing may the request be cloned, which
/// is needed to answer in its place.
pub(crate) async fn enforce(
    limit: Duration,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let deadline = Deadline::after(limit);
    request.extensions_mut().insert(deadline);
    let http_request = request.request().clone();
    match telemetry::deadline::enforce(deadline.0, next.call(request)).await {
        Ok(result) => result.map(ServiceResponse::map_into_boxed_body),
        Err(_) => {
            let error = ApiError::new(
                problem::TIMEOUT,
                format!("not answered within {} ms", limit.as_millis()),
            );
            Ok(ServiceResponse::from_err(error, http_request))
        }
    }
}

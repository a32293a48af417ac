//! `POST /alerts`: Alertmanager's notifications. The answer is 200 only after a notification is on disk.

use actix_web::http::header::ContentType;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use serde_json::json;
use service::{ApiError, problem};

use crate::evidence::Collector;
use crate::queue::{Accepted, Queue, Refusal, no_disk};
use crate::stats::ReceiveOutcome;

/// Largest body that is read. Alertmanager gives up after a 4xx, so this is far beyond any real group.
pub(crate) const BODY_LIMIT: usize = 4 << 20;

/// Accepts a notification.
pub(crate) async fn alerts(
    request: HttpRequest,
    body: Result<web::Bytes, actix_web::Error>,
    queue: web::Data<Queue>,
    collector: web::Data<Collector>,
) -> Result<HttpResponse, ApiError> {
    let body = read(&request, body).inspect_err(|_| ReceiveOutcome::Refused.count())?;
    let queue = queue.into_inner();
    match queue.accept(body).await {
        Ok(Accepted::New(stored)) => {
            ReceiveOutcome::Accepted.count();
            // A silenced notification must not take evidence from others.
            if queue.silences.covering(&stored.payload).is_none() {
                collector.begin(&stored.payload, stored.accepted);
            }
            Ok(HttpResponse::Ok().json(json!({"key": stored.key})))
        }
        Ok(Accepted::Pending(key)) => {
            ReceiveOutcome::Duplicate.count();
            Ok(HttpResponse::Ok().json(json!({"key": key, "pending": true})))
        }
        Err(Refusal::Malformed(error)) => {
            ReceiveOutcome::Refused.count();
            Err(error)
        }
        Err(reason) => {
            ReceiveOutcome::Unavailable.count();
            Err(unavailable(reason))
        }
    }
}

/// The body of a request that Alertmanager may have sent.
pub(crate) fn read(
    request: &HttpRequest,
    body: Result<web::Bytes, actix_web::Error>,
) -> Result<web::Bytes, ApiError> {
    // The type also protects against web pages: without a preflight request a browser may not send it.
    let json = ContentType::json();
    let mime = request.mime_type().ok().flatten();
    if mime.is_none_or(|mime| mime.essence_str() != json.essence_str()) {
        let detail = "the content type is not application/json, which Alertmanager's webhook sends";
        return Err(ApiError::new(problem::BAD_REQUEST, detail));
    }
    body.map_err(|error| {
        if error.as_response_error().status_code() == 413 {
            ApiError::new(
                problem::PAYLOAD_TOO_LARGE,
                format!("allowed: {BODY_LIMIT} bytes; set max_alerts in Alertmanager"),
            )
        } else {
            ApiError::new(problem::BAD_REQUEST, "the body could not be read")
                .with_source(error.to_string())
        }
    })
}

/// Alertmanager tries again after a 5xx.
fn unavailable(reason: Refusal) -> ApiError {
    let detail = match reason {
        Refusal::Full(detail) | Refusal::NoKey(detail) => detail,
        Refusal::Disk(error) => no_disk(&error.to_string()),
        Refusal::Malformed(error) => return error,
    };
    ApiError::new(problem::UNAVAILABLE, detail)
}

//! Answers that several APIs share.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Serialize;
use serde_json::json;

use crate::params::BadParameter;

/// A problem document (RFC 9457).
pub(crate) fn problem(status: StatusCode, detail: &str) -> HttpResponse {
    let title = status.canonical_reason().unwrap_or_default();
    let body =
        json!({"type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail});
    HttpResponse::build(status)
        .content_type("application/problem+json")
        .body(body.to_string())
}

/// 400 that names the parameter.
pub(crate) fn bad_parameter(why: &BadParameter) -> HttpResponse {
    problem(StatusCode::BAD_REQUEST, &why.to_string())
}

/// Computes an answer off the worker thread, since it may look through the whole store.
pub(crate) async fn off_thread<T: Serialize>(
    job: impl FnOnce() -> T + Send + 'static,
) -> HttpResponse {
    let body = web::block(move || serde_json::to_vec(&job())).await;
    match body {
        Ok(Ok(body)) => HttpResponse::Ok()
            .content_type("application/json")
            .body(body),
        Ok(Err(why)) => problem(StatusCode::INTERNAL_SERVER_ERROR, &why.to_string()),
        Err(_) => problem(StatusCode::SERVICE_UNAVAILABLE, "the console is stopping"),
    }
}

//! The envelope around all answers of Jaeger's API, errors too.

use actix_web::http::StatusCode;
use actix_web::http::header::ContentType;
use actix_web::{HttpResponse, web};
use serde::Serialize;

use crate::model::TraceId;
use crate::params::BadParameter;

#[derive(Serialize)]
struct Envelope<'a, T: Serialize + ?Sized> {
    data: Option<&'a T>,
    total: usize,
    limit: usize,
    offset: usize,
    errors: Option<Vec<ApiError>>,
}

/// An entry of `errors`.
#[derive(Serialize)]
pub(super) struct ApiError {
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    msg: String,
    #[serde(rename = "traceID", skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
}

impl ApiError {
    /// About one trace of several.
    pub fn of_trace(id: TraceId, msg: String) -> Self {
        Self {
            code: None,
            msg,
            trace_id: Some(id.to_string()),
        }
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Failure {
    pub status: StatusCode,
    pub message: String,
}

impl Failure {
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    fn response(self) -> HttpResponse {
        let error = ApiError {
            code: Some(self.status.as_u16()),
            msg: self.message,
            trace_id: None,
        };
        let body: Envelope<'_, ()> = Envelope {
            data: None,
            total: 0,
            limit: 0,
            offset: 0,
            errors: Some(vec![error]),
        };
        HttpResponse::build(self.status).json(body)
    }
}

impl From<BadParameter> for Failure {
    fn from(bad: BadParameter) -> Self {
        Self::new(StatusCode::BAD_REQUEST, bad.to_string())
    }
}

/// The body of a good answer.
pub(super) fn answer<T: Serialize + ?Sized>(
    data: &T,
    total: usize,
    errors: Option<Vec<ApiError>>,
) -> Result<Vec<u8>, Failure> {
    json(&Envelope {
        data: Some(data),
        total,
        limit: 0,
        offset: 0,
        errors,
    })
}

/// Any value as the body of a good answer.
pub(super) fn json<T: Serialize>(body: &T) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(body)
        .map_err(|e| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))
}

/// Runs `job` off the worker thread: a search may look through the whole store.
pub(super) async fn blocking<F>(job: F) -> HttpResponse
where
    F: FnOnce() -> Result<Vec<u8>, Failure> + Send + 'static,
{
    outcome(job).await.unwrap_or_else(Failure::response)
}

/// Like [`blocking`]; the caller says how a failure looks.
pub(super) async fn outcome<F>(job: F) -> Result<HttpResponse, Failure>
where
    F: FnOnce() -> Result<Vec<u8>, Failure> + Send + 'static,
{
    let body = web::block(job)
        .await
        .map_err(|_| Failure::new(StatusCode::SERVICE_UNAVAILABLE, "the console is stopping"))??;
    Ok(HttpResponse::Ok()
        .content_type(ContentType::json())
        .body(body))
}

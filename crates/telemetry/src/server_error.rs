//! Errors that leave the server middleware: logged with their cause, with the trace added, and the answer to a panic.

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{Error, HttpResponse, ResponseError};

use crate::http_server::Logged;

/// Tells a client the trace of its request.
pub(crate) const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// The one log line of a failure whose cause is known here.
pub(crate) fn log_cause<B>(error: &Error, response: &HttpResponse<B>) {
    if !response.status().is_server_error() || response.extensions().contains::<Logged>() {
        return;
    }
    tracing::error!(
        http.response.status_code = response.status().as_u16(),
        error = %error,
        // An actix error does not lead to its source, but prints it here.
        cause = ?error,
        "request failed"
    );
}

/// An error that passes through the middleware, with the trace added to its response.
#[derive(Debug)]
pub(crate) struct Traced {
    pub(crate) error: Error,
    pub(crate) timing: Option<HeaderValue>,
}

impl std::fmt::Display for Traced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl ResponseError for Traced {
    fn status_code(&self) -> StatusCode {
        self.error.as_response_error().status_code()
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let mut response = self.error.error_response();
        if let Some(timing) = &self.timing {
            response.headers_mut().insert(SERVER_TIMING, timing.clone());
        }
        response
    }
}

/// The response to a panic: RFC 9457, and nothing about the panic itself.
#[derive(Debug)]
pub(crate) struct Panicked {
    pub(crate) trace_id: Option<String>,
}

impl std::fmt::Display for Panicked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the handler panicked")
    }
}

impl ResponseError for Panicked {
    fn error_response(&self) -> HttpResponse<BoxBody> {
        HttpResponse::InternalServerError()
            .content_type("application/problem+json")
            .body(
                serde_json::json!({
                    "type": "about:blank",
                    "title": "Internal Server Error",
                    "status": 500,
                    "detail": "The request could not be handled; the trace says why.",
                    "trace_id": self.trace_id,
                })
                .to_string(),
            )
    }
}

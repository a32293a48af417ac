//! Errors of requests: typed, answered as problem documents, logged once where they become a response.
use std::error::Error;
use std::fmt;
use std::panic::Location;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use telemetry::http_server::{ErrorType, Logged};

pub use problem::chain;

use crate::problem::{self, FieldError, MEDIA_TYPE, Problem, ProblemType, TYPE_PREFIX};

type Source = Box<dyn Error + Send + Sync>;

/// Seconds that a client is asked to wait after a 503.
const RETRY_AFTER_S: u32 = 1;

/// Why a request failed. `?` turns it into a problem document with the trace id in it.
///
/// The detail is shown to the caller and logged, so it never holds personal data; the source is only logged.
pub struct ApiError(Box<Inner>);

struct Inner {
    kind: ProblemType,
    detail: String,
    errors: Vec<FieldError>,
    allow: Option<String>,
    source: Option<Source>,
    /// The place where the error was created: the log line is written elsewhere, and would name that place.
    location: &'static Location<'static>,
    /// Taken when the error is made, inside the span; the response may be built outside it.
    trace_id: Option<String>,
}

impl ApiError {
    /// An error of the given type.
    #[track_caller]
    pub fn new(kind: ProblemType, detail: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            detail: detail.into(),
            errors: Vec::new(),
            allow: None,
            source: None,
            location: Location::caller(),
            trace_id: telemetry::context::trace_id(),
        }))
    }

    /// 422 with the list of what is not allowed.
    #[track_caller]
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [one] => format!("{}: {}", one.field, one.message),
            many => format!("{} values are not allowed, see errors", many.len()),
        };
        let mut error = Self::new(problem::INVALID_REQUEST, detail);
        error.0.errors = errors;
        error
    }

    /// 500; the cause goes to the log, not to the caller.
    #[track_caller]
    pub fn internal(source: impl Into<Source>) -> Self {
        Self::new(
            problem::INTERNAL,
            "an unexpected failure, see the log of this trace",
        )
        .with_source(source)
    }

    /// 405 with its `Allow` header.
    #[track_caller]
    pub fn method_not_allowed(allow: impl Into<String>) -> Self {
        let allow = allow.into();
        let mut error = Self::new(problem::METHOD_NOT_ALLOWED, format!("allowed: {allow}"));
        error.0.allow = Some(allow);
        error
    }

    /// Replaces the detail, for a caller that knows more about the failure.
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = detail.into();
        self
    }

    /// The detail of this occurrence.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// Adds the cause, for the log.
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Adds field errors that another service reported.
    pub fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        self.0.errors = errors;
        self
    }

    /// The type of problem.
    pub fn kind(&self) -> ProblemType {
        self.0.kind
    }

    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Writes the only log line of this failure: an error for 5xx, information for mistakes of the client.
    pub(crate) fn log(&self) {
        let inner = &self.0;
        let status = inner.kind.status;
        if status < 500 {
            // Only the names, because messages may come from another service; and only plausible names, because an unknown
            // member's name is the client's text.
            let fields: Vec<&str> = inner
                .errors
                .iter()
                .map(|error| loggable(&error.field))
                .collect();
            tracing::info!(
                http.response.status_code = status,
                problem = inner.kind.slug,
                fields = fields.join(","),
                "request rejected"
            );
            return;
        }
        tracing::error!(
            http.response.status_code = status,
            problem = inner.kind.slug,
            error = chain(self),
            code.file.path = inner.location.file(),
            code.line.number = inner.location.line(),
            "request failed"
        );
    }
}

fn loggable(field: &str) -> &str {
    let plain = |byte: u8| byte.is_ascii_alphabetic() || b"_-()".contains(&byte);
    if field.len() <= 40 && field.bytes().all(plain) {
        field
    } else {
        "(other)"
    }
}

impl fmt::Debug for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiError({})", chain(self))
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind.title, self.0.detail)
    }
}

impl Error for ApiError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status()
    }

    fn error_response(&self) -> HttpResponse {
        let inner = &self.0;
        let mut response = HttpResponse::build(self.status());
        response.content_type(MEDIA_TYPE);
        if inner.kind.status == 503 {
            response.insert_header((header::RETRY_AFTER, RETRY_AFTER_S));
        }
        if inner.kind.status == 401 {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        if matches!(inner.kind.status, 408 | 429) {
            // After 408 the rest of the body may still arrive, and must not be read as the next request. After 429 the
            // client may send no further one either.
            response.force_close();
        }
        if let Some(allow) = &inner.allow {
            response.insert_header((header::ALLOW, allow.as_str()));
        }
        let problem = Problem {
            kind: format!("{TYPE_PREFIX}{}", inner.kind.slug),
            title: inner.kind.title.to_owned(),
            status: inner.kind.status,
            detail: inner.detail.clone(),
            trace_id: inner.trace_id.clone(),
            errors: inner.errors.clone(),
        };
        let mut response = response.body(problem.to_json());
        response.extensions_mut().insert(Logged);
        if inner.kind.status == 504 {
            response.extensions_mut().insert(ErrorType("timeout"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;

    use super::*;

    #[actix_web::test]
    async fn the_document_names_type_status_and_fields_but_not_the_cause() {
        let error = ApiError::invalid(vec![FieldError::new("sku", "1 to 64 characters")])
            .with_source("secret cause");
        let response = error.error_response();
        assert_eq!(response.status(), 422);
        assert_eq!(response.headers().get("content-type").unwrap(), MEDIA_TYPE);
        let body = to_bytes(response.into_body()).await.unwrap();
        let problem: Problem = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem.slug(), Some("invalid-request"));
        assert_eq!(
            problem.errors,
            [FieldError::new("sku", "1 to 64 characters")]
        );
        assert!(!String::from_utf8_lossy(&body).contains("secret"));
        assert!(chain(&error).ends_with("secret cause"));
    }

    #[test]
    fn a_503_says_when_to_come_back() {
        let response = ApiError::new(problem::UNAVAILABLE, "later").error_response();
        assert_eq!(response.headers().get("retry-after").unwrap(), "1");
    }
}

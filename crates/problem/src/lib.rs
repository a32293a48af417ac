//! RFC 9457 problem documents: the wire format and the types that every service may answer with.
use std::error::Error;

use serde::{Deserialize, Serialize};

/// The start of every `type` of a problem document; the slug of a [`ProblemType`] follows.
pub const TYPE_PREFIX: &str = "urn:problem-type:omnitrace:";

/// Media type of a problem document.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// A kind of problem. Clients branch on the `type`, people read the title.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProblemType {
    /// Last part of the `type` URN.
    pub slug: &'static str,
    /// HTTP status.
    pub status: u16,
    /// Short and the same for every occurrence.
    pub title: &'static str,
}

impl ProblemType {
    /// Declares a problem type.
    pub const fn new(slug: &'static str, status: u16, title: &'static str) -> Self {
        Self {
            slug,
            status,
            title,
        }
    }
}

/// The body is not JSON, or a part of the request cannot be read at all.
pub const BAD_REQUEST: ProblemType =
    ProblemType::new("bad-request", 400, "The request cannot be read");
/// The client has not sent valid credentials.
pub const UNAUTHORIZED: ProblemType = ProblemType::new("unauthorized", 401, "Not authorized");
/// No such route or resource.
pub const NOT_FOUND: ProblemType = ProblemType::new("not-found", 404, "Not found");
/// The route exists, but not for this method.
pub const METHOD_NOT_ALLOWED: ProblemType =
    ProblemType::new("method-not-allowed", 405, "Method not allowed");
/// The request is meant for another host, or comes from another origin's page.
pub const FORBIDDEN: ProblemType = ProblemType::new("forbidden", 403, "Not allowed from there");
/// The body did not arrive in time.
pub const REQUEST_TIMEOUT: ProblemType =
    ProblemType::new("request-timeout", 408, "The request did not arrive in time");
/// The body is over the limit.
pub const PAYLOAD_TOO_LARGE: ProblemType =
    ProblemType::new("payload-too-large", 413, "The body is too large");
/// The request can be read, but a value in it is not allowed; `errors` lists which.
pub const INVALID_REQUEST: ProblemType =
    ProblemType::new("invalid-request", 422, "The request is not valid");
/// A bug or an unexpected failure on our side.
pub const INTERNAL: ProblemType = ProblemType::new("internal", 500, "Internal error");
/// The service, or something that it needs, cannot answer now.
pub const UNAVAILABLE: ProblemType =
    ProblemType::new("unavailable", 503, "Temporarily unavailable");
/// The answer was not ready within the time-out.
pub const TIMEOUT: ProblemType = ProblemType::new("timeout", 504, "Timed out");

/// The types above, for code that converts a problem document back into a [`ProblemType`].
pub const COMMON: [ProblemType; 11] = [
    BAD_REQUEST,
    UNAUTHORIZED,
    FORBIDDEN,
    NOT_FOUND,
    METHOD_NOT_ALLOWED,
    REQUEST_TIMEOUT,
    PAYLOAD_TOO_LARGE,
    INVALID_REQUEST,
    INTERNAL,
    UNAVAILABLE,
    TIMEOUT,
];

/// One value that is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// Name of the member, parameter or header.
    pub field: String,
    /// The problem and the allowed values. It never repeats the value, which may be personal.
    pub message: String,
}

impl FieldError {
    /// A complaint about one field.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }
}

/// A problem document as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// URN of the [`ProblemType`].
    #[serde(rename = "type")]
    pub kind: String,
    /// Title of the type.
    pub title: String,
    /// HTTP status, repeated.
    pub status: u16,
    /// The details of this occurrence, for a person.
    #[serde(default)]
    pub detail: String,
    /// Trace id of the failed request, 32 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The values that are not allowed, of an `invalid-request`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

impl Problem {
    /// A problem without a type of this project: its title is that of the status.
    pub fn untyped(status: u16, title: &str, detail: &str) -> Self {
        Self {
            kind: "about:blank".to_owned(),
            title: title.to_owned(),
            status,
            detail: detail.to_owned(),
            trace_id: None,
            errors: Vec::new(),
        }
    }

    /// The body of the answer.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The slug in `type`, when the type is one of ours.
    pub fn slug(&self) -> Option<&str> {
        self.kind.strip_prefix(TYPE_PREFIX)
    }
}

/// An error and its causes on one line, outermost first; each text once, because many errors repeat their cause.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let part = error.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        next = error.source();
    }
    text
}

//! Answers in the encoding of the request.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use prost::Message;
use serde_json::{Value, json};

use super::{Encoding, Rejected, Signal};
use crate::answer::of_status;

/// `Export*PartialSuccess`: the three messages have the same fields.
#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

/// `Export*ServiceResponse`.
#[derive(Clone, PartialEq, Message)]
struct Response {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// A request that is refused as a whole.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// HTTP status.
    pub status: StatusCode,
    /// What is wrong.
    pub message: String,
}

impl Failure {
    /// Makes one.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    /// The code of gRPC that goes with the status.
    fn code(&self) -> i32 {
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE => 14,
            StatusCode::REQUEST_TIMEOUT => 4,
            _ => 3,
        }
    }
}

/// The response if all items were accepted, or some were rejected.
pub(crate) fn accepted(signal: Signal, encoding: Encoding, rejected: &Rejected) -> HttpResponse {
    let reasons: Vec<String> = rejected
        .reasons()
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    let why = rejected
        .why()
        .map_or(String::new(), |why| format!(" (first: {why})"));
    let total = i64::try_from(rejected.total()).unwrap_or(i64::MAX);
    let partial = (total > 0).then(|| PartialSuccess {
        rejected: total,
        error_message: format!("rejected: {}{why}", reasons.join(", ")),
    });
    match encoding {
        Encoding::Protobuf => {
            let body = Response {
                partial_success: partial,
            }
            .encode_to_vec();
            HttpResponse::Ok()
                .content_type("application/x-protobuf")
                .body(body)
        }
        Encoding::Json => {
            let count = match signal {
                Signal::Traces => "rejectedSpans",
                Signal::Logs => "rejectedLogRecords",
                Signal::Metrics => "rejectedDataPoints",
            };
            let body = partial.map_or_else(
                || json!({}),
                |partial| json!({"partialSuccess": {count: partial.rejected.to_string(), "errorMessage": partial.error_message}}),
            );
            HttpResponse::Ok().json(body)
        }
    }
}

/// The request is refused.
pub(crate) fn refused(encoding: Encoding, failure: &Failure) -> HttpResponse {
    let mut response = of_status(failure.status);
    let code = failure.code();
    match encoding {
        Encoding::Protobuf => {
            let message = failure.message.clone();
            let body = Status { code, message }.encode_to_vec();
            response.content_type("application/x-protobuf").body(body)
        }
        Encoding::Json => {
            let body: Value = json!({"code": code, "message": failure.message});
            response.json(body)
        }
    }
}

//! Answers in the encoding of the request.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use prost::Message;
use serde_json::{Value, json};

use super::{Encoding, Rejected, Signal};
use crate::answer::{RETRY_SECONDS, of_status};

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
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes, tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Seconds>,
}

/// `google.protobuf.Duration`, in whole seconds.
#[derive(Clone, PartialEq, Message)]
struct Seconds {
    #[prost(int64, tag = "1")]
    seconds: i64,
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
    pub fn code(&self) -> i32 {
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE => 14,
            StatusCode::REQUEST_TIMEOUT => 4,
            StatusCode::FORBIDDEN => 7,
            // Without details senders do not try this again.
            StatusCode::PAYLOAD_TOO_LARGE => 8,
            StatusCode::NOT_FOUND | StatusCode::UNSUPPORTED_MEDIA_TYPE => 12,
            _ => 3,
        }
    }

    /// `google.rpc.Status`, with the time after which a sender should try again if the console has too much to do.
    pub fn to_protobuf(&self) -> Vec<u8> {
        let is_busy = self.status == StatusCode::SERVICE_UNAVAILABLE;
        let retry = || Any {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
            value: RetryInfo {
                retry_delay: Some(Seconds {
                    seconds: RETRY_SECONDS,
                }),
            }
            .encode_to_vec(),
        };
        let status = Status {
            code: self.code(),
            message: self.message.clone(),
            details: is_busy.then(retry).into_iter().collect(),
        };
        status.encode_to_vec()
    }
}

/// `Export*ServiceResponse` for these.
pub(crate) fn protobuf(rejected: &Rejected) -> Vec<u8> {
    let partial_success = partial_success(rejected);
    Response { partial_success }.encode_to_vec()
}

fn partial_success(rejected: &Rejected) -> Option<PartialSuccess> {
    let reasons: Vec<String> = rejected
        .reasons()
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    let why = rejected
        .why()
        .map_or(String::new(), |why| format!(" (first: {why})"));
    let total = i64::try_from(rejected.total()).unwrap_or(i64::MAX);
    (total > 0).then(|| PartialSuccess {
        rejected: total,
        error_message: format!("rejected: {}{why}", reasons.join(", ")),
    })
}

/// The response if all items were accepted, or some were rejected.
pub(crate) fn accepted(signal: Signal, encoding: Encoding, rejected: &Rejected) -> HttpResponse {
    match encoding {
        Encoding::Protobuf => HttpResponse::Ok()
            .content_type("application/x-protobuf")
            .body(protobuf(rejected)),
        Encoding::Json => {
            let count = match signal {
                Signal::Traces => "rejectedSpans",
                Signal::Logs => "rejectedLogRecords",
                Signal::Metrics => "rejectedDataPoints",
            };
            let body = partial_success(rejected).map_or_else(
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
    match encoding {
        Encoding::Protobuf => response
            .content_type("application/x-protobuf")
            .body(failure.to_protobuf()),
        Encoding::Json => {
            let body: Value = json!({"code": failure.code(), "message": failure.message});
            response.json(body)
        }
    }
}

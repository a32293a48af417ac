//! The faults of a bad dependency.

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use serde::Deserialize;
use service::ApiError;
use service::connection::Socket;
use service::faults::{Fault, Parameter, Parameters, Spec, Switchboard};
use service::problem::{INTERNAL, ProblemType, UNAVAILABLE};

use crate::model::Sequence;

/// Slow answers.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Latency {
    ms: u64,
    jitter_ms: u64,
}

impl Parameters for Latency {
    const SPEC: Spec = Spec {
        name: "latency",
        description: "Adds ms, and up to jitter_ms more, to every request.",
        signal_service: "self",
        signal: "http_server_request_duration_seconds",
        parameters: &[
            Parameter::integer("ms", "ms", 1, 10_000, 500),
            Parameter::integer("jitter_ms", "ms", 0, 10_000, 0),
        ],
    };
}

/// Error statuses.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Errors {
    share: f64,
    status: u16,
}

impl Parameters for Errors {
    const SPEC: Spec = Spec {
        name: "errors",
        description: "Answers a share of the requests with an error status.",
        signal_service: "self",
        signal: "http_server_request_duration_seconds_count{outcome=\"error\"}",
        parameters: &[
            Parameter::share("share"),
            Parameter::integer("status", "1", 500, 599, 500),
        ],
    };
}

/// No answer at all.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Hang {}

impl Parameters for Hang {
    const SPEC: Spec = Spec {
        name: "hang",
        description: "Lets every request hang until it times out, or until the fault is over.",
        signal_service: "self",
        signal: "http_server_request_duration_seconds_count{error_type=\"timeout\"}",
        parameters: &[],
    };
}

/// Connections that break.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct ConnectionReset {
    share: f64,
}

impl Parameters for ConnectionReset {
    const SPEC: Spec = Spec {
        name: "connection_reset",
        description: "Resets the TCP connection of a share of the requests, without an answer.",
        signal_service: "data",
        signal: "http_client_request_duration_seconds_count{service_peer_name=\"downstream\",error_type=\"connection\"}",
        parameters: &[Parameter::share("share")],
    };
}

/// Answers that are not JSON.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct MalformedBody {
    share: f64,
}

impl Parameters for MalformedBody {
    const SPEC: Spec = Spec {
        name: "malformed_body",
        description: "Cuts the JSON of a share of the successful answers short.",
        signal_service: "data",
        signal: "http_client_request_duration_seconds_count{service_peer_name=\"downstream\",error_type=\"decode\"}",
        parameters: &[Parameter::share("share")],
    };
}

/// A bug.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Panic {
    share: f64,
}

impl Parameters for Panic {
    const SPEC: Spec = Spec {
        name: "panic",
        description: "Panics in the handler of a share of the requests.",
        signal_service: "self",
        signal: "http_server_request_duration_seconds_count{error_type=\"panic\"}",
        parameters: &[Parameter::share("share")],
    };
}

/// The state of all of them.
pub(crate) struct Faults {
    latency: Arc<Fault<Latency>>,
    errors: Arc<Fault<Errors>>,
    hang: Arc<Fault<Hang>>,
    connection_reset: Arc<Fault<ConnectionReset>>,
    malformed_body: Arc<Fault<MalformedBody>>,
    panic: Arc<Fault<Panic>>,
    dice: Sequence,
}

impl Faults {
    /// All off; `seed` decides which requests a share hits.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            latency: Arc::default(),
            errors: Arc::default(),
            hang: Arc::default(),
            connection_reset: Arc::default(),
            malformed_body: Arc::default(),
            panic: Arc::default(),
            dice: Sequence::new(seed.wrapping_add(1)),
        }
    }

    /// What the admin listener shows.
    pub(crate) fn switchboard(&self) -> Switchboard {
        Switchboard::default()
            .with(&self.latency)
            .with(&self.errors)
            .with(&self.hang)
            .with(&self.connection_reset)
            .with(&self.malformed_body)
            .with(&self.panic)
    }

    /// Does to a request what the active faults do to it, before any work is done.
    pub(crate) async fn strike(&self, request: &HttpRequest) -> Result<(), ApiError> {
        if let Some(fault) = self.connection_reset.active()
            && self.dice.hits(fault.share)
        {
            reset(request).await?;
        }
        if self.hang.active().is_some() {
            self.hang.over().await;
        }
        if let Some(fault) = self.latency.active() {
            let jitter = fault.jitter_ms as f64 * self.dice.draw();
            tokio::time::sleep(
                Duration::from_millis(fault.ms) + Duration::from_secs_f64(jitter / 1000.0),
            )
            .await;
        }
        if let Some(fault) = self.panic.active() {
            assert!(
                !self.dice.hits(fault.share),
                "the back end's answer is not in the table"
            );
        }
        match self.errors.active() {
            Some(fault) if self.dice.hits(fault.share) => {
                Err(ApiError::new(kind(fault.status), "the back end failed"))
            }
            _ => Ok(()),
        }
    }

    /// The body as it is sent.
    pub(crate) fn spoil(&self, mut body: Vec<u8>) -> Vec<u8> {
        if let Some(fault) = self.malformed_body.active()
            && self.dice.hits(fault.share)
        {
            body.truncate(body.len() / 2);
        }
        body
    }
}

/// Never returns once the connection is gone: the server notices and drops the request.
async fn reset(request: &HttpRequest) -> Result<(), ApiError> {
    let socket = Socket::of(request)
        .ok_or_else(|| ApiError::internal("the connection's socket is not kept"))?;
    socket.reset().map_err(ApiError::internal)?;
    std::future::pending().await
}

fn kind(status: u16) -> ProblemType {
    let kind = if status == UNAVAILABLE.status {
        UNAVAILABLE
    } else {
        INTERNAL
    };
    ProblemType { status, ..kind }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_declaration_fits_its_struct() {
        Faults::new(1).switchboard().check_declarations();
    }
}

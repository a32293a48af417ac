//! Round after round of checks, and what the last one has found.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use api::GatewayClient;
use api::timeouts::PROBE_TO_GATEWAY;
use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use serde::Serialize;
use service::Shutdown;
use telemetry::deadline::Deadline;
use telemetry::{context, messaging, synthetic};
use tokio::time::MissedTickBehavior;
use tracing::Instrument;
use tracing::field::Empty;

use crate::checks::{Check, Failure};
use crate::metrics::{PROBE_DURATION, PROBE_STATUS, PROBE_SUCCESS};

/// The result of one check.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Finding {
    probe: &'static str,
    success: bool,
    /// The status of the response; 0 if there was none.
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    seconds: f64,
    trace_id: Option<String>,
    at: DateTime<Utc>,
}

/// The last round's.
#[derive(Debug, Default)]
pub(crate) struct Findings(Mutex<Vec<Finding>>);

impl Findings {
    /// A copy.
    pub(crate) fn last(&self) -> Vec<Finding> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone()
    }
}

/// Probes until shut-down.
pub(crate) async fn run(
    gateway: GatewayClient,
    interval: Duration,
    findings: Arc<Findings>,
    mut shutdown: Shutdown,
) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.wait() => return,
        }
        let round = join_all(Check::ALL.map(|check| probe(check, &gateway))).await;
        *findings.0.lock().unwrap_or_else(PoisonError::into_inner) = round;
    }
}

/// One check, in a trace of its own.
async fn probe(check: Check, gateway: &GatewayClient) -> Finding {
    let span = tracing::info_span!(
        parent: None,
        "probe",
        otel.name = format!("probe {}", check.as_str()),
        otel.kind = "internal",
        otel.status_code = Empty,
        error.type = Empty,
    );
    context::begin_trace(&span, None);
    synthetic::mark(&span);
    async {
        let (at, start) = (Utc::now(), Instant::now());
        let answer = check.ask(gateway, Deadline::after(PROBE_TO_GATEWAY)).await;
        let seconds = start.elapsed().as_secs_f64();
        let (status, problem) = told(check, answer);
        PROBE_SUCCESS.with(check).set(u8::from(problem.is_none()));
        PROBE_STATUS.with(check).set(status);
        PROBE_DURATION.with(check).set(seconds);
        Finding {
            probe: check.as_str(),
            success: problem.is_none(),
            status,
            problem,
            seconds,
            trace_id: context::trace_id(),
            at,
        }
    }
    .instrument(span)
    .await
}

/// Says on the span and in the log what went wrong.
fn told(check: Check, answer: Result<u16, Failure>) -> (u16, Option<String>) {
    match answer {
        Ok(status) => (status, None),
        Err(Failure { status, problem }) => {
            messaging::failed(&tracing::Span::current(), "probe");
            tracing::warn!(
                probe = check.as_str(),
                status,
                error = problem,
                "probe failed"
            );
            (status, Some(problem))
        }
    }
}

//! Settles orders that were left pending: their request was cut off, or the payment could not be asked for.

use std::sync::Arc;
use std::time::Duration;

use api::client::PROBE_SKU;
use api::timeouts::DATA_REQUEST;
use service::{Backoff, Deadline, Shutdown};
use tracing::Instrument;

use crate::metrics::Driver;
use crate::orders::Orders;
use crate::rows::Pending;

/// Orders claimed at once.
const BATCH: i64 = 16;

/// Longest pause while orders cannot be settled.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Sweeps until shut-down.
pub(crate) async fn run(orders: Arc<Orders>, age: Duration, mut shutdown: Shutdown) {
    // Often enough that an order is not pending for much longer than `age`.
    let normal = (age / 4).clamp(Duration::from_millis(50), Duration::from_secs(1));
    let back_off = Backoff {
        first: normal,
        longest: MAX_PAUSE,
    };
    let mut failures = 0;
    while !shutdown.begun() {
        let pause = match sweep(&orders, age, &shutdown).await {
            Ok(claimed) => {
                failures = 0;
                if claimed < BATCH as usize {
                    normal
                } else {
                    Duration::ZERO
                }
            }
            Err(error) => {
                failures += 1;
                let pause = back_off.after(failures);
                tracing::warn!(
                    error,
                    pause_ms = pause.as_millis(),
                    "pending orders cannot be settled now"
                );
                pause
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.wait() => {}
        }
    }
}

/// Settles one batch and says how many it was. One that cannot be settled keeps no other from it; its claim runs out by
/// itself. An error: not one of them could be.
async fn sweep(orders: &Orders, age: Duration, shutdown: &Shutdown) -> Result<usize, String> {
    let claimed = orders
        .store()
        .claim_pending(age, BATCH)
        .await
        .map_err(|error| error.to_string())?;
    let (count, mut settled, mut last) = (claimed.len(), 0, None);
    for pending in claimed {
        if shutdown.begun() {
            break;
        }
        match settle(orders, pending).await {
            Ok(()) => settled += 1,
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) if settled == 0 => Err(error),
        _ => Ok(count),
    }
}

async fn settle(orders: &Orders, Pending { order, traceparent }: Pending) -> Result<(), String> {
    let id = order.id;
    let span = span(&id.to_string(), traceparent.as_deref());
    if order.sku == PROBE_SKU {
        telemetry::synthetic::mark(&span);
    }
    let deadline = Deadline::after(DATA_REQUEST);
    async {
        let work = orders.settle(order, Driver::Sweeper, deadline);
        let problem = match telemetry::deadline::enforce(deadline.0, work).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => format!("{error:?}"),
            Err(_) => format!("not settled within {} ms", DATA_REQUEST.as_millis()),
        };
        telemetry::messaging::failed(&tracing::Span::current(), "settle");
        tracing::warn!(order_id = %id, error = problem, "a pending order cannot be settled");
        Err(problem)
    }
    .instrument(span)
    .await
}

/// A trace of its own, since the request's is long complete; linked to it.
fn span(order_id: &str, cause: Option<&str>) -> tracing::Span {
    let span = tracing::info_span!(
        parent: None,
        "order.sweep",
        otel.name = "settle pending order",
        otel.kind = "internal",
        otel.status_code = tracing::field::Empty,
        error.type = tracing::field::Empty,
        order_id
    );
    telemetry::context::begin_trace(&span, cause);
    span
}

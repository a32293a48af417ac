//! Settles orders that were left pending: their request was cut off, or the payment could not be asked for.

use std::sync::Arc;
use std::time::Duration;

use api::timeouts::DATA_REQUEST;
use service::{Deadline, Shutdown};
use tracing::Instrument;

use crate::orders::{Driver, Orders};
use crate::rows::Pending;

/// Orders claimed at once.
const BATCH: i64 = 16;

/// Longest pause while orders cannot be settled.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Sweeps until shut-down.
pub(crate) async fn run(orders: Arc<Orders>, age: Duration, mut shutdown: Shutdown) {
    // Often enough that an order is not pending for much longer than `age`.
    let normal = (age / 4).clamp(Duration::from_millis(50), Duration::from_secs(1));
    let mut pause = normal;
    while !shutdown.begun() {
        match sweep(&orders, age, &shutdown).await {
            Ok(claimed) => {
                pause = if claimed < BATCH as usize {
                    normal
                } else {
                    Duration::ZERO
                }
            }
            Err(error) => {
                pause = (pause * 2).clamp(normal, MAX_PAUSE);
                tracing::warn!(
                    error,
                    pause_ms = pause.as_millis(),
                    "pending orders cannot be settled now"
                );
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.wait() => {}
        }
    }
}

/// Settles one batch and says how many it was. Stops at the first that fails: the next would most likely fail for
/// the same reason. The claims of the rest run out by themselves.
async fn sweep(orders: &Orders, age: Duration, shutdown: &Shutdown) -> Result<usize, String> {
    let claimed = orders
        .store()
        .claim_pending(age, BATCH)
        .await
        .map_err(|error| error.to_string())?;
    let count = claimed.len();
    for Pending { order, traceparent } in claimed {
        if shutdown.begun() {
            break;
        }
        let span = span(&order.id.to_string(), traceparent.as_deref());
        let deadline = Deadline::after(DATA_REQUEST);
        let settled = orders
            .settle(order, Driver::Sweeper, deadline)
            .instrument(span)
            .await;
        settled.map_err(|error| format!("{error:?}"))?;
    }
    Ok(count)
}

/// A trace of its own, since the request's is long complete.
fn span(order_id: &str, _cause: Option<&str>) -> tracing::Span {
    tracing::info_span!(
        parent: None,
        "order.sweep",
        otel.name = "settle pending order",
        otel.kind = "internal",
        order_id
    )
}

//! The time that a piece of work has, known to what happens inside it: who is cut off by it failed, and was not cancelled.

use std::future::Future;

use tokio::task_local;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use crate::error_type::{CANCELLED, TIMEOUT};

task_local! {
    static DEADLINE: Instant;
}

/// Runs `work` until it ends, or drops it at `deadline`.
///
/// # Errors
/// When the deadline came first.
pub async fn enforce<T>(deadline: Instant, work: impl Future<Output = T>) -> Result<T, Elapsed> {
    timeout_at(deadline, DEADLINE.scope(deadline, work)).await
}

/// `error.type` of what nobody waits for any more: its time was up, or its caller went away. To be asked while it is dropped.
pub(crate) fn abandoned() -> &'static str {
    let is_over = DEADLINE.try_with(|deadline| Instant::now() >= *deadline);
    if is_over.unwrap_or(false) {
        TIMEOUT
    } else {
        CANCELLED
    }
}

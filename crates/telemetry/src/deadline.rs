//! The time that a piece of work has, known to what happens inside it: who is cut off by it failed, and was not cancelled.

use std::future::Future;

use tokio::task_local;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

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

/// Whether the time of the work at hand is up; true also while it is dropped for that reason.
pub(crate) fn is_over() -> bool {
    DEADLINE
        .try_with(|deadline| Instant::now() >= *deadline)
        .unwrap_or(false)
}

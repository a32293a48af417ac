//! A deadline for a piece of work, visible to the code inside it. Work that the deadline cuts off counts as failed, not as cancelled.

use std::future::Future;
use std::time::Duration;

use tokio::task_local;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use crate::error_type::{CANCELLED, TIMEOUT};

task_local! {
    static DEADLINE: Instant;
}

/// When the work at hand is given up: a request answered with 504. A handler takes it as an argument (with the feature `actix`) and
/// passes it on to its calls, so that a retry never starts that nobody will wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline(pub Instant);

impl Deadline {
    /// A deadline from now.
    pub fn after(timeout: Duration) -> Self {
        Self(Instant::now() + timeout)
    }

    /// The earlier of this deadline and `limit` from now.
    pub fn within(self, limit: Duration) -> Self {
        Self(self.0.min(Instant::now() + limit))
    }

    /// The time that is left; zero when the deadline has passed.
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// Runs `work` until it ends, or drops it at `deadline`.
///
/// # Errors
/// When the deadline came first.
pub async fn enforce<T>(deadline: Instant, work: impl Future<Output = T>) -> Result<T, Elapsed> {
    timeout_at(deadline, DEADLINE.scope(deadline, work)).await
}

/// `error.type` of work that is dropped: its deadline has passed, or its caller went away. Call it from `Drop`.
pub(crate) fn abandoned() -> &'static str {
    let is_over = DEADLINE.try_with(|deadline| Instant::now() >= *deadline);
    if is_over.unwrap_or(false) {
        TIMEOUT
    } else {
        CANCELLED
    }
}

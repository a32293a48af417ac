//! Who waited for whom in a database: a lock looks like slow statements, and like a pool without connections.

use serde::Serialize;
use telemetry::names::DB_LOCK_WAITS;

use super::Window;
use super::prometheus::{Prometheus, Series};
use crate::text::quoted;

/// So many are shown.
const SHOWN: usize = 5;

/// Statements of one kind that waited for one application.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Lock {
    pub(crate) service: String,
    /// `INSERT orders`; empty for work in the background.
    pub(crate) statement: String,
    /// The application that held the lock, as it calls itself.
    pub(crate) holder: String,
    /// How many waited at once.
    pub(crate) waiting: u64,
}

/// The most in the window, worst first.
pub(crate) async fn collect(prometheus: &Prometheus, window: &Window) -> Result<Vec<Lock>, String> {
    let query = format!(
        "max by (service_name, db_operation_name, db_collection_name, lock_holder) \
         (max_over_time({DB_LOCK_WAITS}[{}s])) > 0",
        window.seconds()
    );
    let found = prometheus.vector(&query, window.end).await?;
    let mut locks: Vec<Lock> = found.iter().map(lock).collect();
    locks.sort_by_key(|lock| std::cmp::Reverse(lock.waiting));
    locks.truncate(SHOWN);
    Ok(locks)
}

fn lock((series, waiting): &(Series, f64)) -> Lock {
    let label = |name: &str| series.get(name).map_or("", String::as_str);
    let statement = [label("db_operation_name"), label("db_collection_name")].join(" ");
    Lock {
        service: quoted(label("service_name"), 60),
        statement: quoted(statement.trim(), 80),
        holder: quoted(label("lock_holder"), 60),
        waiting: waiting.max(0.0) as u64,
    }
}

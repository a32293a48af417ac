//! Which session waits for which in a database. Waiting for a lock looks like slow statements, and like an exhausted pool.

use serde::Serialize;
use telemetry::names::db::DB_LOCK_WAITS;

use super::answer::excerpt;
use super::prometheus::{Prometheus, Series};
use super::store::Weigh;
use super::{Part, Window};

/// How many are shown.
const SHOWN: usize = 5;

/// Statements of one kind that waited for one application.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Lock {
    pub(crate) service: String,
    /// `INSERT orders`; empty for background work.
    pub(crate) statement: String,
    /// The application that held the lock, as it calls itself.
    pub(crate) holder: String,
    /// How many waited at once.
    pub(crate) waiting: u64,
}

impl Weigh for Lock {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.service.len() + self.statement.len() + self.holder.len()
    }
}

/// The most in the window, worst first.
pub(super) async fn collect(prometheus: &Prometheus, window: Window) -> Part<Vec<Lock>> {
    let query = format!(
        "topk({SHOWN}, max by (service_name, db_operation_name, db_collection_name, lock_holder) \
         (max_over_time({}[{}s])) > 0)",
        DB_LOCK_WAITS.name(),
        window.seconds()
    );
    let mut part = Part::default();
    let mut found = part.take(prometheus.vector(&query, window.end).await);
    found.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    part.value = found.iter().take(SHOWN).map(lock).collect();
    part
}

fn lock((series, waiting): &(Series, f64)) -> Lock {
    let label = |name: &str| series.label(name);
    let statement = [label("db_operation_name"), label("db_collection_name")].join(" ");
    Lock {
        service: excerpt(label("service_name"), 60),
        statement: excerpt(statement.trim(), 80),
        holder: excerpt(label("lock_holder"), 60),
        waiting: *waiting as u64,
    }
}

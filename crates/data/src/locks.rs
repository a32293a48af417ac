//! Finds the statements that wait for a lock in the database, and the process that holds it.

use std::collections::BTreeMap;
use std::time::Duration;

use service::Shutdown;
use telemetry::names::db::DB_LOCK_WAITS;
use telemetry::names::labels::{Collection, LockHolder, Operation};
use telemetry::redact::redact;

use crate::database::APPLICATION;
use crate::rows::LockWait;
use crate::store::{STATEMENTS, Store};

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(1);

/// A wait that is over sooner is nothing to speak of.
const WORTH_A_LINE_S: f64 = 0.5;

/// Applications that the metric tells apart: their names are whatever they say.
const HOLDERS: usize = 20;
const HOLDER_LENGTH: usize = 40;

/// `db_operation_name`, `db_collection_name`, `lock_holder`.
type Series = (&'static str, &'static str, String);

/// Looks until shut-down.
pub(crate) async fn watch(store: Store, mut shutdown: Shutdown) {
    let mut waiting = Waiting::default();
    waiting.publish(&[]);
    while !shutdown.begun() {
        // While the database does not answer, the waits are unknown, and the old ones may be over.
        let waits = store.lock_waits().await.unwrap_or_default();
        waiting.publish(&waits);
        report(&waits);
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            () = shutdown.wait() => {}
        }
    }
}

/// The gauge of waiting statements. A series that was set before goes back to zero when nobody waits.
struct Waiting {
    series: BTreeMap<Series, f64>,
    holders: Vec<String>,
}

impl Default for Waiting {
    fn default() -> Self {
        let own = |statement: &telemetry::db::Statement| {
            let (operation, collection) = (statement.operation, statement.collection);
            ((operation, collection, APPLICATION.to_owned()), 0.0)
        };
        Self {
            series: STATEMENTS.iter().map(own).collect(),
            holders: vec![APPLICATION.to_owned()],
        }
    }
}

impl Waiting {
    fn publish(&mut self, waits: &[LockWait]) {
        self.series.values_mut().for_each(|count| *count = 0.0);
        for wait in waits {
            let (operation, collection) = statement(wait);
            let holder = self.holder(&wait.holder_application);
            *self
                .series
                .entry((operation, collection, holder))
                .or_default() += 1.0;
        }
        for ((operation, collection, holder), count) in &self.series {
            let holder = LockHolder(holder.clone());
            DB_LOCK_WAITS
                .with((Operation(operation), Collection(collection), holder))
                .set(*count);
        }
    }

    fn holder(&mut self, application: &str) -> String {
        let name: String = redact(application).chars().take(HOLDER_LENGTH).collect();
        if !self.holders.contains(&name) {
            if self.holders.len() == HOLDERS {
                return "other".to_owned();
            }
            self.holders.push(name.clone());
        }
        name
    }
}

/// A statement of the background has no names.
fn statement(wait: &LockWait) -> (&'static str, &'static str) {
    let known = STATEMENTS.iter().find(|known| known.sql == wait.query);
    known.map_or(("", ""), |known| (known.operation, known.collection))
}

/// One line for each holder: its process is nothing for a metric.
fn report(waits: &[LockWait]) {
    let mut holders: BTreeMap<i32, Vec<&LockWait>> = BTreeMap::new();
    for wait in waits.iter().filter(|wait| wait.seconds >= WORTH_A_LINE_S) {
        holders.entry(wait.holder_pid).or_default().push(wait);
    }
    for (pid, waits) in holders {
        let (operation, collection) = statement(waits[0]);
        tracing::warn!(
            statement = format!("{operation} {collection}").trim(),
            waiting = waits.len(),
            seconds = waits.iter().map(|wait| wait.seconds).fold(0.0, f64::max),
            holder_pid = pid,
            holder_application = waits[0].holder_application,
            holder_state = waits[0].holder_state,
            "statements wait for a lock in the database"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_others_are_bounded_and_clean() {
        let mut waiting = Waiting::default();
        assert_eq!(
            waiting.holder("tool of ada@example.com"),
            "tool of [redacted]"
        );
        assert_eq!(waiting.holder(&"x".repeat(100)).len(), HOLDER_LENGTH);
        for number in 0..100 {
            waiting.holder(&format!("tool {number}"));
        }
        assert_eq!(waiting.holders.len(), HOLDERS);
        assert_eq!(waiting.holder("one more"), "other");
        assert_eq!(waiting.holder(APPLICATION), APPLICATION);
    }
}

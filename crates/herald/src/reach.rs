//! Which targets are unreachable. If all are, only a stopped watchdog can report it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::target::Attempt;

/// Per target, since when it has accepted nothing, if so.
#[derive(Debug)]
pub(crate) struct Reachability(Mutex<BTreeMap<&'static str, Option<Instant>>>);

impl Reachability {
    /// All targets are reachable.
    pub(crate) fn of(targets: &[&'static str]) -> Self {
        Self(Mutex::new(
            targets.iter().map(|name| (*name, None)).collect(),
        ))
    }

    /// Records an attempt. A permanent refusal counts as not delivered, too. If a target asks for a pause, it gets that
    /// pause first.
    pub(crate) fn ended(&self, target: &'static str, attempt: &Attempt) {
        let mut targets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = targets.get(target).copied().flatten();
        let pause = match attempt {
            Attempt::Delivered => None,
            Attempt::Later(_, asked) => Some(asked.unwrap_or_default()),
            Attempt::Refused(_) => Some(Duration::ZERO),
        };
        let since = pause.map(|pause| before.unwrap_or_else(|| Instant::now() + pause));
        targets.insert(target, since);
    }

    /// Whether none of them has taken anything for so long, though there was something to take.
    pub(crate) fn is_lost(&self, patience: Duration) -> bool {
        let targets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_failing =
            |since: &Option<Instant>| since.is_some_and(|since| since.elapsed() >= patience);
        targets.values().all(is_failing)
    }
}

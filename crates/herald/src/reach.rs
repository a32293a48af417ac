//! Which targets take nothing: where none does, nobody would hear of it but by the silence of the watchdog.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::target::Attempt;

/// Since when each target that does not take what it is sent has not.
#[derive(Debug, Default)]
pub(crate) struct Reach(Mutex<BTreeMap<&'static str, Instant>>);

impl Reach {
    /// The end of an attempt: what is refused for good has not arrived, either.
    pub(crate) fn ended(&self, target: &'static str, attempt: &Attempt) {
        let mut failing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *attempt == Attempt::Delivered {
            failing.remove(target);
        } else {
            failing.entry(target).or_insert_with(Instant::now);
        }
    }

    /// Whether none of these targets has taken anything for so long, though there was something to take.
    pub(crate) fn is_lost(&self, targets: &[&'static str], patience: Duration) -> bool {
        let failing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_failing = |target| {
            failing
                .get(target)
                .is_some_and(|since| since.elapsed() >= patience)
        };
        targets.iter().all(is_failing)
    }
}

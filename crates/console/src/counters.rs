//! What the console counts about itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::otlp::{Rejected, Signal};

/// Counts by route and status, refused items, and scrapes that were not kept.
#[derive(Debug, Default, Clone)]
pub(crate) struct Counts {
    /// Requests by route template and status (`aborted` when the client hung up or the handler panicked).
    pub requests: BTreeMap<(String, String), u64>,
    /// Refused items by signal and reason.
    pub rejected: BTreeMap<(Signal, &'static str), u64>,
    /// Scrapes whose page found no room.
    pub skipped_scrapes: u64,
}

/// A shared handle.
#[derive(Debug, Default, Clone)]
pub(crate) struct Counters(Arc<Mutex<Counts>>);

impl Counters {
    /// A snapshot.
    pub fn snapshot(&self) -> Counts {
        self.lock().clone()
    }

    /// Counts items that were not taken.
    pub fn rejected(&self, signal: Signal, rejected: &Rejected) {
        let mut counts = self.lock();
        for (reason, count) in rejected.reasons() {
            *counts.rejected.entry((signal, reason)).or_default() += count;
        }
    }

    /// Counts a scrape whose page found no room.
    pub fn skipped_scrape(&self) {
        self.lock().skipped_scrapes += 1;
    }

    /// Starts counting a request; dropping what is returned counts it, however it ends.
    pub fn request(&self, route: String) -> RequestCount {
        RequestCount {
            counters: self.clone(),
            route,
            status: None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request being counted.
#[derive(Debug)]
pub(crate) struct RequestCount {
    counters: Counters,
    route: String,
    /// Set once it is known.
    pub status: Option<u16>,
}

impl Drop for RequestCount {
    fn drop(&mut self) {
        let status = self
            .status
            .map_or_else(|| "aborted".into(), |status| status.to_string());
        let key = (std::mem::take(&mut self.route), status);
        *self.counters.lock().requests.entry(key).or_default() += 1;
    }
}

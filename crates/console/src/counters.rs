//! What the console counts about itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slo::routing::DEADMAN;

use crate::otlp::{Rejected, Signal};

/// Counts by route and status, refused items, and scrapes that were not kept.
#[derive(Debug, Default, Clone)]
pub(crate) struct Counts {
    /// Requests by route template and status (`aborted` when the client hung up or the handler panicked).
    pub requests: BTreeMap<(String, String), u64>,
    /// Refused items by signal and reason.
    pub rejected: BTreeMap<(Signal, &'static str), u64>,
    /// Scrapes that the console skipped, because it had no memory for the page.
    pub skipped_scrapes: u64,
    /// By receiver.
    pub notifications: BTreeMap<String, Notifications>,
    /// Alerts whose group found no memory.
    pub dropped_alerts: u64,
    /// Items that were taken.
    pub taken: AcceptedItems,
}

/// How many items were taken.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AcceptedItems {
    /// Spans.
    pub traces: u64,
    /// Log records.
    pub logs: u64,
    /// Samples.
    pub metrics: u64,
}

/// The outcomes of notifications to a receiver.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Notifications {
    /// The receiver accepted them.
    pub sent: u64,
    /// The receiver did not accept them; the console sends them again.
    pub failed: u64,
    is_failing: bool,
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

    /// Counts items that were taken.
    pub fn accepted(&self, more: AcceptedItems) {
        let taken = &mut self.lock().taken;
        taken.traces += more.traces;
        taken.logs += more.logs;
        taken.metrics += more.metrics;
    }

    /// Accepted items, and accepted notifications about alerts, without those of the watchdog.
    pub fn changes(&self) -> (AcceptedItems, u64) {
        let counts = self.lock();
        let about_alerts = counts.notifications.iter();
        let about_alerts = about_alerts.filter(|(receiver, _)| **receiver != DEADMAN.receiver);
        (
            counts.taken,
            about_alerts.map(|(_, counts)| counts.sent).sum(),
        )
    }

    /// Counts a scrape that the console skipped for lack of memory.
    pub fn skipped_scrape(&self) {
        self.lock().skipped_scrapes += 1;
    }

    /// Counts these receivers, from zero.
    pub fn receivers(&self, names: &[&str]) {
        let mut counts = self.lock();
        for name in names {
            counts.notifications.entry((*name).to_owned()).or_default();
        }
    }

    /// Counts a notification. Returns whether the one before ended otherwise.
    pub fn notified(&self, receiver: &str, is_taken: bool) -> bool {
        let mut counts = self.lock();
        let of = counts.notifications.entry(receiver.to_owned()).or_default();
        match is_taken {
            true => of.sent += 1,
            false => of.failed += 1,
        }
        std::mem::replace(&mut of.is_failing, !is_taken) == is_taken
    }

    /// Counts alerts that nobody is told about.
    pub fn dropped_alerts(&self, count: u64) {
        self.lock().dropped_alerts += count;
    }

    /// Starts to count a request; dropping the returned value counts it, whatever its outcome.
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

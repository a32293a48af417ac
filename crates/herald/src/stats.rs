//! Counts what herald does.

use crate::ledger::{self, Numbers, Row};
use crate::metrics::{
    Backend, Episode, HERALD_EVIDENCE_IN_PROGRESS, HERALD_EVIDENCE_MISSING,
    HERALD_EVIDENCE_QUESTIONS, HERALD_EVIDENCE_REFUSED, HERALD_FAILED, HERALD_FOREIGN,
    HERALD_HISTORY, HERALD_HISTORY_DROPPED, HERALD_HISTORY_ERRORS, HERALD_HISTORY_SIZE,
    HERALD_LEDGER_ACKNOWLEDGE, HERALD_LEDGER_ALERTS, HERALD_LEDGER_DETECT, HERALD_LEDGER_RESOLVE,
    HERALD_LEDGER_UNDELIVERED, HERALD_NOTIFICATIONS, HERALD_PANICS, HERALD_QUEUE, HERALD_QUEUE_AGE,
    HERALD_RECEIVED, HERALD_RETRIES, HERALD_SILENCED, HERALD_SILENCES, HERALD_STORAGE_AVAILABLE,
    HERALD_STORAGE_ERRORS, HERALD_STORAGE_SIZE, Judgement, Statistic, Target,
};
pub(crate) use crate::metrics::{DeliveryOutcome, HistoryFile, Question, ReceiveOutcome, Storage};

impl ReceiveOutcome {
    /// Counts it.
    pub(crate) fn count(self) {
        HERALD_RECEIVED.with(self).increment(1);
    }
}

/// Evidence that is being gathered, for as long as this lives.
#[derive(Debug)]
pub(crate) struct UnderWay;

impl UnderWay {
    /// Starts the measurement.
    pub(crate) fn begin() -> Self {
        HERALD_EVIDENCE_IN_PROGRESS.increment(1.0);
        Self
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        HERALD_EVIDENCE_IN_PROGRESS.decrement(1.0);
    }
}

impl Storage {
    /// Counts that it failed.
    pub(crate) fn failed(self) {
        HERALD_STORAGE_ERRORS.with(self).increment(1);
    }
}

impl HistoryFile {
    /// Counts that it failed.
    pub(crate) fn failed(self) {
        HERALD_HISTORY_ERRORS.with(self).increment(1);
    }
}

/// Makes every series exist from the start.
pub(crate) fn declare(targets: &[&'static str], backends: &[&'static str]) {
    for received in ReceiveOutcome::ALL {
        HERALD_RECEIVED.with(received).absolute(0);
    }
    for storage in Storage::ALL {
        HERALD_STORAGE_ERRORS.with(storage).absolute(0);
    }
    for target in targets {
        HERALD_PANICS.with(Target(target)).absolute(0);
        for outcome in DeliveryOutcome::ALL {
            let labels = (Target(target), outcome);
            HERALD_NOTIFICATIONS.with(labels).absolute(0);
        }
        HERALD_RETRIES.with(Target(target)).absolute(0);
        queue(target, 0, 0.0);
        silenced(target, 0);
        failed_kept(target, 0);
        foreign(target, 0);
    }
    for backend in backends {
        HERALD_EVIDENCE_MISSING.with(Backend(backend)).absolute(0);
        for outcome in Question::ALL {
            let labels = (Backend(backend), outcome);
            HERALD_EVIDENCE_QUESTIONS.with(labels).absolute(0);
        }
    }
    for operation in HistoryFile::ALL {
        HERALD_HISTORY_ERRORS.with(operation).absolute(0);
    }
    HERALD_HISTORY_DROPPED.absolute(0);
    history(0, 0, 0);
    ledger(&ledger::by_severity(std::iter::empty()));
    silences(0);
    HERALD_EVIDENCE_IN_PROGRESS.set(0.0);
    HERALD_EVIDENCE_REFUSED.absolute(0);
}

/// A notification's end.
pub(crate) fn ended(target: &'static str, outcome: DeliveryOutcome) {
    HERALD_NOTIFICATIONS
        .with((Target(target), outcome))
        .increment(1);
}

/// An attempt that is to be repeated.
pub(crate) fn retried(target: &'static str) {
    HERALD_RETRIES.with(Target(target)).increment(1);
}

/// The number of waiting notifications, and the age of the oldest in seconds.
pub(crate) fn queue(target: &'static str, size: usize, oldest: f64) {
    HERALD_QUEUE.with(Target(target)).set(size as f64);
    HERALD_QUEUE_AGE.with(Target(target)).set(oldest);
}

/// The number of notifications that were set aside.
pub(crate) fn failed_kept(target: &'static str, count: usize) {
    HERALD_FAILED.with(Target(target)).set(count as f64);
}

/// Evidence that a notification goes without.
pub(crate) fn missing(backend: &'static str) {
    HERALD_EVIDENCE_MISSING.with(Backend(backend)).increment(1);
}

/// The end of a question to a backend.
pub(crate) fn question(backend: &'static str, outcome: Question) {
    HERALD_EVIDENCE_QUESTIONS
        .with((Backend(backend), outcome))
        .increment(1);
}

/// A notification for which nobody was asked.
pub(crate) fn evidence_refused() {
    HERALD_EVIDENCE_REFUSED.increment(1);
}

/// The number of files in a target's directories that are not notifications.
pub(crate) fn foreign(target: &'static str, count: usize) {
    HERALD_FOREIGN.with(Target(target)).set(count as f64);
}

/// The disk that notifications are kept on.
pub(crate) fn room(available: u64, size: u64) {
    HERALD_STORAGE_AVAILABLE.set(available as f64);
    HERALD_STORAGE_SIZE.set(size as f64);
}

/// A delivery that panicked.
pub(crate) fn panicked(target: &'static str) {
    HERALD_PANICS.with(Target(target)).increment(1);
}

/// The number of notifications that silences hold back.
pub(crate) fn silenced(target: &'static str, count: usize) {
    HERALD_SILENCED.with(Target(target)).set(count as f64);
}

/// How many silences are active.
pub(crate) fn silences(count: usize) {
    HERALD_SILENCES.set(count as f64);
}

/// The size of the history.
pub(crate) fn history(firing: usize, resolved: usize, bytes: usize) {
    HERALD_HISTORY.with(Episode::Firing).set(firing as f64);
    HERALD_HISTORY.with(Episode::Resolved).set(resolved as f64);
    HERALD_HISTORY_SIZE.set(bytes as f64);
}

/// The numbers of each severity.
pub(crate) fn ledger(severities: &[Row]) {
    for Row {
        severity, numbers, ..
    } in severities
    {
        let Numbers {
            true_alarms,
            false_alarms,
            unjudged,
            ..
        } = numbers;
        for (judgement, count) in [
            (Judgement::TrueAlarm, true_alarms),
            (Judgement::FalseAlarm, false_alarms),
            (Judgement::Unjudged, unjudged),
        ] {
            let gauge = HERALD_LEDGER_ALERTS.with((*severity, judgement));
            gauge.set(*count as f64);
        }
        HERALD_LEDGER_UNDELIVERED
            .with(*severity)
            .set(numbers.undelivered as f64);
        for (metric, times) in [
            (HERALD_LEDGER_DETECT, &numbers.time_to_detect),
            (HERALD_LEDGER_ACKNOWLEDGE, &numbers.time_to_acknowledge),
            (HERALD_LEDGER_RESOLVE, &numbers.time_to_resolve),
        ] {
            let time = |pick: fn(&ledger::Times) -> f64| times.as_ref().map_or(f64::NAN, pick);
            for (statistic, value) in [
                (Statistic::Mean, time(|times| times.mean_s)),
                (Statistic::Median, time(|times| times.median_s)),
                (Statistic::P90, time(|times| times.p90_s)),
            ] {
                metric.with((*severity, statistic)).set(value);
            }
        }
    }
}

/// The history has removed an episode.
pub(crate) fn history_dropped() {
    HERALD_HISTORY_DROPPED.increment(1);
}

//! Herald's own metrics; their names are in telemetry's catalogue.

use metrics::{counter, gauge};
use telemetry::names;

/// What became of a request to take an alert.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Received {
    /// On disk.
    Accepted,
    /// The same is pending already.
    Duplicate,
    /// Whoever brought it may not.
    Unauthorized,
    /// It could not be understood.
    Refused,
    /// The queue is full, or the disk does not take it.
    Unavailable,
}

impl Received {
    const ALL: [Self; 5] = [
        Self::Accepted,
        Self::Duplicate,
        Self::Unauthorized,
        Self::Refused,
        Self::Unavailable,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Unauthorized => "unauthorized",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
        }
    }

    /// Counts it.
    pub(crate) fn count(self) {
        counter!(names::HERALD_RECEIVED, "outcome" => self.name()).increment(1);
    }
}

/// What became of a question to a backend.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Question {
    /// It was answered.
    Answered,
    /// With an error, or with what cannot be read.
    Failed,
    /// Not in time.
    Unanswered,
    /// Others came first, or the backend is silent.
    NotAsked,
}

impl Question {
    const ALL: [Self; 4] = [
        Self::Answered,
        Self::Failed,
        Self::Unanswered,
        Self::NotAsked,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::Unanswered => "unanswered",
            Self::NotAsked => "not_asked",
        }
    }
}

/// Evidence that is being gathered, for as long as this lives.
#[derive(Debug)]
pub(crate) struct UnderWay;

impl UnderWay {
    /// From now on.
    pub(crate) fn begin() -> Self {
        gauge!(names::HERALD_EVIDENCE_IN_PROGRESS).increment(1.0);
        Self
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        gauge!(names::HERALD_EVIDENCE_IN_PROGRESS).decrement(1.0);
    }
}

/// What was done with the files of the queue.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Storage {
    /// A notification that came in, or a test of the disk.
    Write,
    /// One that is to be delivered.
    Read,
    /// One that has arrived.
    Remove,
    /// One that is given up.
    SetAside,
}

impl Storage {
    const ALL: [Self; 4] = [Self::Write, Self::Read, Self::Remove, Self::SetAside];

    fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
            Self::Remove => "remove",
            Self::SetAside => "set_aside",
        }
    }

    /// Counts that it failed.
    pub(crate) fn failed(self) {
        counter!(names::HERALD_STORAGE_ERRORS, "operation" => self.name()).increment(1);
    }
}

/// Makes every series exist from the start.
pub(crate) fn declare(targets: &[&'static str], backends: &[&'static str]) {
    for received in Received::ALL {
        counter!(names::HERALD_RECEIVED, "outcome" => received.name()).absolute(0);
    }
    for storage in Storage::ALL {
        counter!(names::HERALD_STORAGE_ERRORS, "operation" => storage.name()).absolute(0);
    }
    for target in targets {
        counter!(names::HERALD_PANICS, "target" => *target).absolute(0);
        for outcome in ["delivered", "failed"] {
            counter!(names::HERALD_NOTIFICATIONS, "target" => *target, "outcome" => outcome)
                .absolute(0);
        }
        counter!(names::HERALD_RETRIES, "target" => *target).absolute(0);
        queue(target, 0, 0.0);
        failed_kept(target, 0);
        foreign(target, 0);
    }
    for backend in backends {
        counter!(names::HERALD_EVIDENCE_MISSING, "backend" => *backend).absolute(0);
        for outcome in Question::ALL {
            let outcome = outcome.name();
            counter!(names::HERALD_EVIDENCE_QUESTIONS, "backend" => *backend, "outcome" => outcome)
                .absolute(0);
        }
    }
    gauge!(names::HERALD_EVIDENCE_IN_PROGRESS).set(0.0);
    counter!(names::HERALD_EVIDENCE_REFUSED).absolute(0);
}

/// A notification's end.
pub(crate) fn ended(target: &'static str, delivered: bool) {
    let outcome = if delivered { "delivered" } else { "failed" };
    counter!(names::HERALD_NOTIFICATIONS, "target" => target, "outcome" => outcome).increment(1);
}

/// An attempt that is to be repeated.
pub(crate) fn retried(target: &'static str) {
    counter!(names::HERALD_RETRIES, "target" => target).increment(1);
}

/// What waits, and for how many seconds the oldest has.
pub(crate) fn queue(target: &'static str, size: usize, oldest: f64) {
    gauge!(names::HERALD_QUEUE, "target" => target).set(size as f64);
    gauge!(names::HERALD_QUEUE_AGE, "target" => target).set(oldest);
}

/// What is kept aside.
pub(crate) fn failed_kept(target: &'static str, count: usize) {
    gauge!(names::HERALD_FAILED, "target" => target).set(count as f64);
}

/// Evidence that a notification goes without.
pub(crate) fn missing(backend: &'static str) {
    counter!(names::HERALD_EVIDENCE_MISSING, "backend" => backend).increment(1);
}

/// The end of a question to a backend.
pub(crate) fn question(backend: &'static str, outcome: Question) {
    let outcome = outcome.name();
    counter!(names::HERALD_EVIDENCE_QUESTIONS, "backend" => backend, "outcome" => outcome)
        .increment(1);
}

/// A notification for which nobody was asked.
pub(crate) fn evidence_refused() {
    counter!(names::HERALD_EVIDENCE_REFUSED).increment(1);
}

/// What is in the directories of a target without being a notification.
pub(crate) fn foreign(target: &'static str, count: usize) {
    gauge!(names::HERALD_FOREIGN, "target" => target).set(count as f64);
}

/// A delivery that panicked.
pub(crate) fn panicked(target: &'static str) {
    counter!(names::HERALD_PANICS, "target" => target).increment(1);
}

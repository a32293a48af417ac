//! What the telemetry says about an alert. Collected in a bounded time; what a backend does not say is named as missing.

mod backend;
mod collector;
pub(crate) mod dependencies;
pub(crate) mod locks;
pub(crate) mod logs;
mod prometheus;
pub(crate) mod releases;
pub(crate) mod rollback;
pub(crate) mod traces;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::stats;
pub(crate) use collector::Collector;
use dependencies::Dependencies;
use releases::Releases;

const PROMETHEUS: &str = "prometheus";
const JAEGER: &str = "jaeger";
const LOKI: &str = "loki";

/// All of them, for the metric of what is missing.
pub(crate) const BACKENDS: [&str; 3] = [PROMETHEUS, JAEGER, LOKI];

/// Trouble begins before its alert does.
const LEAD: TimeDelta = TimeDelta::minutes(2);

/// Of an alert that has fired for long, the last hour.
const LONGEST: TimeDelta = TimeDelta::hours(1);

/// The time that evidence is about.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Window {
    pub(crate) start: DateTime<Utc>,
    pub(crate) end: DateTime<Utc>,
}

/// Evidence that could not be had.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Missing {
    pub(crate) backend: &'static str,
    pub(crate) reason: String,
}

/// All evidence.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Evidence {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) window: Option<Window>,
    pub(crate) traces: Vec<traces::Trace>,
    pub(crate) log_lines: Vec<logs::Line>,
    pub(crate) dependencies: Dependencies,
    pub(crate) locks: Vec<locks::Lock>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) releases: Option<Releases>,
    pub(crate) missing: Vec<Missing>,
}

impl Window {
    fn of(started: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        // A clock that differs from ours must not turn the window around.
        let start = (started - LEAD).min(now - LEAD).max(now - LONGEST);
        Self { start, end: now }
    }

    /// Its length.
    pub(crate) fn seconds(&self) -> u64 {
        u64::try_from((self.end - self.start).num_seconds()).unwrap_or(1)
    }
}

impl Evidence {
    /// What is sent when there was no time for any.
    pub(crate) fn late() -> Self {
        let mut evidence = Self::default();
        for backend in BACKENDS {
            evidence.lack(backend, "not collected in time".to_owned());
        }
        evidence
    }

    fn lack(&mut self, backend: &'static str, reason: String) {
        if self
            .missing
            .iter()
            .all(|missing| missing.backend != backend)
        {
            stats::missing(backend);
            self.missing.push(Missing { backend, reason });
        }
    }

    fn take<T: Default>(&mut self, backend: &'static str, part: Result<T, String>) -> T {
        part.unwrap_or_else(|reason| {
            self.lack(backend, reason);
            T::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_from_before_the_alert_and_an_hour_at_most() {
        let now = DateTime::from_timestamp(1_000_000, 0).unwrap();
        let length = |seconds| Window::of(now - TimeDelta::seconds(seconds), now).seconds();
        assert_eq!(
            [length(-500), length(0), length(60), length(86_400)],
            [120, 120, 180, 3600]
        );
    }
}

//! What the telemetry says about an alert. Collected in a bounded time; what a backend does not say is named as missing.
//!
//! ```text
//! accepted -> Collector -> one gathering per service and minute -> parts, shared by all that ask the same -> backends
//!                                                                                                         (each its turns)
//! ```

mod answer;
mod backend;
mod collector;
pub(crate) mod dependencies;
mod jaeger;
pub(crate) mod locks;
pub(crate) mod logs;
mod parts;
mod prometheus;
pub(crate) mod releases;
pub(crate) mod rollback;
pub(crate) mod services;
mod silence;
mod size;
mod store;
pub(crate) mod traces;
pub(crate) mod trail;
mod window;

use serde::Serialize;

use crate::stats;
pub(crate) use collector::Collector;
use dependencies::Dependencies;
use releases::Releases;
pub(crate) use window::Window;
#[cfg(test)]
pub(crate) use window::tests::extreme_dates;

const PROMETHEUS: &str = "prometheus";
const JAEGER: &str = "jaeger";
const LOKI: &str = "loki";

/// All backends, for the metric of missing evidence.
pub(crate) const BACKENDS: [&str; 3] = [PROMETHEUS, JAEGER, LOKI];

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
    pub(crate) services: Vec<services::ServiceState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) releases: Option<Releases>,
    pub(crate) missing: Vec<Missing>,
    /// Evidence that would have made the notification too large.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) left_out: Vec<String>,
    /// Its size as JSON.
    #[serde(skip)]
    bytes: usize,
}

/// The result of one part of the evidence, and the reason if it is incomplete.
#[derive(Debug, Clone, Default)]
struct Part<T> {
    value: T,
    lacks: Option<String>,
}

impl<T> Part<T> {
    /// Takes an answer. If several are missing, the first one gives the reason.
    fn take<U: Default>(&mut self, answer: Result<U, String>) -> U {
        answer.unwrap_or_else(|reason| {
            self.lacks.get_or_insert(reason);
            U::default()
        })
    }

    fn merge<U>(&mut self, other: Part<U>) -> U {
        if let Some(reason) = other.lacks {
            self.lacks.get_or_insert(reason);
        }
        other.value
    }
}

impl Evidence {
    /// Without any of it, for one reason.
    pub(crate) fn none(reason: &str) -> Self {
        let mut evidence = Self::default();
        for backend in BACKENDS {
            evidence.lack(backend, reason.to_owned());
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

    /// Takes over a part, and the reason if it is incomplete.
    fn take<'a, T>(&mut self, backend: &'static str, part: &'a Part<T>) -> &'a T {
        if let Some(reason) = &part.lacks {
            self.lack(backend, reason.clone());
        }
        &part.value
    }
}

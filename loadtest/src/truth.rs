//! Every request as its client saw it: counted here once, whatever goose or the servers make of it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use telemetry::Outcome;
use telemetry::names::labels::{Method, Route, Status};

use crate::metrics::ClientMetrics;

/// One request, ended.
#[derive(Debug, Clone)]
pub struct Observation {
    /// `GET`, `POST`.
    pub method: &'static str,
    /// Route pattern.
    pub route: &'static str,
    /// Status, if an answer came.
    pub status: Option<u16>,
    /// Why the user is not content; `None` when it got what it asked for.
    pub failure: Option<String>,
    /// The answer came whole.
    pub whole: bool,
    /// From before sending to the last byte.
    pub elapsed: Duration,
}

impl Observation {
    /// As the servers count: 4xx is no error.
    pub fn outcome(&self) -> Outcome {
        match self.status {
            Some(status) if status < 500 && self.whole => Outcome::Ok,
            _ => Outcome::Error,
        }
    }
}

/// What is counted apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Series {
    /// `http.request.method`.
    pub method: &'static str,
    /// `http.route`.
    pub route: &'static str,
    /// `http.response.status_code`; empty when no answer came.
    pub status: String,
    /// `ok` or `error`.
    pub outcome: &'static str,
}

/// Method, route and reason of failures.
pub type Failure = (&'static str, &'static str, String);

/// Everything counted so far.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Requests.
    pub requests: BTreeMap<Series, u64>,
    /// Requests that did not give the user what it asked for.
    pub failures: BTreeMap<Failure, u64>,
}

impl Counts {
    /// All requests.
    pub fn total(&self) -> u64 {
        self.requests.values().sum()
    }

    /// All failures.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }
}

#[derive(Default)]
struct State {
    counts: Counts,
    users: u64,
    recent: Vec<u32>,
    recent_failures: u64,
}

/// What happened since the last look.
#[derive(Debug, Clone, Default)]
pub struct Recent {
    /// Times in microseconds, sorted.
    pub micros: Vec<u32>,
    /// Failures among them.
    pub failures: u64,
    /// Users running now.
    pub users: u64,
}

/// The books, and the metrics made from them.
pub struct Truth {
    metrics: ClientMetrics,
    state: Mutex<State>,
}

impl Truth {
    /// Empty books.
    pub fn new(metrics: ClientMetrics) -> Self {
        Self {
            metrics,
            state: Mutex::default(),
        }
    }

    /// Books one request.
    pub fn observe(&self, seen: &Observation) {
        let series = Series {
            method: seen.method,
            route: seen.route,
            status: seen
                .status
                .map(|status| status.to_string())
                .unwrap_or_default(),
            outcome: seen.outcome().as_str(),
        };
        let labels = (
            Method(series.method),
            Route(series.route.to_owned()),
            Status(series.status.clone()),
            seen.outcome(),
        );
        self.metrics.request(labels, seen.elapsed.as_secs_f64());
        let mut state = self.state();
        *state.counts.requests.entry(series).or_default() += 1;
        state
            .recent
            .push(u32::try_from(seen.elapsed.as_micros()).unwrap_or(u32::MAX));
        if let Some(reason) = &seen.failure {
            let failure = (seen.method, seen.route, reason.clone());
            *state.counts.failures.entry(failure).or_default() += 1;
            state.recent_failures += 1;
        }
    }

    /// A user starts.
    pub fn user_came(&self) {
        self.state().users += 1;
        self.metrics.users(1.0);
    }

    /// A user stops.
    pub fn user_went(&self) {
        self.state().users -= 1;
        self.metrics.users(-1.0);
    }

    /// Everything so far.
    pub fn counts(&self) -> Counts {
        self.state().counts.clone()
    }

    /// What happened since this was called last.
    pub fn recent(&self) -> Recent {
        self.metrics.upkeep();
        let mut state = self.state();
        let mut micros = std::mem::take(&mut state.recent);
        let failures = std::mem::take(&mut state.recent_failures);
        let users = state.users;
        drop(state);
        micros.sort_unstable();
        Recent {
            micros,
            failures,
            users,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recent {
    /// The time within which `share` of the requests ended, in ms (nearest rank); 0 without requests.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        let rank = (share * self.micros.len() as f64).ceil() as usize;
        self.micros
            .get(rank.saturating_sub(1))
            .map_or(0.0, |micros| f64::from(*micros) / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(status: Option<u16>, failure: Option<&str>, micros: u64) -> Observation {
        Observation {
            method: "GET",
            route: "/api/data",
            status,
            failure: failure.map(str::to_owned),
            whole: status.is_some(),
            elapsed: Duration::from_micros(micros),
        }
    }

    #[test]
    fn books_and_metrics_agree() {
        let metrics = ClientMetrics::new("1").unwrap();
        let truth = Truth::new(metrics.clone());
        truth.user_came();
        for one in [
            seen(Some(200), None, 1500),
            seen(Some(200), None, 2500),
            seen(Some(404), Some("HTTP 404"), 1000),
            seen(Some(503), Some("HTTP 503"), 1000),
            seen(None, Some("connect"), 500),
        ] {
            truth.observe(&one);
        }
        let counts = truth.counts();
        assert_eq!((counts.total(), counts.failed()), (5, 3));
        let errors = counts
            .requests
            .iter()
            .filter(|(series, _)| series.outcome == "error");
        assert_eq!(
            errors.map(|(_, count)| count).sum::<u64>(),
            2,
            "4xx is no error"
        );
        let text = metrics.render();
        for line in [
            "http_response_status_code=\"200\",outcome=\"ok\"} 2",
            "http_response_status_code=\"\",outcome=\"error\"} 1",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(
            text.contains("loadtest_users{service_name=\"load\",service_version=\"1\"} 1"),
            "{text}"
        );
    }

    #[test]
    fn quantiles_are_of_what_is_new() {
        let truth = Truth::new(ClientMetrics::new("1").unwrap());
        for micros in (1..=100).rev() {
            truth.observe(&seen(Some(200), None, micros * 1000));
        }
        let recent = truth.recent();
        assert_eq!(recent.quantile_ms(0.5), 50.0);
        assert_eq!(recent.quantile_ms(0.99), 99.0);
        assert_eq!(recent.quantile_ms(1.0), 100.0);
        assert_eq!(truth.recent().quantile_ms(0.5), 0.0);
    }
}

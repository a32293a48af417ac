//! What the telemetry says about an alert. Collected in a bounded time; what a backend does not say is named as missing.

mod backend;
pub(crate) mod dependencies;
pub(crate) mod locks;
pub(crate) mod logs;
mod prometheus;
pub(crate) mod releases;
pub(crate) mod rollback;
pub(crate) mod traces;

use std::future::Future;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use service::SettingError;
use url::Url;

use crate::backend_tls::BackendTls;
use crate::payload::Payload;
use crate::settings::Sources;
use crate::stats;
use backend::Backend;
use dependencies::Dependencies;
use prometheus::Prometheus;
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

/// Left for putting the answers together.
const RESERVE: Duration = Duration::from_millis(300);

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

/// Asks the backends.
#[derive(Debug)]
pub(crate) struct Collector {
    prometheus: Prometheus,
    jaeger: Backend,
    loki: Backend,
    limit: Duration,
}

impl Collector {
    /// Each backend has nearly all of `limit`: they are asked at the same time.
    pub(crate) fn new(
        sources: &Sources,
        tls: &BackendTls,
        limit: Duration,
    ) -> Result<Self, SettingError> {
        let client = tls.client(backend::client())?;
        let backend = |variable, url: &Option<Url>| Backend::new(client.clone(), variable, url);
        Ok(Self {
            prometheus: Prometheus {
                backend: backend("PROMETHEUS_URL", &sources.prometheus),
            },
            jaeger: backend("JAEGER_URL", &sources.jaeger),
            loki: backend("LOKI_URL", &sources.loki),
            limit: limit.saturating_sub(RESERVE),
        })
    }

    /// Everything about an alert that fires.
    pub(crate) async fn collect(&self, payload: &Payload, now: DateTime<Utc>) -> Evidence {
        let (service, started) = (payload.service(), payload.started());
        let window = Window::of(started, now);
        let (dependencies, locks, releases, exemplars, found, lines) = futures_util::join!(
            self.within(dependencies::collect(
                &self.prometheus,
                service,
                started,
                &window
            )),
            self.within(locks::collect(&self.prometheus, &window)),
            self.within(releases::collect(&self.prometheus, started, &window)),
            self.within(traces::exemplars(&self.prometheus, service, &window)),
            self.within(traces::search(&self.jaeger, service, &window)),
            self.within(logs::collect(&self.loki, &window)),
        );
        let mut evidence = Evidence::default();
        evidence.dependencies = evidence.take(PROMETHEUS, dependencies);
        evidence.locks = evidence.take(PROMETHEUS, locks);
        evidence.releases = evidence.take(PROMETHEUS, releases.map(Some));
        let exemplars = evidence.take(PROMETHEUS, exemplars);
        let found = evidence.take(JAEGER, found);
        evidence.traces = traces::worst(exemplars, found);
        evidence.log_lines = evidence.take(LOKI, lines);
        if let Some(releases) = &mut evidence.releases {
            releases.qualify(&evidence.dependencies);
        }
        evidence.window = Some(window);
        evidence
    }

    async fn within<T>(&self, part: impl Future<Output = Result<T, String>>) -> Result<T, String> {
        match tokio::time::timeout(self.limit, part).await {
            Ok(result) => result,
            Err(_) => Err(format!("no answer within {} ms", self.limit.as_millis())),
        }
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

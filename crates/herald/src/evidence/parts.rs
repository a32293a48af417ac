//! The parts of evidence. Each is requested once for all alerts that need the same.

use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::runtime::Handle;

use super::backend::{Backend, CROWDED, Patience, UNREAD};
use super::dependencies::{self, Edge};
use super::locks::{self, Lock};
use super::logs::{self, Line};
use super::prometheus::Prometheus;
use super::releases::{self, ReleaseHistory};
use super::services::{self, ServiceState};
use super::store::{Limits, Store, Weigh};
use super::traces::{self, Trace};
use super::{Evidence, JAEGER, LOKI, PROMETHEUS, Part, Window};

/// The subject of an alert's evidence; alerts with the same subject share all of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Subject {
    pub(super) service: Option<String>,
    pub(super) started: DateTime<Utc>,
    pub(super) window: Window,
    /// It is about telemetry that gets lost.
    pub(super) blind: bool,
}

/// The limits of each part; stored parts are useful for seconds only.
const LIMITS: Limits = Limits {
    under_way: 128,
    entries: 128,
    bytes: 256 << 10,
};

/// The limits for all calls of all services.
const CALLS: Limits = Limits {
    bytes: 1 << 20,
    ..LIMITS
};

type Shared<K, T> = Arc<Store<K, Part<T>>>;
type ServiceKey = (Option<String>, Window);

/// The backends, and the parts that are stored or being requested.
#[derive(Debug)]
pub(super) struct Parts {
    prometheus: Prometheus,
    jaeger: Backend,
    loki: Backend,
    calls: Shared<(DateTime<Utc>, i64), Vec<Edge>>,
    locks: Shared<Window, Vec<Lock>>,
    services: Shared<Window, Vec<ServiceState>>,
    releases: Shared<DateTime<Utc>, Option<ReleaseHistory>>,
    exemplars: Shared<ServiceKey, Vec<Trace>>,
    traces: Shared<ServiceKey, Vec<Trace>>,
    lines: Shared<Window, Vec<Line>>,
}

impl Parts {
    pub(super) fn of(prometheus: Backend, jaeger: Backend, loki: Backend) -> Self {
        Self {
            prometheus: Prometheus {
                backend: prometheus,
            },
            jaeger,
            loki,
            calls: Store::new(CALLS),
            locks: Store::new(LIMITS),
            services: Store::new(LIMITS),
            releases: Store::new(LIMITS),
            exemplars: Store::new(LIMITS),
            traces: Store::new(LIMITS),
            lines: Store::new(LIMITS),
        }
    }

    /// Everything about an alert that fires. What was not there in time is missing, and nothing else.
    pub(super) async fn gather(&self, subject: &Subject, patience: Patience) -> Evidence {
        let of_service = (subject.service.clone(), subject.window);
        let (calls, locks, services, releases, exemplars, found, lines) = futures_util::join!(
            self.calls(subject.window, patience),
            self.locks(subject.window, patience),
            self.services(subject.window, patience),
            self.releases(subject.window.end, patience),
            self.exemplars(of_service.clone(), patience),
            self.traces(of_service, patience),
            self.lines(subject.window, patience),
        );
        let mut evidence = Evidence {
            window: Some(subject.window),
            ..Evidence::default()
        };
        let calls = evidence.take(PROMETHEUS, calls.as_ref());
        evidence.dependencies = dependencies::blame(calls, subject.service.as_deref());
        evidence.locks = evidence.take(PROMETHEUS, locks.as_ref()).clone();
        evidence.services = evidence.take(PROMETHEUS, services.as_ref()).clone();
        let releases = evidence.take(PROMETHEUS, releases.as_ref()).as_ref();
        evidence.releases = releases.map(|seen| seen.judged(subject.started));
        let mut exemplars = evidence.take(PROMETHEUS, exemplars.as_ref()).clone();
        if subject.blind {
            // The trace of an exemplar may be among what gets lost: its link would lead nowhere.
            exemplars.clear();
        }
        let found = evidence.take(JAEGER, found.as_ref()).clone();
        evidence.traces = traces::worst(exemplars, found);
        traces::keep(&self.jaeger.with(patience), &evidence.traces).await;
        evidence.log_lines = evidence.take(LOKI, lines.as_ref()).clone();
        if let Some(releases) = &mut evidence.releases {
            releases.qualify(&evidence.dependencies);
        }
        evidence.fit()
    }

    async fn calls(&self, window: Window, patience: Patience) -> Arc<Part<Vec<Edge>>> {
        let prometheus = self.prometheus.with(patience);
        let ask = async move || dependencies::calls(&prometheus, window).await;
        share(&self.calls, (window.end, window.trouble_s), patience, ask).await
    }

    async fn locks(&self, window: Window, patience: Patience) -> Arc<Part<Vec<Lock>>> {
        let prometheus = self.prometheus.with(patience);
        let ask = async move || locks::collect(&prometheus, window).await;
        share(&self.locks, window, patience, ask).await
    }

    async fn services(&self, window: Window, patience: Patience) -> Arc<Part<Vec<ServiceState>>> {
        let prometheus = self.prometheus.with(patience);
        let ask = async move || services::collect(&prometheus, window).await;
        share(&self.services, window, patience, ask).await
    }

    async fn releases(
        &self,
        end: DateTime<Utc>,
        patience: Patience,
    ) -> Arc<Part<Option<ReleaseHistory>>> {
        let prometheus = self.prometheus.with(patience);
        let ask = async move || releases::collect(&prometheus, end).await;
        share(&self.releases, end, patience, ask).await
    }

    async fn exemplars(&self, of: ServiceKey, patience: Patience) -> Arc<Part<Vec<Trace>>> {
        let (prometheus, (service, window)) = (self.prometheus.with(patience), of.clone());
        let ask = async move || traces::exemplars(&prometheus, service.as_deref(), window).await;
        share(&self.exemplars, of, patience, ask).await
    }

    async fn traces(&self, of: ServiceKey, patience: Patience) -> Arc<Part<Vec<Trace>>> {
        let (jaeger, (service, window)) = (self.jaeger.with(patience), of.clone());
        let ask = async move || traces::search(&jaeger, service.as_deref(), window).await;
        share(&self.traces, of, patience, ask).await
    }

    async fn lines(&self, window: Window, patience: Patience) -> Arc<Part<Vec<Line>>> {
        let loki = self.loki.with(patience);
        let ask = async move || logs::collect(&loki, window).await;
        share(&self.lines, window, patience, ask).await
    }
}

/// The stored part, or the result of `ask`.
async fn share<K, T, F>(
    store: &Shared<K, T>,
    key: K,
    patience: Patience,
    ask: impl FnOnce() -> F,
) -> Arc<Part<T>>
where
    K: Eq + Hash + Clone + Send + 'static,
    T: Weigh + Default + Send + Sync + 'static,
    F: Future<Output = Part<T>> + Send + 'static,
{
    let without = |reason: &str| {
        let lacks = Some(reason.to_owned());
        Arc::new(Part {
            lacks,
            ..Part::default()
        })
    };
    match store.get(key, patience.until, &Handle::current(), ask) {
        Some(part) => {
            // The requests end at the same time; the part has what they have returned by then.
            let part = part.get(patience.until + patience.grace).await;
            part.unwrap_or_else(|| without(UNREAD))
        }
        None => without(CROWDED),
    }
}

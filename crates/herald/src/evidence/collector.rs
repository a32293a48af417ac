//! Gathers evidence in the background, from the moment an alert is accepted, on a runtime of its own.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use service::SettingError;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::backend::{self, Backend};
use super::prometheus::Prometheus;
use super::{
    Evidence, JAEGER, LOKI, PROMETHEUS, Window, dependencies, locks, logs, releases, traces,
};
use crate::backend_tls::BackendTls;
use crate::payload::{Payload, Status};
use crate::settings::Sources;

/// Left for putting the answers together.
const RESERVE: Duration = Duration::from_millis(300);

/// More evidence is not remembered.
const REMEMBERED: usize = 100;

/// What evidence is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Subject {
    service: Option<String>,
    started: DateTime<Utc>,
    accepted: DateTime<Utc>,
}

/// Evidence that is there, or will be by a time.
#[derive(Debug, Clone)]
struct Gathering {
    until: Instant,
    result: watch::Receiver<Option<Arc<Evidence>>>,
}

/// Asks the backends.
#[derive(Debug)]
pub(crate) struct Collector {
    sources: Arc<Backends>,
    patience: Duration,
    gatherings: Mutex<HashMap<Subject, Gathering>>,
    /// Only the end takes it.
    runtime: Option<Runtime>,
}

#[derive(Debug)]
struct Backends {
    prometheus: Prometheus,
    jaeger: Backend,
    loki: Backend,
    limit: Duration,
}

impl Collector {
    /// Each backend has nearly all of `patience`: they are asked at the same time.
    pub(crate) fn new(
        sources: &Sources,
        tls: &BackendTls,
        patience: Duration,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            sources: Arc::new(Backends::new(
                sources,
                tls,
                patience.saturating_sub(RESERVE),
            )?),
            patience,
            gatherings: Mutex::default(),
            runtime: Some(
                Builder::new_multi_thread()
                    .worker_threads(1)
                    .enable_all()
                    .build()?,
            ),
        })
    }

    /// Starts to gather for an alert that has just been accepted. Returns at once.
    pub(crate) fn begin(&self, payload: &Payload, accepted: DateTime<Utc>) {
        if payload.status == Status::Firing {
            self.gathering(payload, accepted);
        }
    }

    /// What was gathered, at the latest when the patience has passed since [`Self::begin`], or since the first time that
    /// somebody asked, if nothing was begun or nothing is left of it.
    pub(crate) async fn evidence(
        &self,
        payload: &Payload,
        accepted: DateTime<Utc>,
    ) -> Arc<Evidence> {
        if payload.status == Status::Resolved {
            return Arc::default();
        }
        let Gathering { until, mut result } = self.gathering(payload, accepted);
        match timeout_at(until, result.wait_for(Option::is_some)).await {
            Ok(Ok(evidence)) => evidence.clone().unwrap_or_default(),
            // Late, or its task ended in a panic.
            Err(_) | Ok(Err(_)) => Arc::new(Evidence::late()),
        }
    }

    fn gathering(&self, payload: &Payload, accepted: DateTime<Utc>) -> Gathering {
        let subject = Subject {
            service: payload.service().map(str::to_owned),
            started: payload.started(),
            accepted,
        };
        let mut gatherings = self
            .gatherings
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if gatherings.len() >= REMEMBERED && !gatherings.contains_key(&subject) {
            gatherings.clear();
        }
        let begin = || self.spawn(subject.clone());
        gatherings
            .entry(subject.clone())
            .or_insert_with(begin)
            .clone()
    }

    fn spawn(&self, subject: Subject) -> Gathering {
        let (sender, result) = watch::channel(None);
        let sources = self.sources.clone();
        if let Some(runtime) = &self.runtime {
            runtime
                .spawn(async move { sender.send(Some(Arc::new(sources.gather(&subject).await))) });
        }
        let until = Instant::now() + self.patience;
        Gathering { until, result }
    }
}

impl Drop for Collector {
    /// What is still asked or computed holds nobody up.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Backends {
    fn new(sources: &Sources, tls: &BackendTls, limit: Duration) -> Result<Self, SettingError> {
        let client = tls.client(backend::client())?;
        let backend = |variable, url: &Option<Url>| Backend::new(client.clone(), variable, url);
        Ok(Self {
            prometheus: Prometheus {
                backend: backend("PROMETHEUS_URL", &sources.prometheus),
            },
            jaeger: backend("JAEGER_URL", &sources.jaeger),
            loki: backend("LOKI_URL", &sources.loki),
            limit,
        })
    }

    /// Everything about an alert that fires.
    async fn gather(&self, subject: &Subject) -> Evidence {
        let (service, started) = (subject.service.as_deref(), subject.started);
        let window = Window::of(started, subject.accepted);
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

//! Gathers evidence in the background, from the moment an alert is accepted, on a runtime of its own.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Utc};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;
use url::Url;

use super::backend::{self, Backend, Patience, Place};
use super::parts::{Parts, Subject};
use super::store::{Limits, Promise, Store};
use super::{Evidence, JAEGER, LOKI, PROMETHEUS, Window};
use crate::backend_tls::BackendTls;
use crate::payload::{Payload, Status};
use crate::settings::Sources;
use crate::stats;

/// Evidence that is kept: in memory, since it can be gathered again.
const LIMITS: Limits = Limits {
    under_way: 128,
    entries: 1024,
    bytes: 3 << 20,
};

/// What was accepted longer ago is tried again, not late: it may wait for evidence once more.
const RECENT: Duration = Duration::from_secs(60);

/// Threads that may look names up or read answers; more of them are waiting than working.
const THREADS: usize = 64;

/// Gathers evidence.
#[derive(Debug)]
pub(crate) struct Collector {
    parts: Arc<Parts>,
    patience: Duration,
    /// What was accepted before was found on disk.
    opened: DateTime<Utc>,
    gathered: Arc<Store<Subject, Evidence>>,
    /// Only the end takes it.
    runtime: Option<Runtime>,
}

impl Collector {
    /// Each backend has nearly all of `patience`: they are asked at the same time.
    pub(crate) fn new(
        sources: &Sources,
        tls: &BackendTls,
        patience: Duration,
    ) -> anyhow::Result<Self> {
        let client = tls.client(backend::client())?;
        let backend = |name, variable, base: &Option<Url>| {
            let place = Place {
                name,
                variable,
                base,
            };
            Backend::new(client.clone(), &place, Patience::of(patience, patience))
        };
        let parts = Parts::of(
            backend(PROMETHEUS, "PROMETHEUS_URL", &sources.prometheus),
            backend(JAEGER, "JAEGER_URL", &sources.jaeger),
            backend(LOKI, "LOKI_URL", &sources.loki),
        );
        let mut runtime = Builder::new_multi_thread();
        runtime.worker_threads(1).max_blocking_threads(THREADS);
        let runtime = runtime.thread_name("evidence").enable_all().build();
        Ok(Self {
            parts: Arc::new(parts),
            patience,
            opened: Utc::now(),
            gathered: Store::new(LIMITS),
            runtime: Some(runtime.context("no threads to gather evidence")?),
        })
    }

    /// Starts to gather for an alert that has just been accepted. Returns at once.
    pub(crate) fn begin(&self, payload: &Payload, accepted: DateTime<Utc>) {
        if payload.status == Status::Firing {
            self.gather(payload, accepted, self.patience);
        }
    }

    /// What was gathered, at the latest when the patience has passed since it was accepted; since somebody asked, if it
    /// was found on disk, or is tried again and nothing is left of its evidence.
    pub(crate) async fn evidence(
        &self,
        payload: &Payload,
        accepted: DateTime<Utc>,
    ) -> Arc<Evidence> {
        if payload.status == Status::Resolved {
            return Arc::default();
        }
        let left = self.left(accepted);
        let until = Instant::now() + left;
        let Some(promise) = self.gather(payload, accepted, left) else {
            stats::evidence_refused();
            return without("not asked: more alerts at once than herald gathers evidence for");
        };
        let until = until.min(promise.until);
        let gathered = promise.get(until).await;
        gathered.unwrap_or_else(|| without("not put together in time"))
    }

    fn left(&self, accepted: DateTime<Utc>) -> Duration {
        let age = (Utc::now() - accepted).to_std().unwrap_or_default();
        if accepted < self.opened || age >= RECENT {
            return self.patience;
        }
        self.patience.saturating_sub(age)
    }

    /// What is gathered already, or is now. `None` if too much is under way, or too little time is left to ask.
    fn gather(
        &self,
        payload: &Payload,
        accepted: DateTime<Utc>,
        left: Duration,
    ) -> Option<Promise<Evidence>> {
        let started = payload.started();
        let subject = Subject {
            service: payload.service().map(str::to_owned),
            started,
            window: Window::of(started, accepted),
        };
        let handle = self.runtime.as_ref()?.handle();
        if left < self.patience / 2 {
            return self.gathered.known(&subject);
        }
        let until = Instant::now() + left;
        let patience = Patience::of(left, self.patience);
        let parts = self.parts.clone();
        self.gathered
            .get(subject.clone(), until, handle, || async move {
                let _under_way = stats::UnderWay::begin();
                parts.gather(&subject, patience).await
            })
    }
}

/// Counted for every backend, blamed on none.
fn without(reason: &str) -> Arc<Evidence> {
    Arc::new(Evidence::none(reason))
}

impl Drop for Collector {
    /// What is still asked or computed holds nobody up.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

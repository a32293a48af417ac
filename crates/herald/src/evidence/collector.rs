//! Gathers evidence in the background, from the moment an alert is accepted, on a runtime of its own.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Utc};
use slo::CauseKind;
use slo::diagnosis::KIND;
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

/// The limits of stored evidence, which is in memory because it can be gathered again.
const LIMITS: Limits = Limits {
    under_way: 128,
    entries: 1024,
    bytes: 3 << 20,
};

/// A notification accepted longer ago is a retry, and not late: it may wait for evidence again.
const RECENT: Duration = Duration::from_secs(60);

/// Newer evidence has replaced this one.
const LATE: &str = "not asked again: nothing is kept, and too little time was left";

/// Threads that may resolve names or parse answers; more of them wait than work.
const THREADS: usize = 64;

/// How many accepted notifications are remembered.
const REMEMBERED: usize = 4096;

/// The age of accepted notifications, independent of changes of the wall clock.
#[derive(Debug, Default)]
struct Recent(Mutex<VecDeque<(DateTime<Utc>, Instant)>>);

impl Recent {
    fn add(&self, accepted: DateTime<Utc>) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while list.len() >= REMEMBERED || list.front().is_some_and(|(_, at)| at.elapsed() >= RECENT)
        {
            list.pop_front();
        }
        list.push_back((accepted, Instant::now()));
    }

    /// The age; `None` if it was accepted before this process started, or is no longer remembered.
    fn age(&self, accepted: DateTime<Utc>) -> Option<Duration> {
        let list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, at) = list.iter().rfind(|(name, _)| *name == accepted)?;
        Some(at.elapsed()).filter(|age| *age < RECENT)
    }
}

/// Gathers evidence.
#[derive(Debug)]
pub(crate) struct Collector {
    parts: Arc<Parts>,
    patience: Duration,
    recent: Recent,
    gathered: Arc<Store<Subject, Evidence>>,
    /// Only the end takes it.
    runtime: Option<Runtime>,
}

impl Collector {
    /// Each backend gets nearly all of `patience`, because the requests run at the same time.
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
            recent: Recent::default(),
            gathered: Store::new(LIMITS),
            runtime: Some(runtime.context("no threads to gather evidence")?),
        })
    }

    /// Starts to gather for an alert that has just been accepted. Returns at once.
    pub(crate) fn begin(&self, payload: &Payload, accepted: DateTime<Utc>) {
        if payload.status == Status::Firing {
            self.recent.add(accepted);
            self.gather(payload, accepted, self.patience);
        }
    }

    /// Gathers the evidence and returns it before the patience ends, counted from the acceptance. For a notification that
    /// was found on disk, or that is retried after more than a minute without stored evidence, it counts from this call. The
    /// requests start before this returns, and nothing of the payload stays in memory while they run.
    pub(crate) fn evidence(
        &self,
        payload: &Payload,
        accepted: DateTime<Utc>,
    ) -> impl Future<Output = Arc<Evidence>> + use<> {
        let promised = self.promised(payload, accepted);
        async move {
            match promised {
                Ok((promise, until)) => {
                    let gathered = promise.get(until).await;
                    gathered.unwrap_or_else(|| without("not put together in time"))
                }
                Err(known) => known,
            }
        }
    }

    /// The future evidence and its deadline, or the present evidence.
    fn promised(
        &self,
        payload: &Payload,
        accepted: DateTime<Utc>,
    ) -> Result<(Promise<Evidence>, Instant), Arc<Evidence>> {
        if payload.status == Status::Resolved {
            return Err(Arc::default());
        }
        let left = self.left(accepted);
        let until = Instant::now() + left;
        if let Some(promise) = self.gather(payload, accepted, left) {
            let until = until.min(promise.until);
            return Ok((promise, until));
        }
        if self.is_late(left) {
            return Err(without(LATE));
        }
        stats::evidence_refused();
        let reason = "not asked: more alerts at once than herald gathers evidence for";
        Err(without(reason))
    }

    fn left(&self, accepted: DateTime<Utc>) -> Duration {
        let age = self.recent.age(accepted).unwrap_or_default();
        self.patience.saturating_sub(age)
    }

    /// Too late to ask.
    fn is_late(&self, left: Duration) -> bool {
        left < self.patience / 2
    }

    /// The evidence that is gathered already, or a new gathering. `None` if too many run, or too little time is left.
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
            blind: payload.annotation(KIND) == Some(CauseKind::Telemetry.as_str()),
        };
        let handle = self.runtime.as_ref()?.handle();
        if self.is_late(left) {
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
    /// Requests and computations that still run block nothing.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::tests::{example, read};

    #[tokio::test(start_paused = true)]
    async fn what_is_kept_no_more_is_asked_again_while_enough_time_is_left_or_a_minute_later() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let patience = Duration::from_secs(5);
        let tls = BackendTls::default();
        let collector = Collector::new(&Sources::default(), &tls, patience).expect("a collector");
        let (payload, accepted) = (read(&example()).expect("a payload"), Utc::now());
        collector.recent.add(accepted);
        assert_eq!(collector.left(accepted), patience);
        tokio::time::advance(patience * 3 / 4).await;
        let evidence = collector.evidence(&payload, accepted).await;
        let reasons = evidence.missing.iter().map(|missing| &*missing.reason);
        assert_eq!(reasons.collect::<Vec<_>>(), [LATE; 3]);
        tokio::time::advance(RECENT).await;
        assert_eq!(collector.left(accepted), patience);
    }

    #[tokio::test(start_paused = true)]
    async fn no_clock_that_is_set_makes_what_was_just_accepted_old_or_late() {
        let recent = Recent::default();
        let (past, future) = (DateTime::UNIX_EPOCH, DateTime::<Utc>::MAX_UTC);
        assert_eq!(recent.age(past), None, "it was found on disk");
        recent.add(future);
        recent.add(past);
        tokio::time::advance(Duration::from_secs(2)).await;
        for accepted in [past, future] {
            assert_eq!(recent.age(accepted), Some(Duration::from_secs(2)));
        }
        tokio::time::advance(RECENT).await;
        assert_eq!(recent.age(past), None, "it is tried again");
        recent.add(past);
        assert_eq!(
            recent.0.lock().unwrap().len(),
            1,
            "the old ones are forgotten"
        );
    }
}

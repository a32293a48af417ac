//! Carries notifications to a target until they have arrived.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use futures_util::FutureExt;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::evidence::{Collector, Evidence};
use crate::index::Work;
use crate::links::Links;
use crate::notification::Notification;
use crate::queue::{Queue, Stored};
use crate::target::{Attempt, Target};
use crate::{backoff, stats};

/// Deliveries to one target at a time: a slow target must not make each notification wait for all before it.
const AT_ONCE: usize = 4;

/// Bytes of files that these deliveries may read together; a larger file is read alone. Usual ones never wait for it.
const BYTES_AT_ONCE: usize = 2 << 20;

/// What takes the place of evidence that may have made a delivery panic.
const LEFT_OUT: &str = "left out: with it the delivery failed, see herald's log";

/// How long deliveries under way may take at the end.
const DRAIN: Duration = Duration::from_secs(5);

/// What every delivery needs.
pub(crate) struct Deliverer {
    pub(crate) queue: Arc<Queue>,
    pub(crate) collector: Arc<Collector>,
    pub(crate) links: Links,
    pub(crate) give_up_after: Duration,
}

impl Deliverer {
    /// Delivers to one target until `stop` says so. What is not delivered by then stays on disk; only what its target has
    /// begun to get is waited for.
    pub(crate) async fn run(self: Arc<Self>, target: Target, mut stop: watch::Receiver<bool>) {
        let room = Arc::new(Semaphore::new(BYTES_AT_ONCE));
        let (mut running, stopping) = (JoinSet::new(), stop.clone());
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                Some(_) = running.join_next(), if running.len() >= AT_ONCE => {}
                work = self.queue.next(target.name), if running.len() < AT_ONCE => {
                    let (deliverer, target, room) = (self.clone(), target.clone(), room.clone());
                    let stop = stopping.clone();
                    running.spawn(async move {
                        let size = work.size.min(BYTES_AT_ONCE) as u32;
                        let _room = room.acquire_many(size).await;
                        deliverer.attempt(&target, work, stop).await;
                    });
                }
            }
        }
        let end = async { while running.join_next().await.is_some() {} };
        tokio::time::timeout(DRAIN, end).await.ok();
    }

    async fn attempt(&self, target: &Target, work: Work, stop: watch::Receiver<bool>) {
        if let Some(stored) = self.queue.load(target.name, work.key).await
            && let Some(attempt) = self.deliver(target, &stored, stop).await
        {
            self.settle(target.name, work, &stored, attempt);
        }
    }

    /// What panics is repeated without the evidence, which may have been the cause; what panics then too would do so for
    /// ever, and hold its group up. `None` at the end of the process.
    async fn deliver(
        &self,
        target: &Target,
        stored: &Stored,
        mut stop: watch::Receiver<bool>,
    ) -> Option<Attempt> {
        for with_evidence in [true, false] {
            let send = AssertUnwindSafe(self.send(target, stored, with_evidence, &mut stop));
            if let Ok(attempt) = send.catch_unwind().await {
                return attempt;
            }
            stats::panicked(target.name);
            let key = stored.key.as_str();
            tracing::error!(key, to = target.name, with_evidence, "a delivery panicked");
        }
        let why = "its delivery panics, with evidence and without".to_owned();
        Some(Attempt::Refused(why))
    }

    async fn send(
        &self,
        target: &Target,
        stored: &Stored,
        with_evidence: bool,
        stop: &mut watch::Receiver<bool>,
    ) -> Option<Attempt> {
        let evidence = if with_evidence {
            tokio::select! {
                biased;
                evidence = self.collector.evidence(&stored.payload, stored.accepted) => evidence,
                // The next start has time for it.
                _ = stop.wait_for(|stop| *stop) => return None,
            }
        } else {
            Arc::new(Evidence::none(LEFT_OUT))
        };
        let notification = Notification::new(stored, &evidence, &self.links);
        Some(target.deliver(&notification).await)
    }

    fn settle(&self, target: &'static str, work: Work, stored: &Stored, attempt: Attempt) {
        let (key, alert) = (stored.key.as_str(), stored.payload.name());
        match attempt {
            Attempt::Delivered => {
                tracing::info!(
                    key,
                    to = target,
                    alert,
                    attempts = work.attempts + 1,
                    "delivered"
                );
                self.queue.delivered(target, work.key);
            }
            Attempt::Refused(why) => {
                tracing::error!(
                    key,
                    to = target,
                    alert,
                    why,
                    "a notification cannot be delivered; it is kept in failed/"
                );
                self.queue.failed(target, work.key);
            }
            Attempt::Later(why, _) if self.is_too_old(stored) => {
                tracing::error!(
                    key,
                    to = target,
                    alert,
                    why,
                    "not delivered in time; the notification is kept in failed/"
                );
                self.queue.failed(target, work.key);
            }
            Attempt::Later(why, asked) => {
                let pause = backoff::pause(work.attempts + 1, rand::random(), asked);
                tracing::warn!(
                    key,
                    to = target,
                    alert,
                    why,
                    attempts = work.attempts + 1,
                    retry_in_ms = pause.as_millis() as u64,
                    "not delivered"
                );
                self.queue.postpone(target, work.key, pause);
            }
        }
    }

    fn is_too_old(&self, stored: &Stored) -> bool {
        let age = (Utc::now() - stored.accepted).to_std();
        age.unwrap_or_default() > self.give_up_after
    }
}

#[cfg(test)]
mod tests;

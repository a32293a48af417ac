//! Carries notifications to a target until they have arrived.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use crate::backoff;
use crate::evidence::{Collector, Evidence};
use crate::links::Links;
use crate::notification::Notification;
use crate::payload::Status;
use crate::queue::{Message, Queue, Work};
use crate::target::{Attempt, Target};

/// Deliveries to one target at a time: a slow target must not make each notification wait for all before it.
const AT_ONCE: usize = 4;

/// How long deliveries under way may take at the end.
const DRAIN: Duration = Duration::from_secs(5);

/// What every delivery needs.
pub(crate) struct Deliverer {
    pub(crate) queue: Arc<Queue>,
    pub(crate) collector: Collector,
    pub(crate) links: Links,
    pub(crate) give_up_after: Duration,
}

impl Deliverer {
    /// Delivers to one target until `stop` says so. What is not delivered by then stays on disk.
    pub(crate) async fn run(self: Arc<Self>, target: Target, mut stop: watch::Receiver<bool>) {
        let mut running = JoinSet::new();
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                Some(_) = running.join_next(), if running.len() >= AT_ONCE => {}
                work = self.queue.next(target.name), if running.len() < AT_ONCE => {
                    let (deliverer, target) = (self.clone(), target.clone());
                    running.spawn(async move { deliverer.attempt(&target, work).await });
                }
            }
        }
        let end = async { while running.join_next().await.is_some() {} };
        tokio::time::timeout(DRAIN, end).await.ok();
    }

    async fn attempt(&self, target: &Target, work: Work) {
        let message = &work.message;
        let missing;
        let evidence = match self.evidence(message).await {
            Some(evidence) => evidence,
            None => {
                missing = Evidence::late();
                &missing
            }
        };
        let notification = Notification::new(&message.stored, evidence, &self.links);
        let attempt = target.deliver(&notification).await;
        self.settle(target.name, work, attempt);
    }

    /// Collected once for all targets and attempts; `None` when it would make the notification late. What is late for
    /// this attempt may be there for the next.
    async fn evidence<'a>(&self, message: &'a Message) -> Option<&'a Evidence> {
        let payload = &message.stored.payload;
        let collect = message.evidence.get_or_init(async || match payload.status {
            Status::Firing => self.collector.collect(payload, Utc::now()).await,
            Status::Resolved => Evidence::default(),
        });
        timeout_at(message.evidence_until, collect).await.ok()
    }

    fn settle(&self, target: &'static str, work: Work, attempt: Attempt) {
        let stored = &work.message.stored;
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
                self.queue.delivered(target, key);
            }
            Attempt::Refused(why) => {
                tracing::error!(
                    key,
                    to = target,
                    alert,
                    why,
                    "the target refuses a notification for good; it is kept in failed/"
                );
                self.queue.failed(target, key);
            }
            Attempt::Later(why, _) if self.is_too_old(&work) => {
                tracing::error!(
                    key,
                    to = target,
                    alert,
                    why,
                    "not delivered in time; the notification is kept in failed/"
                );
                self.queue.failed(target, key);
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
                self.queue.postpone(target, key, pause);
            }
        }
    }

    fn is_too_old(&self, work: &Work) -> bool {
        let age = (Utc::now() - work.message.stored.accepted).to_std();
        age.unwrap_or_default() > self.give_up_after
    }
}

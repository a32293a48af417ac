//! Carries notifications to a target until they have arrived.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::backoff;
use crate::evidence::Collector;
use crate::links::Links;
use crate::notification::Notification;
use crate::queue::{Queue, Work};
use crate::target::{Attempt, Target};

/// Deliveries to one target at a time: a slow target must not make each notification wait for all before it.
const AT_ONCE: usize = 4;

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
        let stored = &work.message;
        let evidence = self
            .collector
            .evidence(&stored.payload, stored.accepted)
            .await;
        let notification = Notification::new(stored, &evidence, &self.links);
        let attempt = target.deliver(&notification).await;
        self.settle(target.name, work, attempt);
    }

    fn settle(&self, target: &'static str, work: Work, attempt: Attempt) {
        let stored = &work.message;
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
        let age = (Utc::now() - work.message.accepted).to_std();
        age.unwrap_or_default() > self.give_up_after
    }
}

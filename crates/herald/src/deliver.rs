//! Carries notifications to a target until they have arrived.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::task::JoinSet;

use crate::evidence::{Collector, Evidence};
use crate::index::Work;
use crate::links::Links;
use crate::notification::Notification;
use crate::queue::{Queue, Stored};
use crate::target::{Attempt, Target};
use crate::{backoff, stats};

/// How many deliveries to one target run at the same time, so that with a slow target a notification does not wait for all
/// earlier ones.
const AT_ONCE: usize = 4;

/// How many notifications wait for their evidence or for a delivery. More would wait for each other: a backend gets 24
/// requests at a time, and each notification makes one or two.
const TAKEN_UP: usize = 32;

/// How many bytes of files these deliveries may read together; a larger file is read alone. Files of usual size never wait
/// for this, and gathering evidence does not wait for a target that hangs.
const BYTES_AT_ONCE: usize = 2 << 20;

/// Replaces evidence that may have caused a panic.
const LEFT_OUT: &str = "left out: with it the delivery failed, see herald's log";

/// How long deliveries under way may take at the end.
const DRAIN: Duration = Duration::from_secs(5);

/// The data that every delivery needs.
pub(crate) struct Deliverer {
    pub(crate) queue: Arc<Queue>,
    pub(crate) collector: Arc<Collector>,
    pub(crate) links: Links,
    pub(crate) give_up_after: Duration,
}

/// A notification in flight. If even recording its outcome panics, it returns to the queue; otherwise its group would wait
/// for the next start.
struct InFlight<'a> {
    queue: &'a Queue,
    target: &'static str,
    work: Work,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let pause = backoff::pause(self.work.attempts + 1, rand::random(), None);
            self.queue.postpone(self.target, self.work.key, pause);
        }
    }
}

/// A target, and what its notifications share.
struct Worker {
    target: Target,
    stop: watch::Receiver<bool>,
    /// One notification at a time may read its file for the evidence. It discards the content while the evidence is
    /// gathered, so this needs the memory of one file.
    asking: Semaphore,
    slots: Semaphore,
    room: Semaphore,
}

impl Worker {
    fn new(target: Target, stop: watch::Receiver<bool>) -> Self {
        Self {
            target,
            stop,
            asking: Semaphore::new(1),
            slots: Semaphore::new(AT_ONCE),
            room: Semaphore::new(BYTES_AT_ONCE),
        }
    }

    /// Memory for a file that is read alone, by whichever task.
    async fn room_alone(&self, work: Work) -> Option<SemaphorePermit<'_>> {
        match work.size > BYTES_AT_ONCE {
            true => self.room(work).await,
            false => None,
        }
    }

    /// Memory for the content of a file.
    async fn room(&self, work: Work) -> Option<SemaphorePermit<'_>> {
        let size = work.size.min(BYTES_AT_ONCE) as u32;
        self.room.acquire_many(size).await.ok()
    }
}

impl Deliverer {
    /// Delivers to one target until `stop`. Undelivered notifications stay on disk; the end waits only for requests that the
    /// target has begun to receive.
    pub(crate) async fn run(self: Arc<Self>, target: Target, mut stop: watch::Receiver<bool>) {
        let worker = Arc::new(Worker::new(target, stop.clone()));
        let mut running = JoinSet::new();
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                Some(_) = running.join_next(), if running.len() >= TAKEN_UP => {}
                work = self.queue.next(worker.target.name), if running.len() < TAKEN_UP => {
                    let (deliverer, worker) = (self.clone(), worker.clone());
                    running.spawn(async move { deliverer.process(&worker, work).await });
                }
            }
        }
        let end = async { while running.join_next().await.is_some() {} };
        tokio::time::timeout(DRAIN, end).await.ok();
    }

    /// Repeats a delivery that panics without its evidence, which may have been the cause. If that panics too, it would do
    /// so forever and block its group, so it is set aside.
    async fn process(&self, worker: &Worker, work: Work) {
        let (key, to) = (work.key, worker.target.name);
        let _taken_up = InFlight {
            queue: &self.queue,
            target: to,
            work,
        };
        for with_evidence in [true, false] {
            let attempt = AssertUnwindSafe(self.attempt(worker, work, with_evidence));
            if attempt.catch_unwind().await.is_ok() {
                return;
            }
            stats::panicked(to);
            tracing::error!(%key, to, with_evidence, "a delivery panicked");
        }
        let why = "its delivery panics, with evidence and without";
        tracing::error!(%key, to, why, "a notification cannot be delivered; it is kept in failed/");
        self.queue.failed(to, key).await;
    }

    /// At the end of the process, deliveries that have not begun stay in the queue.
    async fn attempt(&self, worker: &Worker, work: Work, with_evidence: bool) {
        let mut stop = worker.stop.clone();
        let begun = tokio::select! {
            biased;
            // The next start has time for it.
            _ = stop.wait_for(|stop| *stop) => None,
            begun = self.begin(worker, work, with_evidence) => begun,
        };
        let Some((evidence, _place)) = begun else {
            return;
        };
        if let Some(stored) = self.load(worker, work).await {
            let notification = Notification::new(&stored, &evidence, &self.links);
            let attempt = worker.target.deliver(&notification).await;
            let diagnosis = notification.diagnosis;
            let stored = Arc::new(stored);
            if attempt == Attempt::Delivered {
                self.queue
                    .record_delivery(worker.target.name, &stored, evidence, diagnosis)
                    .await;
            }
            self.settle(worker.target.name, work, &stored, attempt)
                .await;
        }
    }

    /// Waits for evidence first and for a slot second; otherwise slow backends would make the notifications wait for each
    /// other.
    async fn begin<'a>(
        &self,
        worker: &'a Worker,
        work: Work,
        with_evidence: bool,
    ) -> Option<(Arc<Evidence>, [SemaphorePermit<'a>; 2])> {
        let evidence = if with_evidence {
            self.evidence(worker, work).await?
        } else {
            Arc::new(Evidence::none(LEFT_OUT))
        };
        let slot = worker.slots.acquire().await.ok()?;
        Some((evidence, [slot, worker.room(work).await?]))
    }

    /// `None` when there is nothing to deliver.
    async fn evidence(&self, worker: &Worker, work: Work) -> Option<Arc<Evidence>> {
        let asked = {
            // In this order, so that no task waits for memory while it blocks others.
            let _place = (worker.room_alone(work).await, worker.asking.acquire().await);
            let stored = Arc::new(self.load(worker, work).await?);
            if self
                .queue
                .withholds(worker.target.name, work, &stored)
                .await
            {
                return None;
            }
            self.collector.evidence(&stored.payload, stored.accepted)
        };
        Some(asked.await)
    }

    async fn load(&self, worker: &Worker, work: Work) -> Option<Stored> {
        let patience = self.give_up_after;
        self.queue.load(worker.target.name, work, patience).await
    }

    async fn settle(&self, target: &'static str, work: Work, stored: &Stored, attempt: Attempt) {
        let (key, alert) = (stored.key.as_str(), stored.payload.name());
        self.queue.reach.ended(target, &attempt);
        match attempt {
            Attempt::Delivered => {
                tracing::info!(
                    key,
                    to = target,
                    alert,
                    attempts = work.attempts + 1,
                    "delivered"
                );
                self.queue.delivered(target, work.key).await;
            }
            Attempt::Refused(why) => {
                tracing::error!(
                    key,
                    to = target,
                    alert,
                    why,
                    "a notification cannot be delivered; it is kept in failed/"
                );
                self.queue.failed(target, work.key).await;
            }
            Attempt::Later(why, _) if self.is_too_old(work, stored) => {
                tracing::error!(
                    key,
                    to = target,
                    alert,
                    why,
                    "not delivered in time; the notification is kept in failed/"
                );
                self.queue.failed(target, work.key).await;
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

    /// The file knows of the end of a silence that was before the start.
    fn is_too_old(&self, work: Work, stored: &Stored) -> bool {
        let since = work.since.max(stored.since());
        Work { since, ..work }.age() > self.give_up_after
    }
}

#[cfg(test)]
mod tests;

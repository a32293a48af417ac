//! The outbox relay: delivers order events to downstream, each at least once.
//!
//! It wakes up on NOTIFY, and polls in case one was missed. Several relays share the work: each claims events for
//! a while, and what it does not deliver in that time another may. An event that downstream refuses again and again is set
//! aside, and delivered when somebody asks for it (`omnitrace outbox`).

use std::time::Duration;

use api::routes::ORDER_EVENTS_DESTINATION;
use api::timeouts::DATA_TO_DOWNSTREAM;
use api::{CallError, DownstreamClient};
use futures_util::StreamExt;
use service::{Backoff, Deadline, Shutdown};
use telemetry::Outcome;
use tokio::time::Instant;
use tracing::Instrument;
use uuid::Uuid;

use crate::background::PURGE_BATCH;
use crate::errors::StoreError;
use crate::listener::Listener;
use crate::metrics::{OUTBOX_DEAD_LETTERS, OUTBOX_DELIVERIES, OUTBOX_OLDEST, OUTBOX_PENDING};
use crate::rows::Claimed;
use crate::store::Store;

/// Events claimed at once.
const BATCH: i64 = 32;
/// Deliveries under way at once.
const CONCURRENCY: usize = 8;
/// Pause between polls, when no notification comes.
const POLL: Duration = Duration::from_secs(1);
/// Pauses while downstream or the database is away.
const BACK_OFF: Backoff = Backoff {
    first: Duration::from_millis(200),
    longest: Duration::from_secs(10),
};
/// Pauses before an event that downstream refused is tried again.
const POSTPONEMENT: Backoff = Backoff {
    first: Duration::from_millis(200),
    longest: Duration::from_secs(60),
};
/// How often old events are deleted.
const PURGE: Duration = Duration::from_secs(60);

/// Delivers events until shut-down.
pub(crate) struct Relay {
    store: Store,
    downstream: DownstreamClient,
    listener: Option<Listener>,
    purge_at: Instant,
}

/// How a batch went.
enum Batch {
    /// There may be more.
    Full,
    /// That was all.
    Drained,
}

impl Relay {
    /// A relay from `store` to `downstream`.
    pub(crate) fn new(store: Store, downstream: DownstreamClient) -> Self {
        OUTBOX_PENDING.set(0.0);
        OUTBOX_OLDEST.set(0.0);
        OUTBOX_DEAD_LETTERS.set(0.0);
        for outcome in [Outcome::Ok, Outcome::Error] {
            OUTBOX_DELIVERIES.with(outcome).absolute(0);
        }
        Self {
            store,
            downstream,
            listener: None,
            purge_at: Instant::now(),
        }
    }

    /// Works until shut-down; a batch under way is finished.
    pub(crate) async fn run(mut self, mut shutdown: Shutdown) {
        let mut failures = 0;
        while !shutdown.begun() {
            match self.round().await {
                Ok(Batch::Full) => failures = 0,
                Ok(Batch::Drained) => {
                    failures = 0;
                    tokio::select! {
                        () = self.woken() => {}
                        () = shutdown.wait() => {}
                    }
                }
                Err(error) => {
                    failures += 1;
                    let pause = BACK_OFF.spread(failures, rand::random());
                    tracing::warn!(
                        error,
                        pause_ms = pause.as_millis(),
                        "order events wait for delivery"
                    );
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = shutdown.wait() => {}
                    }
                }
            }
        }
    }

    async fn round(&mut self) -> Result<Batch, String> {
        // Before claiming: an event that comes after the claim is then announced.
        if self.listener.is_none() {
            self.listener = self.listen().await;
        }
        let result = self.deliver_batch().await;
        if let Err(error) = self.keep_house().await {
            // The delivery itself has not failed, and goes on.
            tracing::warn!(%error, "the outbox can neither be counted nor purged now");
        }
        result
    }

    /// Without a listener there is still polling.
    async fn listen(&self) -> Option<Listener> {
        let listener = self.store.listen().await;
        listener
            .inspect_err(|error| tracing::warn!(%error, "new order events are not announced"))
            .ok()
    }

    async fn keep_house(&mut self) -> Result<(), StoreError> {
        let backlog = self.store.backlog().await?;
        OUTBOX_PENDING.set(backlog.pending as f64);
        OUTBOX_OLDEST.set(backlog.oldest_s);
        OUTBOX_DEAD_LETTERS.set(backlog.set_aside as f64);
        if Instant::now() < self.purge_at {
            return Ok(());
        }
        // Also after a failure: deliveries do not wait for what may be waiting for a lock.
        self.purge_at = Instant::now() + PURGE;
        if self.store.purge().await? >= PURGE_BATCH {
            // There may be more events: the next round claims them.
            self.purge_at = Instant::now();
        }
        Ok(())
    }

    async fn deliver_batch(&self) -> Result<Batch, String> {
        let claimed = self
            .store
            .claim_events(BATCH)
            .await
            .map_err(|error| error.to_string())?;
        let full = claimed.len() == BATCH as usize;
        let failures: Vec<String> = futures_util::stream::iter(claimed)
            .map(|event| self.deliver(event))
            .buffer_unordered(CONCURRENCY)
            // No async closure: rustc 1.95 crashes on this one in some incremental builds.
            .filter_map(|result| std::future::ready(result.err()))
            .collect()
            .await;
        match failures.into_iter().next() {
            Some(error) => Err(error),
            None if full => Ok(Batch::Full),
            None => Ok(Batch::Drained),
        }
    }

    /// Delivers one event in a trace of its own. An error means that others would fail too.
    async fn deliver(&self, claimed: Claimed) -> Result<(), String> {
        let id = claimed.id;
        let cause = claimed.traceparent.as_deref();
        let span =
            telemetry::messaging::producer_span(ORDER_EVENTS_DESTINATION, &id.to_string(), cause);
        let attempts = (claimed.attempts, claimed.refusals);
        if claimed.synthetic {
            telemetry::synthetic::mark(&span);
        }
        async {
            let deadline = Deadline::after(DATA_TO_DOWNSTREAM);
            let sent = self.downstream.deliver(claimed.event, deadline).await;
            let outcome = match &sent {
                Ok(_) => Outcome::Ok,
                Err(_) => Outcome::Error,
            };
            if !claimed.synthetic {
                OUTBOX_DELIVERIES.with(outcome).increment(1);
            }
            let ended = match sent {
                Ok(_) => self.store.mark_delivered(id).await,
                Err(error) => {
                    telemetry::messaging::failed(&tracing::Span::current(), "delivery");
                    return self.failed(id, attempts, &error).await;
                }
            };
            ended.map_err(|error| error.to_string())
        }
        .instrument(span)
        .await
    }

    /// An event that did not arrive waits. When it is itself at fault the others need not wait for it.
    async fn failed(
        &self,
        id: Uuid,
        (attempts, refusals): (i32, i32),
        error: &CallError,
    ) -> Result<(), String> {
        if !error.is_refusal() {
            // That it fails again is known already; when it cannot be written down, its lease runs out.
            let _ = self.store.postpone(id, postponement(attempts)).await;
            return Err(error.to_string());
        }
        let why = error.to_string();
        let set_aside = self.store.refuse(id, postponement(refusals), &why).await;
        match set_aside.map_err(|error| error.to_string())? {
            true => {
                tracing::error!(event_id = %id, error = why, "order event refused for good, it is set aside")
            }
            false => tracing::warn!(event_id = %id, error = why, "order event refused"),
        }
        Ok(())
    }

    /// Waits for notifications or the next poll.
    async fn woken(&mut self) {
        let Some(listener) = &mut self.listener else {
            return tokio::time::sleep(POLL).await;
        };
        if let Err(error) = listener.wait(POLL).await {
            tracing::warn!(%error, "the connection that announces order events is lost");
            // A new one is made in the next round.
            self.listener = None;
        }
    }
}

/// Doubles with each attempt.
fn postponement(attempts: i32) -> Duration {
    let failures = u32::try_from(attempts).unwrap_or_default();
    POSTPONEMENT.after(failures.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound() {
        assert_eq!(postponement(1), Duration::from_millis(400));
        assert_eq!(postponement(3), Duration::from_millis(1600));
        assert_eq!(postponement(i32::MAX), Duration::from_secs(60));
    }
}

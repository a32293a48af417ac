//! Whether a target gets a notification at all: silences and acknowledgements. In doubt it does.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::Queue;
use crate::diagnosis::Diagnosis;
use crate::evidence::Evidence;
use crate::history::Found;
use crate::index::Work;
use crate::payload::Status;
use crate::spool::Spool;
use crate::stats::{DeliveryOutcome, Storage};
use crate::stored::Stored;

/// The decision about a notification.
enum Decision {
    Tell,
    /// A silence holds it back, until then or somebody ends it.
    Hold(DateTime<Utc>),
    /// Never; the reason in words.
    Drop(&'static str),
}

impl Queue {
    /// Whether a target does not get the notification now; then its state is settled here. Earlier notifications of this
    /// group that were held back are out of date.
    pub(crate) async fn withholds(
        self: &Arc<Self>,
        target: &'static str,
        work: Work,
        stored: &Arc<Stored>,
    ) -> bool {
        self.supersede(target, work.key).await;
        let seen = self.index().releases();
        let (queue, judged) = (self.clone(), stored.clone());
        let decision = spawn_blocking(move || queue.decide(target, &judged)).await;
        match decision.unwrap_or(Decision::Tell) {
            Decision::Tell => {
                let now = Utc::now();
                if stored.held_until.is_some_and(|until| until > now) {
                    self.keep_held(target, work.key, stored, now).await;
                }
                false
            }
            Decision::Hold(until) => {
                if stored.held_until != Some(until) {
                    self.keep_held(target, work.key, stored, until).await;
                }
                self.hold(target, work.key, seen)
            }
            Decision::Drop(why) => {
                tracing::info!(key = stored.key, to = target, why, "not delivered");
                self.end(target, work.key, DeliveryOutcome::Suppressed)
                    .await;
                true
            }
        }
    }

    /// Remembers that a target has been told. On disk when this returns, so that it is known whatever happens next.
    pub(crate) async fn record_delivery(
        self: &Arc<Self>,
        target: &'static str,
        stored: &Arc<Stored>,
        evidence: Arc<Evidence>,
        diagnosis: Option<Diagnosis>,
    ) {
        let (queue, stored) = (self.clone(), stored.clone());
        let remember = move || {
            let found = diagnosis.map(|diagnosis| Found {
                evidence: serde_json::to_value(&*evidence).unwrap_or_default(),
                diagnosis: serde_json::to_value(diagnosis).unwrap_or_default(),
            });
            queue.history.delivered(target, &stored, found);
        };
        spawn_blocking(remember).await.ok();
    }

    /// Silences have changed.
    pub(crate) fn release(&self) {
        self.index().release();
        self.changed.notify_waiters();
    }

    fn decide(&self, target: &'static str, stored: &Stored) -> Decision {
        let (payload, told) = (&stored.payload, self.history.target_state(target, stored));
        if payload.status == Status::Resolved {
            return match self.history.is_only_silenced(&told) {
                true => Decision::Drop("it is over, and was silenced from its beginning"),
                false => Decision::Tell,
            };
        }
        let ends = |status: &Status| *status == Status::Resolved;
        let tells_of_an_end = payload.alerts.iter().any(|alert| ends(&alert.status));
        if tells_of_an_end && told.is_delivered() {
            return Decision::Tell;
        }
        if let Some(silence) = self.silences.covering(payload) {
            self.history.silenced(stored, &silence);
            return Decision::Hold(silence.until);
        }
        match told.is_acknowledged(payload) {
            true => Decision::Drop("it repeats what was acknowledged"),
            false => Decision::Tell,
        }
    }

    /// Records on disk how long it was held back, so that after a restart this time does not count towards giving it up.
    async fn keep_held(
        self: &Arc<Self>,
        target: &'static str,
        key: Uuid,
        stored: &Arc<Stored>,
        until: DateTime<Utc>,
    ) {
        let stored = stored.clone();
        let keep = move |spool: &Spool| {
            let held_until = Some(until);
            let stored = Stored {
                held_until,
                ..(*stored).clone()
            };
            spool.store(target, key, &serde_json::to_vec(&stored)?)
        };
        if let Err(error) = self.on_disk(keep).await {
            Storage::Write.failed();
            tracing::error!(%key, to = target, %error, "until when a notification is held back cannot be kept: after a restart it may be given up early");
        }
    }

    fn hold(&self, target: &'static str, key: Uuid, seen: u64) -> bool {
        let held = self.index().hold(target, key, seen, self.limit);
        if !held {
            tracing::warn!(%key, to = target, "as many notifications are silenced as HERALD_QUEUE_LIMIT allows: this one is delivered");
        }
        self.report();
        self.changed.notify_waiters();
        held
    }

    async fn supersede(self: &Arc<Self>, target: &'static str, key: Uuid) {
        let before = self.index().supersede(target, key);
        for key in before {
            self.end(target, key, DeliveryOutcome::Suppressed).await;
        }
    }
}

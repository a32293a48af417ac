//! The notifications that wait for delivery: durable on disk ([`crate::spool`]), with order and times in memory
//! ([`crate::index`]).

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::web::Bytes;
use anyhow::{Context, Result};
use chrono::Utc;
use service::ApiError;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use uuid::Uuid;

use crate::backoff;
use crate::history::History;
use crate::index::{Digest, Entry, Index, Work};
use crate::key;
use crate::payload::Payload;
use crate::reach::Reachability;
use crate::silences::Silences;
use crate::spool::Spool;
use crate::stats::{self, DeliveryOutcome, Storage};
pub(crate) use crate::stored::Stored;
use crate::stored::Unusable;

/// How often gauges are brought up to date and, while the disk refuses, the disk is tried.
const LOOK: Duration = Duration::from_secs(1);

/// How often the disk is tried while nothing is known against it, and with how many bytes.
const PROBE: Duration = Duration::from_secs(30);
const PROBE_SIZE: usize = 64 << 10;

/// The answer to a notification that came in.
#[derive(Debug)]
pub(crate) enum Accepted {
    /// It is on disk for each target that did not have it.
    New(Box<Stored>),
    /// The group's last waiting notification, with this key, is the same for each target: a retry of Alertmanager's.
    Pending(String),
}

/// Why a notification is not taken.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The body is not a notification.
    Malformed(ApiError),
    /// The queue of a target is full; the reason in words.
    Full(String),
    /// There is no key after those of the waiting notifications; the reason in words.
    NoKey(String),
    /// The disk does not take it.
    Disk(io::Error),
}

/// The last write that the disk refused, until it accepts as much again.
#[derive(Debug)]
struct Refused {
    size: usize,
    why: String,
}

/// Which targets are to get a notification, and under which key.
#[derive(Debug)]
struct Plan {
    key: Uuid,
    digest: Digest,
    lacking: Vec<&'static str>,
}

/// All waiting notifications.
#[derive(Debug)]
pub(crate) struct Queue {
    spool: Arc<Spool>,
    /// The history of alerts, and the comments of people.
    pub(crate) history: History,
    pub(crate) silences: Silences,
    pub(crate) reach: Reachability,
    targets: Vec<&'static str>,
    limit: usize,
    index: Mutex<Index>,
    /// One at a time: nothing happens between the search for a duplicate and the write, and only one body is parsed at a
    /// time.
    accepting: Arc<tokio::sync::Mutex<()>>,
    refused: Mutex<Option<Refused>>,
    changed: Notify,
}

impl Queue {
    /// Loads what an earlier process left. It logs the names of invalid files and continues.
    pub(crate) fn open(spool: Spool, targets: Vec<&'static str>, limit: usize) -> Result<Self> {
        let (mut index, spool) = (Index::new(&targets), Arc::new(spool));
        for target in &targets {
            crate::left_behind::index(&spool, target, &mut index)
                .with_context(|| format!("cannot read the queue of {target}"))?;
        }
        let queue = Self {
            history: History::open(spool.clone()),
            silences: Silences::open(spool.clone()),
            reach: Reachability::of(&targets),
            spool,
            targets,
            limit,
            index: Mutex::new(index),
            accepting: Arc::default(),
            refused: Mutex::default(),
            changed: Notify::new(),
        };
        queue.probe(PROBE_SIZE);
        queue.report();
        queue.count_failed();
        Ok(queue)
    }

    /// Accepts the body of a request: it is on disk for every target when this returns.
    pub(crate) async fn accept(self: &Arc<Self>, body: Bytes) -> Result<Accepted, Refusal> {
        let one = self.accepting.clone().lock_owned().await;
        let (queue, span) = (self.clone(), tracing::Span::current());
        let accept = move || {
            // Finishes, even if the client gives up.
            let _one = one;
            let payload = span.in_scope(|| Payload::read(&body));
            queue.take_in(payload.map_err(Refusal::Malformed)?)
        };
        let panicked = |error| Err(Refusal::Disk(io::Error::other(error)));
        spawn_blocking(accept).await.unwrap_or_else(panicked)
    }

    /// The next notification that is due. Waits for one.
    pub(crate) async fn next(&self, target: &'static str) -> Work {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on every change is noticed.
            changed.as_mut().enable();
            let taken = self.index().take(target, Instant::now());
            match taken {
                Ok(work) => return work,
                Err(Some(due)) => tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(due) => {}
                },
                Err(None) => changed.await,
            }
        }
    }

    /// Reads the notification that [`Self::next`] returned. `None` if it is not to be delivered now; then its state is
    /// settled here. An unreadable file is retried for `patience`, counted from when it could have been delivered.
    pub(crate) async fn load(
        self: &Arc<Self>,
        target: &'static str,
        work: Work,
        patience: Duration,
    ) -> Option<Stored> {
        let key = work.key;
        let loaded = self.on_disk(move |spool| Stored::load(spool, target, key));
        let problem = match loaded.await {
            Ok((stored, size)) => {
                self.learn(target, key, &stored.payload, size);
                return Some(stored);
            }
            Err(problem) => problem,
        };
        let file = format!("queue/{target}/{key}.json");
        let (attempts, unread) = (work.attempts + 1, matches!(problem, Unusable::Unread(_)));
        let later = unread && work.age() <= patience;
        // A retry of one day logs a dozen lines, not one per minute.
        if !later || attempts.is_power_of_two() {
            tracing::error!(file, %problem, attempts, tried_again = later, "a notification cannot be read from the queue");
        }
        if unread {
            Storage::Read.failed();
        }
        match problem {
            Unusable::Gone => self.forget(target, key),
            Unusable::Unread(_) if later => {
                self.postpone(target, key, backoff::pause(attempts, rand::random(), None));
            }
            Unusable::Unread(_) | Unusable::Wrong(_) => self.failed(target, key).await,
        }
        None
    }

    /// The target has received it.
    pub(crate) async fn delivered(self: &Arc<Self>, target: &'static str, key: Uuid) {
        self.end(target, key, DeliveryOutcome::Delivered).await;
    }

    /// Removes it, because it was delivered or must not be.
    async fn end(self: &Arc<Self>, target: &'static str, key: Uuid, outcome: DeliveryOutcome) {
        let removed = self.on_disk(move |spool| spool.remove(target, key)).await;
        if let Err(error) = removed {
            Storage::Remove.failed();
            tracing::error!(%key, to = target, %error, "a notification that is done with cannot be removed: it will be looked at again after a restart");
        }
        self.forget(target, key);
        stats::ended(target, outcome);
    }

    /// Gives it up.
    pub(crate) async fn failed(self: &Arc<Self>, target: &'static str, key: Uuid) {
        let aside = self.on_disk(move |spool| spool.set_aside(target, key));
        if let Err(error) = aside.await {
            Storage::SetAside.failed();
            tracing::error!(%key, to = target, %error, "a notification cannot be set aside: it will be tried again after a restart");
        }
        self.forget(target, key);
        stats::ended(target, DeliveryOutcome::Failed);
    }

    /// Retries it after `pause`.
    pub(crate) fn postpone(&self, target: &'static str, key: Uuid, pause: Duration) {
        self.index().postpone(target, key, pause);
        stats::retried(target);
        self.changed.notify_waiters();
    }

    /// Why nothing can be accepted; empty if something can.
    pub(crate) fn reasons(&self) -> Vec<String> {
        let full = self.targets.iter().filter_map(|target| self.full(target));
        let refused = self.refused();
        let disk = refused.as_ref().map(|refused| no_disk(&refused.why));
        full.chain(disk).collect()
    }

    /// Keeps gauges and [`Self::reasons`] up to date, for as long as herald runs.
    pub(crate) async fn look_after(self: Arc<Self>) {
        let mut probed = Instant::now();
        loop {
            self.report();
            let queue = self.clone();
            let look = move |spool: &Spool| {
                queue.count_failed();
                queue.history.report_ledger();
                if let Ok((available, size)) = spool.room() {
                    stats::room(available, size);
                }
                queue.silences.changed()
            };
            if self.on_disk(look).await {
                self.release();
            }
            let refused = self.refused().as_ref().map(|refused| refused.size);
            let usual = (probed.elapsed() >= PROBE).then_some(PROBE_SIZE);
            if let Some(size) = refused.or(usual) {
                probed = Instant::now();
                let (queue, one) = (self.clone(), self.accepting.clone().lock_owned().await);
                let probe = move || {
                    let _one = one;
                    queue.probe(size);
                };
                spawn_blocking(probe).await.ok();
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Runs outside of the async runtime, because a disk may be slow.
    async fn on_disk<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Spool) -> T + Send + 'static,
    ) -> T {
        let queue = self.clone();
        let done = spawn_blocking(move || work(&queue.spool)).await;
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    /// Records the group of a notification whose file could not be read at the start, so that other groups no longer wait
    /// for it.
    fn learn(&self, target: &'static str, key: Uuid, payload: &Payload, size: usize) {
        let mut index = self.index();
        if index.unknown(target, key).is_none() {
            return;
        }
        let digest = index.digest(payload);
        index.learn(target, key, digest, size);
        self.changed.notify_waiters();
    }

    fn take_in(&self, payload: Payload) -> Result<Accepted, Refusal> {
        let Plan {
            key,
            digest,
            lacking,
        } = self.plan(&payload)?;
        let (key_text, accepted) = (key.to_string(), Utc::now());
        let stored = Stored {
            key: key_text,
            accepted,
            held_until: None,
            payload,
        };
        if lacking.is_empty() {
            self.history.record_accepted(&stored);
            return Ok(Accepted::Pending(stored.key));
        }
        if let Some(full) = lacking.iter().find_map(|target| self.full(target)) {
            return Err(Refusal::Full(full));
        }
        let content = serde_json::to_vec(&stored).map_err(|error| Refusal::Disk(error.into()))?;
        let mut written = self.write(&lacking, key, &content);
        if written.is_err() && self.history.make_room(content.len() * lacking.len()) {
            written = self.write(&lacking, key, &content);
        }
        self.note(&written, content.len());
        written.map_err(Refusal::Disk)?;
        let mut index = self.index();
        for target in lacking {
            index.push(target, Entry::new(key, digest, accepted, content.len()));
        }
        drop(index);
        self.report();
        self.changed.notify_waiters();
        self.history.record_accepted(&stored);
        Ok(Accepted::New(Box::new(stored)))
    }

    /// Why a target's queue takes nothing more, if so.
    fn full(&self, target: &str) -> Option<String> {
        let limit = self.limit;
        (self.index().len(target) >= limit).then(|| {
            format!(
                "{limit} notifications wait for {target}, as many as HERALD_QUEUE_LIMIT allows: \
                 herald's log says why {target} does not take them; mend that, or raise the limit"
            )
        })
    }

    /// Decides per target by its last waiting notification of this group: after a crash some targets may have more of them
    /// than others. It reuses the key that another target has, if all keys that wait here are before it.
    fn plan(&self, payload: &Payload) -> Result<Plan, Refusal> {
        let digest = self.index().digest(payload);
        let (mut held, mut before, mut lacking) = (None, None, Vec::new());
        for target in &self.targets {
            let newest = self.index().newest(target, digest.group);
            match newest {
                Some((key, same)) if same == digest && self.says(target, key, payload) => {
                    held = held.max(Some(key));
                }
                newest => {
                    lacking.push(*target);
                    before = before.max(newest.map(|(key, _)| key));
                }
            }
        }
        let last = self.index().last_key();
        let key = held
            .filter(|_| before < held)
            .or_else(|| key::next(last.map(|(key, _)| key)));
        let none_left = || {
            let file = last.map(|(key, target)| format!("queue/{target}/{key}.json"));
            Refusal::NoKey(format!(
                "no key comes after that of {} in the directory HERALD_STATE_DIR: stop herald, move the file elsewhere, start herald",
                file.unwrap_or_default()
            ))
        };
        Ok(Plan {
            key: key.ok_or_else(none_left)?,
            digest,
            lacking,
        })
    }

    /// Digests may be the same by chance.
    fn says(&self, target: &str, key: Uuid, payload: &Payload) -> bool {
        Stored::load(&self.spool, target, key).is_ok_and(|(stored, _)| stored.payload == *payload)
    }

    /// Writes for all targets or none: otherwise Alertmanager's retry would send a second copy to those that have it.
    fn write(&self, targets: &[&'static str], key: Uuid, content: &[u8]) -> io::Result<()> {
        for (index, target) in targets.iter().enumerate() {
            if let Err(error) = self.spool.store(target, key, content) {
                for target in &targets[..index] {
                    self.spool.remove(target, key).ok();
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn probe(&self, size: usize) {
        let mut all = self
            .targets
            .iter()
            .map(|target| self.spool.probe(target, size));
        self.note(&all.find(Result::is_err).unwrap_or(Ok(())), size);
    }

    /// Remembers whether the disk takes notifications.
    fn note(&self, written: &io::Result<()>, size: usize) {
        let refused = written.as_ref().err().map(|error| Refused {
            size,
            why: error.to_string(),
        });
        if let Some(Refused { why, .. }) = &refused {
            Storage::Write.failed();
            tracing::error!(why, size, "the disk does not take notifications");
        }
        *self.refused() = refused;
    }

    fn forget(&self, target: &'static str, key: Uuid) {
        self.index().forget(target, key);
        self.report();
        self.changed.notify_waiters();
    }

    /// Updates the gauges of what waits.
    fn report(&self) {
        for target in &self.targets {
            let (size, held, oldest) = {
                let index = self.index();
                (index.len(target), index.held(target), index.oldest(target))
            };
            let age = oldest.map_or(0.0, |oldest| (Utc::now() - oldest).as_seconds_f64());
            stats::queue(target, size, age.max(0.0));
            stats::silenced(target, held);
        }
    }

    /// A person may have moved some files back.
    fn count_failed(&self) {
        for target in &self.targets {
            stats::failed_kept(target, self.spool.failed(target));
        }
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refused(&self) -> MutexGuard<'_, Option<Refused>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why nothing can be kept.
pub(crate) fn no_disk(why: &str) -> String {
    format!("the disk does not take notifications: {why}; mend the directory HERALD_STATE_DIR")
}

mod withhold;

#[cfg(test)]
mod tests;

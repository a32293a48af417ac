//! What waits for delivery: in memory for order and time, on disk ([`crate::spool`]) for good.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::Instant;
use uuid::Uuid;

use crate::payload::Payload;
use crate::spool::Spool;
use crate::stats;

/// A notification as it is kept on disk.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Stored {
    /// Idempotency key: the same at every attempt, after a restart too.
    pub(crate) key: String,
    /// When it was accepted.
    pub(crate) accepted: DateTime<Utc>,
    /// What Alertmanager sent.
    pub(crate) payload: Payload,
}

/// One notification for one target.
#[derive(Debug)]
struct Entry {
    message: Arc<Stored>,
    target: &'static str,
    attempts: u32,
    due: Instant,
    in_flight: bool,
}

/// What a delivery takes up.
#[derive(Debug)]
pub(crate) struct Work {
    /// What to deliver.
    pub(crate) message: Arc<Stored>,
    /// How often it was tried before.
    pub(crate) attempts: u32,
}

/// The answer to a notification that came in.
#[derive(Debug)]
pub(crate) enum Accepted {
    /// It is on disk.
    New(Arc<Stored>),
    /// The same is pending already, under this key: Alertmanager did not hear our answer.
    Pending(String),
}

/// Why a notification is not taken.
#[derive(Debug)]
pub(crate) enum Unavailable {
    /// As many wait as may.
    Full,
    /// The disk does not take it.
    Disk(io::Error),
}

/// All that waits.
#[derive(Debug)]
pub(crate) struct Queue {
    spool: Arc<Spool>,
    targets: Vec<&'static str>,
    limit: usize,
    entries: Mutex<Vec<Entry>>,
    /// One at a time, so that nothing comes between the look for a duplicate and the file.
    accepting: tokio::sync::Mutex<()>,
    changed: Notify,
}

impl Queue {
    /// With everything that an earlier process left.
    pub(crate) fn open(spool: Spool, targets: Vec<&'static str>, limit: usize) -> Result<Self> {
        let mut messages: BTreeMap<String, Arc<Stored>> = BTreeMap::new();
        let mut entries = Vec::new();
        for target in &targets {
            let loaded = spool.load(target).context("cannot read the queue")?;
            for (key, content) in loaded {
                let stored: Stored = match serde_json::from_slice(&content) {
                    Ok(stored) => stored,
                    Err(error) => {
                        tracing::error!(key, to = target, %error, "a file of the queue cannot be read; it is set aside");
                        spool.set_aside(target, &key)?;
                        continue;
                    }
                };
                let message = messages.entry(key).or_insert_with(|| Arc::new(stored));
                entries.push(Entry::new(message.clone(), target));
            }
        }
        let queue = Self {
            spool: Arc::new(spool),
            targets,
            limit,
            entries: Mutex::new(entries),
            accepting: tokio::sync::Mutex::new(()),
            changed: Notify::new(),
        };
        queue.report();
        Ok(queue)
    }

    /// Takes a notification: on disk for every target when this returns.
    pub(crate) async fn accept(&self, payload: Payload) -> Result<Accepted, Unavailable> {
        let _one = self.accepting.lock().await;
        if let Some(key) = self.pending(&payload) {
            return Ok(Accepted::Pending(key));
        }
        if self.fullest() >= self.limit {
            return Err(Unavailable::Full);
        }
        let stored = Stored {
            // Of version 7: by time, so that the names of the files sort by age.
            key: Uuid::now_v7().to_string(),
            accepted: Utc::now(),
            payload,
        };
        self.write(&stored).await.map_err(Unavailable::Disk)?;
        let message = Arc::new(stored);
        let entries = self.targets.iter();
        self.entries()
            .extend(entries.map(|target| Entry::new(message.clone(), target)));
        self.report();
        self.changed.notify_waiters();
        Ok(Accepted::New(message))
    }

    /// The next notification that is due; of each group the oldest first, so that "resolved" never overtakes "firing".
    /// Waits for one.
    pub(crate) async fn next(&self, target: &'static str) -> Work {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on a change is not missed.
            changed.as_mut().enable();
            match self.take(target) {
                Ok(work) => return work,
                Err(Some(due)) => tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(due) => {}
                },
                Err(None) => changed.await,
            }
        }
    }

    /// It has arrived.
    pub(crate) fn delivered(&self, target: &'static str, key: &str) {
        if let Err(error) = self.spool.remove(target, key) {
            tracing::error!(key, to = target, %error, "a delivered notification cannot be removed: it will be sent again after a restart");
        }
        self.forget(target, key);
        stats::ended(target, true);
    }

    /// The target refuses it for good.
    pub(crate) fn failed(&self, target: &'static str, key: &str) {
        if let Err(error) = self.spool.set_aside(target, key) {
            tracing::error!(key, to = target, %error, "a refused notification cannot be set aside");
        }
        self.forget(target, key);
        stats::ended(target, false);
    }

    /// To be tried again after `pause`.
    pub(crate) fn postpone(&self, target: &'static str, key: &str, pause: Duration) {
        for entry in self.entries().iter_mut() {
            if entry.is(target, key) {
                entry.attempts += 1;
                entry.due = Instant::now() + pause;
                entry.in_flight = false;
            }
        }
        stats::retried(target);
        self.changed.notify_waiters();
    }

    /// How many wait for a target.
    pub(crate) fn len(&self, target: &str) -> usize {
        self.entries()
            .iter()
            .filter(|entry| entry.target == target)
            .count()
    }

    /// Updates the gauges.
    pub(crate) fn report(&self) {
        for target in &self.targets {
            let entries = self.entries();
            let accepted = entries
                .iter()
                .filter(|entry| entry.target == *target)
                .map(|entry| entry.message.accepted);
            let oldest = accepted.clone().min().map_or(0.0, |oldest| {
                (Utc::now() - oldest).num_milliseconds() as f64 / 1000.0
            });
            stats::queue(target, accepted.count(), oldest.max(0.0));
            drop(entries);
            stats::failed_kept(target, self.spool.failed(target));
        }
    }

    fn take(&self, target: &'static str) -> Result<Work, Option<Instant>> {
        let mut entries = self.entries();
        let mut groups = HashSet::new();
        let mut soonest: Option<Instant> = None;
        let now = Instant::now();
        for entry in entries.iter_mut().filter(|entry| entry.target == target) {
            let oldest = groups.insert(entry.message.payload.group_key.clone());
            if !oldest || entry.in_flight {
                continue;
            }
            if entry.due <= now {
                entry.in_flight = true;
                return Ok(Work {
                    message: entry.message.clone(),
                    attempts: entry.attempts,
                });
            }
            soonest = Some(soonest.map_or(entry.due, |soonest| soonest.min(entry.due)));
        }
        Err(soonest)
    }

    fn forget(&self, target: &'static str, key: &str) {
        self.entries().retain(|entry| !entry.is(target, key));
        self.report();
        self.changed.notify_waiters();
    }

    fn pending(&self, payload: &Payload) -> Option<String> {
        let entries = self.entries();
        let same = entries
            .iter()
            .find(|entry| entry.message.payload == *payload)?;
        Some(same.message.key.clone())
    }

    fn fullest(&self) -> usize {
        let lengths = self.targets.iter().map(|target| self.len(target));
        lengths.max().unwrap_or(0)
    }

    /// All or nothing: what only some targets got would be sent to them once more when Alertmanager tries again.
    async fn write(&self, stored: &Stored) -> io::Result<()> {
        let content = serde_json::to_vec(stored)?;
        let (spool, targets, key) = (self.spool.clone(), self.targets.clone(), stored.key.clone());
        let write = move || {
            for (index, target) in targets.iter().enumerate() {
                if let Err(error) = spool.store(target, &key, &content) {
                    for target in &targets[..index] {
                        spool.remove(target, &key).ok();
                    }
                    return Err(error);
                }
            }
            Ok(())
        };
        tokio::task::spawn_blocking(write)
            .await
            .map_err(io::Error::other)?
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn new(message: Arc<Stored>, target: &'static str) -> Self {
        Self {
            message,
            target,
            attempts: 0,
            due: Instant::now(),
            in_flight: false,
        }
    }

    fn is(&self, target: &str, key: &str) -> bool {
        self.target == target && self.message.key == key
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::tests::{example, read};

    fn open(root: &std::path::Path, limit: usize) -> Queue {
        let spool = Spool::open(root, &["slack", "webhook"]).unwrap();
        Queue::open(spool, vec!["slack", "webhook"], limit).unwrap()
    }

    fn payload(group: &str, status: &str) -> Payload {
        let mut payload = example();
        payload["groupKey"] = group.into();
        payload["status"] = status.into();
        read(&payload).unwrap()
    }

    async fn accepted(queue: &Queue, group: &str, status: &str) -> String {
        match queue.accept(payload(group, status)).await.unwrap() {
            Accepted::New(stored) => stored.key.clone(),
            Accepted::Pending(key) => panic!("pending as {key}"),
        }
    }

    #[tokio::test]
    async fn a_restart_finds_everything_that_was_accepted_under_its_key() {
        let root = tempfile::tempdir().unwrap();
        let queue = open(root.path(), 10);
        let key = accepted(&queue, "a", "firing").await;
        let again = queue.accept(payload("a", "firing")).await.unwrap();
        assert!(matches!(again, Accepted::Pending(again) if again == key));
        queue.delivered("slack", &key);
        drop(queue);

        let queue = open(root.path(), 10);
        assert_eq!((queue.len("slack"), queue.len("webhook")), (0, 1));
        assert_eq!(queue.next("webhook").await.message.key, key);
        queue.failed("webhook", &key);
        drop(queue);
        assert_eq!(open(root.path(), 10).len("webhook"), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_keeps_its_order_and_holds_no_other_up() {
        let root = tempfile::tempdir().unwrap();
        let queue = open(root.path(), 10);
        let firing = accepted(&queue, "a", "firing").await;
        let resolved = accepted(&queue, "a", "resolved").await;
        let other = accepted(&queue, "b", "firing").await;

        let next = async || queue.next("slack").await.message.key.clone();
        assert_eq!(next().await, firing);
        queue.postpone("slack", &firing, Duration::from_secs(30));
        assert_eq!(next().await, other, "not the end before the beginning");
        let start = Instant::now();
        let work = queue.next("slack").await;
        assert_eq!((&work.message.key, work.attempts), (&firing, 1));
        assert_eq!(start.elapsed().as_secs(), 30);
        queue.delivered("slack", &firing);
        assert_eq!(next().await, resolved);
    }

    #[tokio::test]
    async fn a_full_queue_takes_nothing_more() {
        let root = tempfile::tempdir().unwrap();
        let queue = open(root.path(), 1);
        let key = accepted(&queue, "a", "firing").await;
        let refused = queue.accept(payload("b", "firing")).await;
        assert!(matches!(refused, Err(Unavailable::Full)));
        queue.delivered("slack", &key);
        queue.delivered("webhook", &key);
        accepted(&queue, "b", "firing").await;
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_is_set_aside() {
        let root = tempfile::tempdir().unwrap();
        drop(open(root.path(), 1));
        std::fs::write(root.path().join("queue/slack/x.json"), "{").unwrap();
        assert_eq!(open(root.path(), 1).len("slack"), 0);
        assert!(root.path().join("failed/slack/x.json").exists());
    }
}

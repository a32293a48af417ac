//! What waits, in memory: for each notification its order, its time and two digests. What it says is on disk.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;
use uuid::Uuid;

use crate::payload::Payload;

/// Of a notification's group and of all that it says. Two that differ may have the same, once in very long: who must be
/// certain compares the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Digest {
    pub(crate) group: u64,
    pub(crate) content: u64,
}

/// One notification for one target.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: Uuid,
    pub(crate) digest: Digest,
    pub(crate) accepted: DateTime<Utc>,
    /// Of its file, in bytes.
    pub(crate) size: usize,
    attempts: u32,
    due: Instant,
    in_flight: bool,
}

/// What a delivery takes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Work {
    /// What to deliver.
    pub(crate) key: Uuid,
    /// Of its file, in bytes.
    pub(crate) size: usize,
    /// How often it was tried before.
    pub(crate) attempts: u32,
}

/// All that waits, oldest first.
#[derive(Debug)]
pub(crate) struct Index {
    hasher: RandomState,
    targets: Vec<(&'static str, Vec<Entry>)>,
}

impl Entry {
    pub(crate) fn new(key: Uuid, digest: Digest, accepted: DateTime<Utc>, size: usize) -> Self {
        Self {
            key,
            digest,
            accepted,
            size,
            attempts: 0,
            due: Instant::now(),
            in_flight: false,
        }
    }
}

impl Index {
    pub(crate) fn new(targets: &[&'static str]) -> Self {
        Self {
            // With a secret of this process: nobody can send two groups that it takes for one.
            hasher: RandomState::new(),
            targets: targets.iter().map(|name| (*name, Vec::new())).collect(),
        }
    }

    pub(crate) fn digest(&self, payload: &Payload) -> Digest {
        Digest {
            group: self.hasher.hash_one(&payload.group_key),
            content: self.hasher.hash_one(payload),
        }
    }

    pub(crate) fn push(&mut self, target: &str, entry: Entry) {
        self.entries_mut(target).push(entry);
    }

    /// The last of a group that waits for a target: its key and what it says.
    pub(crate) fn newest(&self, target: &str, group: u64) -> Option<(Uuid, Digest)> {
        let mut newest_first = self.entries(target).iter().rev();
        let newest = newest_first.find(|entry| entry.digest.group == group)?;
        Some((newest.key, newest.digest))
    }

    /// The last key that was given.
    pub(crate) fn last_key(&self) -> Option<Uuid> {
        let all = self.targets.iter().flat_map(|(_, entries)| entries);
        all.map(|entry| entry.key).max()
    }

    /// The first that is due, and from now on in flight; of each group the oldest only, so that "resolved" never overtakes
    /// "firing". Without one: when the next is due.
    pub(crate) fn take(&mut self, target: &str, now: Instant) -> Result<Work, Option<Instant>> {
        let mut groups = HashSet::new();
        let mut soonest: Option<Instant> = None;
        for entry in self.entries_mut(target) {
            if !groups.insert(entry.digest.group) || entry.in_flight {
                continue;
            }
            if entry.due <= now {
                entry.in_flight = true;
                return Ok(Work {
                    key: entry.key,
                    size: entry.size,
                    attempts: entry.attempts,
                });
            }
            soonest = Some(soonest.map_or(entry.due, |soonest| soonest.min(entry.due)));
        }
        Err(soonest)
    }

    /// No longer in flight; to be tried again after `pause`.
    pub(crate) fn postpone(&mut self, target: &str, key: Uuid, pause: Duration) {
        let mut entries = self.entries_mut(target).iter_mut();
        if let Some(entry) = entries.find(|entry| entry.key == key) {
            entry.attempts += 1;
            entry.due = Instant::now() + pause;
            entry.in_flight = false;
        }
    }

    pub(crate) fn forget(&mut self, target: &str, key: Uuid) {
        self.entries_mut(target).retain(|entry| entry.key != key);
    }

    pub(crate) fn len(&self, target: &str) -> usize {
        self.entries(target).len()
    }

    /// When the oldest was accepted.
    pub(crate) fn oldest(&self, target: &str) -> Option<DateTime<Utc>> {
        let entries = self.entries(target).iter();
        entries.map(|entry| entry.accepted).min()
    }

    fn entries(&self, target: &str) -> &[Entry] {
        let mut targets = self.targets.iter();
        targets
            .find(|(name, _)| *name == target)
            .map_or(&[], |(_, entries)| entries)
    }

    fn entries_mut(&mut self, target: &str) -> &mut Vec<Entry> {
        let position = self.targets.iter().position(|(name, _)| *name == target);
        &mut self.targets[position.expect("a target that the queue was opened with")].1
    }
}

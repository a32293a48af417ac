//! The waiting notifications, in memory: the order, the time and two digests of each. Their content is on disk.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;
use uuid::Uuid;

use crate::payload::Payload;

/// Digests of a notification's group and of its content. Two different ones may very rarely have the same digest; code that
/// must be certain compares the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Digest {
    pub(crate) group: u64,
    pub(crate) content: u64,
}

/// The number of attempts to read an unreadable file during which all later notifications wait, except other unreadable
/// ones. They take about a minute: half a second, doubling, to 32 seconds.
const HELD_UP: u32 = 8;

/// One notification for one target.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: Uuid,
    /// Unknown as long as its file cannot be read.
    pub(crate) digest: Option<Digest>,
    /// Or when a silence last let go of it.
    pub(crate) accepted: DateTime<Utc>,
    /// The size of its file, in bytes.
    pub(crate) size: usize,
    attempts: u32,
    due: Instant,
    in_flight: bool,
    /// A silence holds it back: it is not due, and does not block later notifications.
    held: bool,
    /// A silence has held it back: later notifications of its group replace it.
    was_held: bool,
}

/// The data of a notification in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Work {
    /// The key of the notification.
    pub(crate) key: Uuid,
    /// The size of its file, in bytes.
    pub(crate) size: usize,
    /// How often it was tried before.
    pub(crate) attempts: u32,
    /// Since when it could have been delivered.
    pub(crate) since: DateTime<Utc>,
}

/// All waiting notifications, oldest first.
#[derive(Debug)]
pub(crate) struct Index {
    hasher: RandomState,
    targets: Vec<(&'static str, Vec<Entry>)>,
    /// How often silences have changed.
    releases: u64,
    /// When this process began.
    opened: DateTime<Utc>,
}

impl Work {
    pub(crate) fn age(&self) -> Duration {
        (Utc::now() - self.since).to_std().unwrap_or_default()
    }
}

impl Entry {
    pub(crate) fn new(key: Uuid, digest: Digest, accepted: DateTime<Utc>, size: usize) -> Self {
        Self {
            key,
            digest: Some(digest),
            accepted,
            size,
            attempts: 0,
            due: Instant::now(),
            in_flight: false,
            held: false,
            was_held: false,
        }
    }

    /// For a file that could not be read: it may have any size and group.
    pub(crate) fn unread(key: Uuid, accepted: DateTime<Utc>) -> Self {
        Self {
            key,
            digest: None,
            accepted,
            size: usize::MAX,
            attempts: 0,
            due: Instant::now(),
            in_flight: false,
            held: false,
            was_held: false,
        }
    }
}

impl Index {
    pub(crate) fn new(targets: &[&'static str]) -> Self {
        Self {
            // Uses a secret of this process, so that no client can send two groups with the same digest.
            hasher: RandomState::new(),
            targets: targets.iter().map(|name| (*name, Vec::new())).collect(),
            releases: 0,
            opened: Utc::now(),
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

    /// The last waiting notification of a group for a target: its key and its digest.
    pub(crate) fn newest(&self, target: &str, group: u64) -> Option<(Uuid, Digest)> {
        let mut newest_first = self.entries(target).iter().rev();
        newest_first.find_map(|entry| {
            let digest = entry.digest.filter(|digest| digest.group == group)?;
            Some((entry.key, digest))
        })
    }

    /// The last key that was given, and a target that it waits for.
    pub(crate) fn last_key(&self) -> Option<(Uuid, &'static str)> {
        let all = self.targets.iter();
        all.flat_map(|(target, entries)| entries.iter().map(|entry| (entry.key, *target)))
            .max()
    }

    /// Takes the first notification that is due; it is in flight from now on. Of each group only the oldest is eligible, so
    /// that "resolved" never overtakes "firing". If none is due, it returns when the next will be.
    pub(crate) fn take(&mut self, target: &str, now: Instant) -> Result<Work, Option<Instant>> {
        let opened = self.opened;
        let entries = self.entries(target).iter();
        let in_flight = entries.filter(|entry| entry.in_flight);
        // Includes earlier notifications: a silence may have released them meanwhile.
        let mut groups: HashSet<u64> = in_flight
            .filter_map(|entry| Some(entry.digest?.group))
            .collect();
        let mut soonest: Option<Instant> = None;
        let mut held_up = false;
        let waiting = self.entries_mut(target).iter_mut();
        for entry in waiting.filter(|entry| !entry.held) {
            let known = entry.digest.map(|digest| digest.group);
            let first = known.is_none_or(|group| !held_up && groups.insert(group));
            if first && !entry.in_flight {
                if entry.due <= now {
                    entry.in_flight = true;
                    return Ok(Work {
                        key: entry.key,
                        size: entry.size,
                        attempts: entry.attempts,
                        // An unreadable notification may have been held back until this process started.
                        since: known.map_or(opened.max(entry.accepted), |_| entry.accepted),
                    });
                }
                soonest = Some(soonest.map_or(entry.due, |soonest| soonest.min(entry.due)));
            }
            // Later notifications may belong to the same group.
            held_up |= known.is_none() && entry.attempts < HELD_UP;
        }
        Err(soonest)
    }

    /// Sets the digest and size of a file that could not be read before; `false` if they were known.
    pub(crate) fn learn(&mut self, target: &str, key: Uuid, digest: Digest, size: usize) -> bool {
        let unknown = self.unknown(target, key);
        let learned = unknown.map(|entry| (entry.digest, entry.size) = (Some(digest), size));
        learned.is_some()
    }

    /// The entry whose file could not be read before.
    pub(crate) fn unknown(&mut self, target: &str, key: Uuid) -> Option<&mut Entry> {
        let mut entries = self.entries_mut(target).iter_mut();
        entries.find(|entry| entry.key == key && entry.digest.is_none())
    }

    /// Ends the flight; the next attempt follows after `pause`.
    pub(crate) fn postpone(&mut self, target: &str, key: Uuid, pause: Duration) {
        let mut entries = self.entries_mut(target).iter_mut();
        if let Some(entry) = entries.find(|entry| entry.key == key) {
            entry.attempts += 1;
            entry.due = Instant::now() + pause;
            entry.in_flight = false;
        }
    }

    /// How often [`Self::release`] was called.
    pub(crate) fn releases(&self) -> u64 {
        self.releases
    }

    /// No longer in flight, and to wait for the next release after the one that was `seen`. `false` if as many as may be are held
    /// already.
    pub(crate) fn hold(&mut self, target: &str, key: Uuid, seen: u64, most: usize) -> bool {
        if self.held(target) >= most {
            return false;
        }
        let held = self.releases == seen;
        let mut entries = self.entries_mut(target).iter_mut();
        if let Some(entry) = entries.find(|entry| entry.key == key) {
            (entry.in_flight, entry.due) = (false, Instant::now());
            (entry.held, entry.was_held) = (held, true);
        }
        true
    }

    /// Silences have changed, so held notifications are checked again.
    pub(crate) fn release(&mut self) {
        self.releases += 1;
        let entries = self.targets.iter_mut().flat_map(|(_, entries)| entries);
        for entry in entries.filter(|entry| entry.held) {
            (entry.held, entry.due) = (false, Instant::now());
            (entry.attempts, entry.accepted) = (0, Utc::now());
        }
    }

    /// Removes earlier notifications of its group that were held back, because they are out of date.
    pub(crate) fn supersede(&mut self, target: &str, key: Uuid) -> Vec<Uuid> {
        let entries = self.entries_mut(target);
        let this = entries.iter().find(|entry| entry.key == key);
        let Some(group) = this.and_then(|entry| Some(entry.digest?.group)) else {
            return Vec::new();
        };
        let of_group = |entry: &Entry| entry.digest.is_some_and(|digest| digest.group == group);
        let before = entries.extract_if(.., |entry| {
            entry.key < key && entry.was_held && !entry.in_flight && of_group(entry)
        });
        before.map(|entry| entry.key).collect()
    }

    pub(crate) fn forget(&mut self, target: &str, key: Uuid) {
        self.entries_mut(target).retain(|entry| entry.key != key);
    }

    /// The number of waiting notifications for the target.
    pub(crate) fn len(&self, target: &str) -> usize {
        self.entries(target).len() - self.held(target)
    }

    /// The number of notifications that wait for the end of a silence.
    pub(crate) fn held(&self, target: &str) -> usize {
        let entries = self.entries(target).iter();
        entries.filter(|entry| entry.held).count()
    }

    /// When the oldest was accepted.
    pub(crate) fn oldest(&self, target: &str) -> Option<DateTime<Utc>> {
        let entries = self.entries(target).iter();
        let waiting = entries.filter(|entry| !entry.held);
        waiting.map(|entry| entry.accepted).min()
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

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: &str = "slack";
    const UNREAD: Uuid = Uuid::from_u128(2);

    /// An unreadable notification, one before it, and two after it.
    fn index() -> Index {
        let mut index = Index::new(&[TARGET]);
        for (key, group) in [(1, Some('a')), (2, None), (3, Some('b')), (4, Some('c'))] {
            let key = Uuid::from_u128(key);
            index.push(
                TARGET,
                match group {
                    Some(group) => Entry::new(key, digest(group), Utc::now(), 1),
                    None => Entry::unread(key, Utc::now()),
                },
            );
        }
        index
    }

    fn digest(group: char) -> Digest {
        let group = u64::from(group);
        Digest { group, content: 0 }
    }

    /// All notifications that may be taken now.
    fn taken(index: &mut Index) -> Vec<u128> {
        let next = || Some(index.take(TARGET, Instant::now()).ok()?.key.as_u128());
        std::iter::from_fn(next).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_after_an_unread_file_waits_until_it_is_known_whose_it_is() {
        let mut index = index();
        assert_eq!(taken(&mut index), [1, 2]);
        index.postpone(TARGET, UNREAD, Duration::from_secs(1));
        assert_eq!(taken(&mut index), [] as [u128; 0]);
        assert!(index.learn(TARGET, UNREAD, digest('b'), 7));
        assert!(!index.learn(TARGET, UNREAD, digest('b'), 7), "it is known");
        assert_eq!(taken(&mut index), [4], "the other is of its group");
        tokio::time::advance(Duration::from_secs(1)).await;
        let again = index.take(TARGET, Instant::now()).unwrap();
        assert_eq!(
            (again.key, again.size),
            (UNREAD, 7),
            "it takes no more room than it needs"
        );
        index.forget(TARGET, UNREAD);
        assert_eq!(taken(&mut index), [3]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_after_unread_files_waits_for_about_a_minute_however_many_they_are() {
        let mut index = Index::new(&[TARGET]);
        let unread = [1, 2, 3].map(Uuid::from_u128);
        for key in unread {
            index.push(TARGET, Entry::unread(key, Utc::now()));
        }
        let after = Entry::new(Uuid::from_u128(4), digest('a'), Utc::now(), 1);
        index.push(TARGET, after);
        let start = Instant::now();
        for attempt in 1.. {
            assert_eq!(taken(&mut index), [1, 2, 3], "attempt {attempt}");
            let pause = crate::backoff::pause(attempt, 0.0, None);
            for key in unread {
                index.postpone(TARGET, key, pause);
            }
            if taken(&mut index) == [4] {
                break;
            }
            tokio::time::advance(pause).await;
        }
        assert_eq!(start.elapsed(), Duration::from_millis(63_500));
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_after_an_unread_file_waits_for_about_a_minute() {
        let (mut index, start) = (index(), Instant::now());
        let mut all = taken(&mut index);
        for attempt in 1.. {
            let pause = crate::backoff::pause(attempt, 0.0, None);
            index.postpone(TARGET, UNREAD, pause);
            all.extend(taken(&mut index));
            if all.contains(&4) {
                break;
            }
            tokio::time::advance(pause).await;
            all.extend(taken(&mut index));
        }
        assert_eq!(start.elapsed(), Duration::from_millis(63_500));
        all.retain(|key| *key != 2);
        assert_eq!(all, [1, 3, 4]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_held_waits_for_a_release_and_holds_up_nothing_of_its_group() {
        let mut index = Index::new(&[TARGET]);
        for key in [1, 2] {
            let entry = Entry::new(Uuid::from_u128(key), digest('a'), Utc::now(), 1);
            index.push(TARGET, entry);
        }
        let [first, second] = [1, 2].map(Uuid::from_u128);
        assert_eq!(taken(&mut index), [1]);
        let seen = index.releases();
        assert!(index.hold(TARGET, first, seen, 1));
        assert_eq!((index.len(TARGET), index.held(TARGET)), (1, 1));
        assert_eq!(
            taken(&mut index),
            [2],
            "it is held, and the next one is not"
        );
        // The silence releases it while the next one is in flight; the order must stay.
        index.release();
        assert_eq!(taken(&mut index), [] as [u128; 0]);
        assert_eq!(index.supersede(TARGET, second), [first]);
        index.forget(TARGET, second);
        assert_eq!(taken(&mut index), [] as [u128; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_never_held_back_has_nothing_take_its_place() {
        let mut index = index();
        index.postpone(TARGET, UNREAD, Duration::from_secs(1));
        index.learn(TARGET, UNREAD, digest('b'), 7);
        assert!(index.supersede(TARGET, Uuid::from_u128(3)).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silence_that_ends_while_it_is_looked_at_is_not_missed() {
        let mut index = Index::new(&[TARGET]);
        let key = Uuid::from_u128(1);
        index.push(TARGET, Entry::new(key, digest('a'), Utc::now(), 1));
        assert_eq!(taken(&mut index), [1]);
        let seen = index.releases();
        index.release();
        assert!(index.hold(TARGET, key, seen, 1));
        assert_eq!(taken(&mut index), [1], "it is looked at again");
    }
}

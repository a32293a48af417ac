//! The history of alerts: one file per episode, the newest thousand. It only observes: alerts are delivered even if the
//! history fails.
//!
//! All of it reads and writes files: to be called beside the runtime.

mod record;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use uuid::Uuid;

pub(crate) use self::record::{Found, Record, Silenced, TargetState, Verdict};
use crate::folder::Folder;
use crate::ledger::{self, Entry, Row};
use crate::payload::Status;
use crate::queue::Stored;
use crate::spool::Spool;
use crate::stats::{self, HistoryFile};

/// More episodes are forgotten, the oldest that is over first, …
const MAX_RECORDS: usize = 1000;

/// … and so are more bytes of files.
const MAX_BYTES: usize = 64 << 20;

/// Unreadable files are kept for inspection; beyond this number the oldest are removed.
const MAX_UNREADABLE: usize = 100;

/// The in-memory data of an episode, which deliveries need.
#[derive(Debug)]
struct EpisodeIndex {
    id: Uuid,
    last: Uuid,
    /// Digest of the group's key.
    group: u64,
    over: bool,
    size: usize,
    told: Vec<(String, TargetState)>,
    /// The state of a target that has received nothing.
    untold: TargetState,
    /// The silence that held it back last.
    silenced: Option<Silenced>,
    /// Its line in the ledger.
    entry: Option<Entry>,
}

/// All episodes, oldest first.
#[derive(Debug)]
pub(crate) struct History {
    alerts: Folder,
    unreadable: Folder,
    /// Uses a secret of this process, so that no client can send two groups with the same digest.
    hasher: RandomState,
    /// Locked while a file is changed.
    known: Mutex<Vec<EpisodeIndex>>,
    /// Everything delivered since then is in the history. Earlier processes may have had no history, or another one.
    complete_since: Mutex<DateTime<Utc>>,
    /// Locked while a file is shown.
    reading: Mutex<()>,
    /// Keeps the directories open.
    _spool: Arc<Spool>,
}

/// Why an episode is not changed.
#[derive(Debug)]
pub(crate) enum EditError {
    /// The episode does not exist.
    Unknown,
    /// The change is not allowed.
    Refused(String),
    /// The disk does not take it, or does not give it.
    Disk(io::Error),
}

impl History {
    /// Loads what an earlier process left. It sets unreadable files aside, logs their names, and continues.
    pub(crate) fn open(spool: Arc<Spool>) -> Self {
        let history = Self {
            alerts: spool.folder("history", "alerts"),
            unreadable: spool.folder("history", "unreadable"),
            hasher: RandomState::new(),
            known: Mutex::default(),
            complete_since: Mutex::new(Utc::now()),
            reading: Mutex::default(),
            _spool: spool,
        };
        history.attempt(HistoryFile::Read, |known| {
            history.alerts.clean()?;
            for id in history.alerts.list()?.keys {
                match history.parse(id) {
                    Ok((record, size)) => known.push(history.known(&record, size)),
                    Err(why) => history.set_aside(id, &why),
                }
            }
            history.bound(known, None);
            Ok(())
        });
        history
    }

    /// Herald has taken a notification.
    pub(crate) fn record_accepted(&self, stored: &Stored) {
        let Ok(key) = stored.key.parse::<Uuid>() else {
            return;
        };
        let group = self.hasher.hash_one(&stored.payload.group_key);
        if !self
            .lock()
            .iter()
            .any(|k| k.group == group && k.last >= key)
        {
            self.change(stored, |_| ());
        }
    }

    /// A silence holds a notification back. Repeated calls with the same silence write nothing.
    pub(crate) fn silenced(&self, stored: &Stored, silence: &Silenced) {
        if self.knows_silenced(stored, silence) {
            return;
        }
        self.change(stored, |record| record.silenced = Some(silence.clone()));
    }

    fn knows_silenced(&self, stored: &Stored, silence: &Silenced) -> bool {
        let Ok(key) = stored.key.parse::<Uuid>() else {
            return false;
        };
        let known = self.lock();
        let episode = self.episode(&known, stored).map(|at| &known[at]);
        episode.is_some_and(|k| k.last >= key && k.silenced.as_ref() == Some(silence))
    }

    /// A target has got a notification.
    pub(crate) fn delivered(&self, target: &str, stored: &Stored, found: Option<Found>) {
        self.change(stored, |record| {
            record.deliver(target, &stored.payload, found);
        });
    }

    /// What a target has received of the notification's episode; empty if the episode is unknown.
    pub(crate) fn target_state(&self, target: &str, stored: &Stored) -> TargetState {
        let known = self.lock();
        let episode = self.episode(&known, stored).map(|at| &known[at]);
        let Some(episode) = episode else {
            return TargetState::default();
        };
        let told = episode.told.iter().find(|(name, _)| name == target);
        told.map_or(&episode.untold, |(_, told)| told).clone()
    }

    /// Whether a notification belongs to what a silence kept from a target from its beginning. Not when in doubt.
    pub(crate) fn is_only_silenced(&self, told: &TargetState) -> bool {
        told.is_only_silenced(*self.complete_since())
    }

    /// The newest episodes that are over, or fire, or all, as `view` shows them, and how many more there are. At most one
    /// file is in memory for all such requests together.
    pub(crate) fn list<T>(
        &self,
        over: Option<bool>,
        limit: usize,
        view: impl Fn(&Record) -> T,
    ) -> (Vec<T>, usize) {
        let chosen: Vec<Uuid> = {
            let known = self.lock();
            let chosen = known.iter().rev();
            let chosen = chosen.filter(|known| over.is_none_or(|over| over == known.over));
            chosen.map(|known| known.id).collect()
        };
        let listed = chosen.iter().take(limit);
        // An episode may have changed or gone meanwhile.
        let shown = listed.filter_map(|id| self.show(*id, &view)).collect();
        (shown, chosen.len().saturating_sub(limit))
    }

    /// The ledger of the episodes that began since then: by severity, by alert, and how many alerts more there are.
    pub(crate) fn ledger(&self, since: DateTime<Utc>) -> (Vec<Row>, Vec<Row>, usize) {
        let known = self.lock();
        let (alerts, more) = ledger::by_alert(entries(&known, since));
        (ledger::by_severity(entries(&known, since)), alerts, more)
    }

    /// Updates the metrics of the ledger: time passes, also without a change.
    pub(crate) fn report_ledger(&self) {
        let since = Utc::now() - ledger::WINDOW;
        stats::ledger(&ledger::by_severity(entries(&self.lock(), since)));
    }

    /// One episode, if it exists.
    pub(crate) fn get<T>(&self, id: Uuid, view: impl Fn(&Record) -> T) -> Option<T> {
        let known = self.lock().iter().any(|known| known.id == id);
        known.then(|| self.show(id, view))?
    }

    fn show<T>(&self, id: Uuid, view: impl Fn(&Record) -> T) -> Option<T> {
        let _one = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let (record, _) = self.parse(id).ok()?;
        Some(view(&record))
    }

    /// Changes one, if `edit` agrees.
    pub(crate) fn edit(
        &self,
        id: Uuid,
        edit: impl FnOnce(&mut Record) -> Result<(), String>,
    ) -> Result<Record, EditError> {
        let mut known = self.lock();
        if !known.iter().any(|known| known.id == id) {
            return Err(EditError::Unknown);
        }
        let (mut record, _) = self.parse(id).map_err(EditError::Disk)?;
        edit(&mut record).map_err(EditError::Refused)?;
        self.write(&mut known, &record)
            .inspect_err(|_| HistoryFile::Write.failed())
            .map_err(EditError::Disk)?;
        report(&known);
        Ok(record)
    }

    /// Removes episodes that are over, the oldest first, until their files add up to `bytes`, because the queue needs the
    /// space. Returns whether there were any.
    pub(crate) fn make_room(&self, bytes: usize) -> bool {
        let mut freed = 0;
        self.attempt(HistoryFile::Remove, |known| {
            while let Some(at) = known.iter().position(|known| known.over) {
                freed += known[at].size;
                self.forget(known, at);
                if freed >= bytes {
                    break;
                }
            }
            Ok(())
        });
        freed > 0
    }

    fn change(&self, stored: &Stored, edit: impl FnOnce(&mut Record)) {
        let Ok(key) = stored.key.parse::<Uuid>() else {
            return;
        };
        self.attempt(HistoryFile::Write, |known| {
            let before = self.before(known, stored)?;
            let mut record = before.unwrap_or_else(|| Record::new(key, stored));
            record.take(key, stored);
            edit(&mut record);
            self.write(known, &record)?;
            self.bound(known, Some(record.id));
            Ok(())
        });
    }

    /// The notification's episode. A file that cannot be read now may be readable later; a file that is invalid is set
    /// aside.
    fn before(&self, known: &mut Vec<EpisodeIndex>, stored: &Stored) -> io::Result<Option<Record>> {
        let Some(at) = self.episode(known, stored) else {
            return Ok(None);
        };
        let id = known[at].id;
        match self.parse(id) {
            Ok((record, _)) => Ok(Some(record)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                self.set_aside(id, &error);
                known.remove(at);
                Ok(None)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                known.remove(at);
                self.incomplete();
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The position of the notification's episode, in the order of keys: a group that fires after an end starts a new
    /// episode.
    fn episode(&self, known: &[EpisodeIndex], stored: &Stored) -> Option<usize> {
        let key: Uuid = stored.key.parse().ok()?;
        let group = self.hasher.hash_one(&stored.payload.group_key);
        let at = known
            .iter()
            .rposition(|known| known.group == group && known.id <= key)?;
        let fires_again =
            known[at].over && known[at].last < key && stored.payload.status == Status::Firing;
        (!fires_again).then_some(at)
    }

    fn known(&self, record: &Record, size: usize) -> EpisodeIndex {
        let targets = record.delivered.keys();
        EpisodeIndex {
            id: record.id,
            last: record.last,
            group: self.hasher.hash_one(&record.payload.group_key),
            over: record.resolved.is_some(),
            size,
            told: targets
                .map(|target| (target.clone(), record.target_state(target)))
                .collect(),
            untold: record.undelivered_state(),
            silenced: record.silenced.clone(),
            entry: record.entry(),
        }
    }

    fn write(&self, known: &mut Vec<EpisodeIndex>, record: &Record) -> io::Result<()> {
        let content = serde_json::to_vec(record)?;
        self.alerts.store(record.id, &content)?;
        let entry = self.known(record, content.len());
        match known.binary_search_by_key(&record.id, |known| known.id) {
            Ok(at) => known[at] = entry,
            Err(at) => known.insert(at, entry),
        }
        Ok(())
    }

    /// An invalid record is `InvalidData`.
    fn parse(&self, id: Uuid) -> io::Result<(Record, usize)> {
        let content = self.alerts.read(id)?;
        let wrong = |why| io::Error::new(io::ErrorKind::InvalidData, why);
        Ok((Record::parse(id, &content).map_err(wrong)?, content.len()))
    }

    fn set_aside(&self, id: Uuid, why: &io::Error) {
        HistoryFile::Read.failed();
        self.incomplete();
        // The error may quote the file's content.
        let why = crate::text::one_line(&why.to_string());
        let file = format!("history/alerts/{id}.json");
        tracing::error!(
            file,
            why,
            "what is known of an alert cannot be read: it is set aside in history/unreadable/"
        );
        let aside = self.alerts.hand_over(id, &self.unreadable);
        let aside = aside.and_then(|()| self.unreadable.keep_newest(MAX_UNREADABLE));
        if let Err(error) = aside {
            tracing::error!(file, %error, "it cannot be set aside either: it is left alone");
        }
    }

    /// Removes the surplus, but not the record that was just written.
    fn bound(&self, known: &mut Vec<EpisodeIndex>, newest: Option<Uuid>) {
        while known.len() > MAX_RECORDS || bytes(known) > MAX_BYTES {
            let others = |k: &EpisodeIndex| Some(k.id) != newest;
            let over = known.iter().position(|known| known.over && others(known));
            let Some(at) = over.or_else(|| known.iter().position(others)) else {
                break;
            };
            self.forget(known, at);
        }
    }

    fn forget(&self, known: &mut Vec<EpisodeIndex>, at: usize) {
        let EpisodeIndex { id, over, .. } = known.remove(at);
        stats::history_dropped();
        if !over {
            self.incomplete();
        }
        if let Err(error) = self.alerts.remove(id) {
            HistoryFile::Remove.failed();
            tracing::error!(%id, %error, "what is known of an old alert cannot be removed");
        }
    }

    /// Does it, or counts and logs why not. A panic, too, is nobody else's affair.
    fn attempt(
        &self,
        what: HistoryFile,
        work: impl FnOnce(&mut Vec<EpisodeIndex>) -> io::Result<()>,
    ) {
        let mut known = self.lock();
        let done = catch_unwind(AssertUnwindSafe(|| work(&mut known)));
        let done = done.unwrap_or_else(|_| Err(io::Error::other("it panicked")));
        if let Err(error) = done {
            what.failed();
            self.incomplete();
            tracing::error!(%error, "the history of alerts is not up to date; alerts are delivered all the same");
        }
        report(&known);
    }

    /// Deliveries up to now may be missing.
    fn incomplete(&self) {
        *self.complete_since() = Utc::now();
    }

    fn complete_since(&self) -> MutexGuard<'_, DateTime<Utc>> {
        let since = self.complete_since.lock();
        since.unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<EpisodeIndex>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bytes(known: &[EpisodeIndex]) -> usize {
    known.iter().map(|known| known.size).sum()
}

fn entries(known: &[EpisodeIndex], since: DateTime<Utc>) -> impl Iterator<Item = &Entry> {
    let entries = known.iter().filter_map(|known| known.entry.as_ref());
    entries.filter(move |entry| entry.began_since(since))
}

/// Wherever the list may have changed.
fn report(known: &[EpisodeIndex]) {
    let firing = known.iter().filter(|known| !known.over).count();
    stats::history(firing, known.len() - firing, bytes(known));
}

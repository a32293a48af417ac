//! Silences: they hold notifications back for a time. A silence is durable on disk before it has an effect.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use service::FieldError;
use uuid::Uuid;

use crate::folder::Folder;
use crate::history::Silenced;
use crate::matcher::{self, Matcher};
use crate::payload::Payload;
use crate::person_text::{self, person_text};
use crate::spool::Spool;
use crate::stats::{self, HistoryFile};

/// More at a time are nobody's plan.
pub(crate) const MAX_SILENCES: usize = 100;

const MAX_MATCHERS: usize = 8;

/// The version of the files' format. Files of other versions are not read.
const SCHEMA: u32 = 1;

/// The maximum time from now to the end of a silence, in days.
const MAX_DAYS: i64 = 30;

/// A request for a silence.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NewSilence {
    matchers: Vec<matcher::Text>,
    starts_at: Option<DateTime<Utc>>,
    ends_at: DateTime<Utc>,
    by: String,
    comment: String,
}

/// A silence, as stored and shown.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SilenceView {
    pub(crate) id: Uuid,
    pub(crate) matchers: Vec<Matcher>,
    pub(crate) starts_at: DateTime<Utc>,
    pub(crate) ends_at: DateTime<Utc>,
    pub(crate) by: String,
    pub(crate) comment: String,
}

/// The content of a file.
#[derive(Debug, Serialize, Deserialize)]
struct SilenceFile {
    schema: u32,
    #[serde(flatten)]
    silence: SilenceView,
}

#[derive(Debug, Clone)]
struct Silence {
    shown: SilenceView,
    /// It has ended, so it no longer holds anything back, even if its file still exists.
    over: bool,
}

/// Why there is no new silence.
#[derive(Debug)]
pub(crate) enum AddError {
    Invalid(Vec<FieldError>),
    /// The maximum number of silences exists.
    TooMany,
    Disk(io::Error),
}

/// The result of the last check.
#[derive(Debug, Default)]
struct LastCheck {
    /// The active silences.
    active: Vec<Uuid>,
    /// Whether somebody ended one after it. No look may have seen it active.
    expired: bool,
}

/// All silences that have not ended.
#[derive(Debug)]
pub(crate) struct Silences {
    folder: Folder,
    /// Never locked during disk operations, because every incoming alert reads it.
    all: Mutex<Vec<Silence>>,
    /// Locked while a file is changed.
    writing: Mutex<LastCheck>,
    /// Keeps the directory open.
    _spool: Arc<Spool>,
}

impl Silences {
    /// Loads what an earlier process left. An unreadable silence has no effect.
    pub(crate) fn open(spool: Arc<Spool>) -> Self {
        let folder = spool.folder("history", "silences");
        let unreadable = spool.folder("history", "unreadable");
        let keys = folder.clean().and_then(|()| folder.list());
        let keys = keys.inspect_err(|error| failed(HistoryFile::Read, error));
        let mut all = Vec::new();
        for key in keys.map(|listing| listing.keys).unwrap_or_default() {
            match read(&folder, key) {
                Ok(silence) => all.push(silence),
                Err(error) => {
                    failed(HistoryFile::Read, &error);
                    folder.hand_over(key, &unreadable).ok();
                }
            }
        }
        Self {
            folder,
            all: Mutex::new(all),
            writing: Mutex::default(),
            _spool: spool,
        }
    }

    /// On disk when this returns.
    pub(crate) fn add(&self, asked: NewSilence) -> Result<SilenceView, AddError> {
        let silence = Silence::new(asked, Utc::now()).map_err(AddError::Invalid)?;
        let _one = self.writing();
        if self.all().len() >= MAX_SILENCES {
            return Err(AddError::TooMany);
        }
        let kept = SilenceFile {
            schema: SCHEMA,
            silence: silence.shown.clone(),
        };
        let content = serde_json::to_vec(&kept).map_err(io::Error::from);
        content
            .and_then(|content| self.folder.store(silence.shown.id, &content))
            .inspect_err(|_| HistoryFile::Write.failed())
            .map_err(AddError::Disk)?;
        self.all().push(silence);
        Ok(kept.silence)
    }

    /// Ends a silence; `false` if it does not exist.
    pub(crate) fn expire(&self, id: Uuid) -> io::Result<bool> {
        let mut look = self.writing();
        if !self.all().iter().any(|silence| silence.shown.id == id) {
            return Ok(false);
        }
        let removed = self.folder.remove(id);
        removed.inspect_err(|_| HistoryFile::Remove.failed())?;
        self.all().retain(|silence| silence.shown.id != id);
        look.expired = true;
        Ok(true)
    }

    /// The silences that have not ended.
    pub(crate) fn list(&self) -> Vec<SilenceView> {
        let now = Utc::now();
        let all = self.all();
        let left = all.iter().filter(|silence| silence.shown.ends_at > now);
        left.map(|silence| silence.shown.clone()).collect()
    }

    /// The silence that holds a notification back now: of several, the one that ends last.
    pub(crate) fn covering(&self, payload: &Payload) -> Option<Silenced> {
        let now = Utc::now();
        let all = self.all();
        let active: Vec<&Silence> = all.iter().filter(|s| s.is_active(now)).collect();
        let matchers = active.iter().map(|s| s.shown.matchers.as_slice());
        let matchers: Vec<&[Matcher]> = matchers.collect();
        if active.is_empty() || !matcher::cover(&matchers, payload) {
            return None;
        }
        // Not all of them may be needed; the result names only one that matches.
        let concerned = active
            .iter()
            .filter(|silence| matcher::concern(&silence.shown.matchers, payload));
        let last = concerned.max_by_key(|silence| silence.shown.ends_at)?;
        Some(Silenced {
            id: last.shown.id,
            by: last.shown.by.clone(),
            comment: last.shown.comment.clone(),
            until: last.shown.ends_at,
        })
    }

    /// Whether other silences are active than at the last check, or one has ended since, however short it was. Removes those
    /// that have ended.
    pub(crate) fn changed(&self) -> bool {
        let (now, mut look) = (Utc::now(), self.writing());
        let mut ended = std::mem::take(&mut look.expired);
        for silence in self.all().iter_mut().filter(|silence| silence.ends(now)) {
            (silence.over, ended) = (true, true);
        }
        self.forget_over();
        let all = self.all();
        let active = all.iter().filter(|silence| silence.is_active(now));
        let active: Vec<Uuid> = active.map(|silence| silence.shown.id).collect();
        stats::silences(active.len());
        let changed = look.active != active;
        look.active = active;
        changed || ended
    }

    /// Retries the files that could not be removed before.
    fn forget_over(&self) {
        let all = self.all();
        let over = all.iter().filter(|silence| silence.over);
        let mut over: Vec<Uuid> = over.map(|silence| silence.shown.id).collect();
        drop(all);
        over.retain(|id| self.folder.remove(*id).is_ok());
        self.all()
            .retain(|silence| !over.contains(&silence.shown.id));
    }

    fn writing(&self) -> MutexGuard<'_, LastCheck> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> MutexGuard<'_, Vec<Silence>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(folder: &Folder, id: Uuid) -> io::Result<Silence> {
    let kept: SilenceFile = serde_json::from_slice(&folder.read(id)?)?;
    let shown = SilenceView { id, ..kept.silence };
    if kept.schema != SCHEMA || !shown.matchers.iter().any(Matcher::chooses) {
        let allowed =
            format!("allowed: schema {SCHEMA}, and a matcher that does not match everything");
        return Err(io::Error::other(allowed));
    }
    Ok(Silence { shown, over: false })
}

fn failed(what: HistoryFile, error: &io::Error) {
    what.failed();
    tracing::error!(%error, "a silence cannot be read: what it would hold back is delivered");
}

impl Silence {
    fn new(asked: NewSilence, now: DateTime<Utc>) -> Result<Self, Vec<FieldError>> {
        let starts_at = asked.starts_at.unwrap_or(now);
        let mut errors = Vec::new();
        let last = now + TimeDelta::days(MAX_DAYS);
        if asked.ends_at <= now.max(starts_at) || asked.ends_at > last {
            let allowed =
                format!("allowed: after now and after startsAt, within {MAX_DAYS} days from now");
            errors.push(FieldError::new("endsAt", allowed));
        }
        let by = person_text("by", &asked.by, person_text::NAME, &mut errors);
        let comment = person_text("comment", &asked.comment, person_text::NOTE, &mut errors);
        let matchers = matchers(asked.matchers, &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        let shown = SilenceView {
            id: Uuid::now_v7(),
            matchers,
            starts_at,
            ends_at: asked.ends_at,
            by,
            comment,
        };
        Ok(Self { shown, over: false })
    }

    /// Whether it has ended, and no look has found that yet.
    fn ends(&self, now: DateTime<Utc>) -> bool {
        !self.over && self.shown.ends_at <= now
    }

    fn is_active(&self, now: DateTime<Utc>) -> bool {
        !self.over && (self.shown.starts_at..self.shown.ends_at).contains(&now)
    }
}

fn matchers(asked: Vec<matcher::Text>, errors: &mut Vec<FieldError>) -> Vec<Matcher> {
    if !(1..=MAX_MATCHERS).contains(&asked.len()) {
        let allowed = format!("allowed: 1 to {MAX_MATCHERS} matchers");
        errors.push(FieldError::new("matchers", allowed));
        return Vec::new();
    }
    let before = errors.len();
    let mut matchers = Vec::new();
    for (index, text) in asked.into_iter().enumerate() {
        match Matcher::try_from(text) {
            Ok(matcher) => matchers.push(matcher),
            Err(allowed) => errors.push(FieldError::new(format!("matchers[{index}]"), allowed)),
        }
    }
    if errors.len() == before && !matchers.iter().any(Matcher::chooses) {
        let allowed = "allowed: at least one matcher that does not match everything, such as alertname = ServiceDown";
        errors.push(FieldError::new("matchers", allowed));
    }
    matchers
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::json;

    use super::*;
    use crate::payload::tests::{example, read};

    fn silences(root: &std::path::Path) -> Silences {
        Silences::open(Arc::new(Spool::open(root, &["slack"]).unwrap()))
    }

    /// Adds a silence that matches the example.
    fn add(silences: &Silences) -> Uuid {
        let asked = json!({
            "matchers": [{"name": "service", "value": "gateway"}],
            "endsAt": Utc::now() + TimeDelta::hours(1), "by": "ada", "comment": "we know"
        });
        let added = silences.add(serde_json::from_value(asked).unwrap());
        let example = read(&example()).unwrap();
        assert!(silences.covering(&example).is_some());
        added.unwrap().id
    }

    #[test]
    fn a_silence_that_comes_and_goes_between_two_looks_lets_go_of_what_it_held() {
        let root = tempfile::tempdir().unwrap();
        let silences = silences(root.path());
        assert!(!silences.changed());
        let id = add(&silences);
        assert!(silences.expire(id).unwrap());
        assert!(silences.changed(), "somebody ended it");
        assert!(!silences.changed(), "once");
        add(&silences);
        silences.all()[0].shown.ends_at = Utc::now();
        assert!(silences.changed(), "it ran out");
        assert!(!silences.changed(), "once");
    }

    #[test]
    fn whoever_brings_an_alert_does_not_wait_until_the_disk_has_a_silence() {
        let root = tempfile::tempdir().unwrap();
        let silences = Arc::new(silences(root.path()));
        let (asked, times) = (silences.clone(), Arc::new(AtomicUsize::new(0)));
        let count = times.clone();
        crate::spool::tests::meanwhile(move || {
            assert!(asked.all.try_lock().is_ok());
            count.fetch_add(1, Ordering::SeqCst);
        });
        let id = add(&silences);
        silences.expire(id).unwrap();
        add(&silences);
        silences.all()[0].shown.ends_at = Utc::now();
        silences.changed();
        assert_eq!(times.load(Ordering::SeqCst), 4, "two came, two went");
    }

    #[test]
    fn a_silence_whose_file_cannot_be_removed_is_over_all_the_same_and_once() {
        let root = tempfile::tempdir().unwrap();
        let silences = silences(root.path());
        let path = silences.folder.path(add(&silences));
        assert!(silences.changed());
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        silences.all()[0].shown.ends_at = Utc::now();
        assert!(silences.changed());
        // Simulates a clock that went back.
        silences.all()[0].shown.ends_at = Utc::now() + TimeDelta::hours(1);
        assert!(!silences.changed());
        let example = read(&example()).unwrap();
        assert!(silences.covering(&example).is_none());
    }
}

//! The state of alerts over a restart: since when each is pending or firing, and which notifications were sent.
//!
//! What the console scraped is forgotten with it, so an alert that fired goes on firing for a while ([`GRACE_MS`]) until its rule
//! can say again whether it should.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, ensure};
use nix::fcntl::OFlag;
use owned::{Owner, Place};
use promql::Labels;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::alert::{Alert, State};
use super::group::Running;
use crate::log;

/// After this long without evaluations the state is discarded, as in Prometheus (`--rules.alert.for-outage-tolerance`).
const MAX_OUTAGE_MS: i64 = 3_600_000;

/// Notifications older than this are discarded at the start, like those of Alertmanager's notification log
/// (`--data.retention`).
const TOLD_KEPT_MS: i64 = 120 * 3_600_000;

/// The shortest windows of the rules that ship are full again by then.
const GRACE_MS: i64 = 60_000;

/// Written no less often, so that it says how long nothing was evaluated.
const MAX_AGE_MS: i64 = 60_000;

/// The largest file.
const MAX_FILE: u64 = 16 << 20;

/// The content of the file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct File {
    /// The time of the last evaluation.
    at_ms: i64,
    alerts: Vec<RuleAlert>,
    #[serde(default)]
    told: Vec<NotifiedAlert>,
}

/// An alert that a rule knows.
#[derive(Debug, Serialize, Deserialize)]
struct RuleAlert {
    group: String,
    alert: String,
    query: String,
    /// How many rules of the group before it have the same name and expression.
    #[serde(default)]
    after: usize,
    #[serde(flatten)]
    saved: Saved,
}

/// An alert that fires as far as its receiver knows.
#[derive(Debug, Serialize, Deserialize)]
struct NotifiedAlert {
    told_ms: i64,
    #[serde(flatten)]
    saved: Saved,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Saved {
    labels: BTreeMap<String, String>,
    annotations: Vec<(String, String)>,
    /// `None` if it is not a number.
    value: Option<f64>,
    state: State,
    active_ms: i64,
    fired_ms: Option<i64>,
    keep_firing_since_ms: Option<i64>,
    resolved_ms: Option<i64>,
}

/// The file and its last content: a shared handle, of the rules and of the notifier.
#[derive(Debug, Clone)]
pub(super) struct StateFile(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    file: File,
    written_ms: i64,
    /// A digest of the alerts, without their values.
    written: u64,
    is_failing: bool,
}

impl StateFile {
    /// Reads the file of an earlier run. A file that cannot be read is logged and ignored.
    pub fn open(path: &Path) -> Self {
        let file = read(path).unwrap_or_else(|why| {
            let fields = json!({"file": path, "error": format!("{why:#}")});
            log::warn("alerts of before cannot be read, they begin anew", fields);
            None
        });
        Self(Arc::new(Mutex::new(Inner {
            path: path.to_owned(),
            file: file.unwrap_or_default(),
            written_ms: i64::MIN,
            written: 0,
            is_failing: false,
        })))
    }

    /// Restores the alerts of an earlier run.
    pub fn restore(&self, groups: &mut [Running], now_ms: i64) {
        let file = &self.lock().file;
        if now_ms - file.at_ms <= MAX_OUTAGE_MS {
            restore(file, groups, now_ms);
        }
    }

    /// The alerts that receivers were notified of, and when.
    pub fn notified(&self, now_ms: i64) -> Vec<(i64, Alert)> {
        let inner = self.lock();
        let told = inner.file.told.iter();
        let told = told.filter(|one| now_ms - one.told_ms <= TOLD_KEPT_MS);
        told.map(|one| (one.told_ms.min(now_ms), one.saved.clone().into()))
            .collect()
    }

    /// Writes the alerts if they have changed.
    pub fn keep(&self, groups: &[Running], at_ms: i64) {
        let now = changes(groups);
        let mut inner = self.lock();
        let age_ms = at_ms - inner.written_ms.max(0);
        if now == inner.written && (0..MAX_AGE_MS).contains(&age_ms) {
            return;
        }
        (inner.written, inner.written_ms) = (now, at_ms);
        inner.file.alerts = groups.iter().flat_map(of_rules).collect();
        inner.file.at_ms = at_ms;
        inner.write();
    }

    /// Writes what receivers have been told.
    pub fn save_notified(&self, told: Vec<(i64, Alert)>) {
        let told = told.into_iter().map(|(told_ms, alert)| NotifiedAlert {
            told_ms,
            saved: Saved::from(&alert),
        });
        let mut inner = self.lock();
        inner.file.told = told.collect();
        inner.write();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// A failure is said once.
    fn write(&mut self) {
        let written = write(&self.path, &self.file);
        if let (Err(why), false) = (&written, self.is_failing) {
            let fields = json!({"file": self.path, "error": format!("{why:#}")});
            log::warn("alerts cannot be kept for the next start", fields);
        }
        self.is_failing = written.is_err();
    }
}

fn read(path: &Path) -> Result<Option<File>> {
    if !path.exists() {
        return Ok(None);
    }
    let file = owned::open(path, OFlag::O_RDONLY, Owner::of_this_process())?;
    let mut text = String::new();
    file.take(MAX_FILE + 1).read_to_string(&mut text)?;
    ensure!(
        text.len() as u64 <= MAX_FILE,
        "larger than {MAX_FILE} bytes"
    );
    Ok(Some(serde_json::from_str(&text)?))
}

fn write(path: &Path, file: &File) -> Result<()> {
    let text = serde_json::to_vec(file)?;
    ensure!(
        text.len() as u64 <= MAX_FILE,
        "it would be larger than {MAX_FILE} bytes"
    );
    let place = Place::of(path, Owner::of_this_process())?;
    place
        .replace(&text, 0o600, None)
        .context("it cannot be written")
}

fn of_rules(group: &Running) -> Vec<RuleAlert> {
    let mut seen = BTreeMap::new();
    let all = group.by_rule().flat_map(|(rule, alerts)| {
        let alike = seen.entry((&rule.name, &rule.query)).or_insert(0);
        let after = *alike;
        *alike += 1;
        let saved = |alert: &Alert| RuleAlert {
            group: group.group.name.clone(),
            alert: rule.name.clone(),
            query: rule.query.clone(),
            after,
            saved: alert.into(),
        };
        alerts.0.values().map(saved).collect::<Vec<_>>()
    });
    all.collect()
}

impl From<&Alert> for Saved {
    fn from(alert: &Alert) -> Self {
        Self {
            labels: owned(&alert.labels),
            annotations: alert.annotations.to_vec(),
            value: Some(alert.value),
            state: alert.state,
            active_ms: alert.active_ms,
            fired_ms: alert.fired_ms,
            keep_firing_since_ms: alert.keep_firing_since_ms,
            resolved_ms: alert.resolved_ms,
        }
    }
}

impl From<Saved> for Alert {
    fn from(saved: Saved) -> Self {
        Self {
            labels: Labels::new(saved.labels),
            annotations: saved.annotations.into(),
            value: saved.value.unwrap_or(f64::NAN),
            state: saved.state,
            active_ms: saved.active_ms,
            fired_ms: saved.fired_ms,
            keep_firing_since_ms: saved.keep_firing_since_ms,
            resolved_ms: saved.resolved_ms,
            stays_until_ms: None,
        }
    }
}

fn owned(labels: &Labels) -> BTreeMap<String, String> {
    let labels = labels.iter();
    labels
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Differs when an alert comes, goes or changes its state.
fn changes(groups: &[Running]) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    for group in groups {
        for (rule, alerts) in group.by_rule() {
            for alert in alerts.0.values() {
                let of = (&group.group.name, &rule.name, &alert.labels);
                let since = (alert.active_ms, alert.fired_ms);
                let until = (alert.keep_firing_since_ms, alert.resolved_ms);
                (of, since, until).hash(&mut hasher);
            }
        }
    }
    hasher.finish()
}

/// Skips an alert whose rule has changed. Time without evaluations does not count as pending. A negative time means that the
/// clock has been set back.
fn restore(file: &File, groups: &mut [Running], now_ms: i64) {
    let outage_ms = now_ms - file.at_ms;
    for one in &file.alerts {
        let group = groups
            .iter_mut()
            .find(|group| group.group.name == one.group);
        let Some(alerts) = group.and_then(|group| group.of_rule(&one.alert, &one.query, one.after))
        else {
            continue;
        };
        let mut alert = Alert::from(one.saved.clone());
        match alert.state {
            _ if outage_ms < 0 => alert.shift(outage_ms),
            State::Pending => alert.active_ms += outage_ms,
            _ => {}
        }
        alert.stays_until_ms = Some(now_ms + GRACE_MS);
        alerts.0.insert(alert.labels.clone(), alert);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn alert(name: &str) -> Alert {
        let texts = [("summary".to_owned(), format!("{name} is high"))];
        let mut alert = Alert::new(Labels::new([("alertname", name)]), texts.into(), 1.5, 7);
        (alert.state, alert.fired_ms) = (State::Firing, Some(9));
        alert
    }

    #[test]
    fn what_was_told_is_known_for_five_days_and_alerts_of_rules_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        let now_ms = 1_000 * HOUR_MS;
        let old = (now_ms - 121 * HOUR_MS, alert("Old"));
        let new = (now_ms - 119 * HOUR_MS, alert("New"));
        let file = StateFile::open(&path);
        file.save_notified(vec![old, new]);
        file.keep(&[], now_ms);

        let file = StateFile::open(&path);
        let told = file.notified(now_ms);
        assert_eq!(told.len(), 1, "{told:?}");
        let ((told_ms, told), new) = (&told[0], alert("New"));
        assert_eq!(*told_ms, now_ms - 119 * HOUR_MS);
        assert_eq!(
            (&told.labels, &told.annotations),
            (&new.labels, &new.annotations)
        );
        assert_eq!(
            (told.state, told.fired_ms, told.active_ms),
            (State::Firing, Some(9), 7)
        );
        assert_eq!(file.lock().file.at_ms, now_ms);
    }

    #[test]
    fn a_file_that_would_be_too_large_is_not_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        let file = StateFile::open(&path);
        file.save_notified(vec![(5, alert("Small"))]);
        let mut large = alert("Large");
        large.annotations = [("text".to_owned(), "x".repeat(17 << 20))].into();
        file.save_notified(vec![(6, large)]);
        let told = StateFile::open(&path).notified(7);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].1.labels, alert("Small").labels);
    }
}

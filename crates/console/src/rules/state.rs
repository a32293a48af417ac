//! Alerts over a restart: since when each is pending or fires.
//!
//! What the console scraped is forgotten with it, so an alert that fired goes on firing for a while ([`GRACE_MS`]) until its rule
//! can say again whether it should.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use nix::fcntl::OFlag;
use owned::{Owner, Place};
use promql::Labels;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::alert::{Alert, State};
use super::group::Running;
use crate::log;

/// After this long without evaluations nothing is known any more, as in Prometheus (`--rules.alert.for-outage-tolerance`).
const MAX_OUTAGE_MS: i64 = 3_600_000;

/// The shortest windows of the rules that ship are full again by then.
const GRACE_MS: i64 = 60_000;

/// Written no less often, so that it says how long nothing was evaluated.
const MAX_AGE_MS: i64 = 60_000;

/// The largest file.
const MAX_FILE: u64 = 16 << 20;

/// What is written.
#[derive(Debug, Serialize, Deserialize)]
struct File {
    at_ms: i64,
    alerts: Vec<Saved>,
}

#[derive(Debug, Serialize, Deserialize, PartialEq)]
struct Saved {
    group: String,
    alert: String,
    query: String,
    labels: BTreeMap<String, String>,
    annotations: Vec<(String, String)>,
    /// None: no number.
    value: Option<f64>,
    state: State,
    active_ms: i64,
    fired_ms: Option<i64>,
    keep_firing_since_ms: Option<i64>,
    resolved_ms: Option<i64>,
}

/// The file, and what was written into it.
#[derive(Debug)]
pub(super) struct StateFile {
    path: PathBuf,
    written_ms: i64,
    /// Of the alerts, without their values.
    written: u64,
}

impl StateFile {
    /// Nothing has been written yet.
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            written_ms: i64::MIN,
            written: 0,
        }
    }

    /// Gives the groups the alerts of before. A file that cannot be read is said, and left out.
    pub fn restore(&self, groups: &mut [Running], now_ms: i64) {
        match self.read() {
            Ok(None) => {}
            Ok(Some(file)) if now_ms - file.at_ms > MAX_OUTAGE_MS => {}
            Ok(Some(file)) => restore(file, groups, now_ms),
            Err(why) => {
                let fields = json!({"file": self.path, "error": format!("{why:#}")});
                log::warn("alerts of before cannot be read, they begin anew", fields);
            }
        }
    }

    fn read(&self) -> Result<Option<File>> {
        if !self.path.exists() {
            return Ok(None);
        }
        let file = owned::open(&self.path, OFlag::O_RDONLY, Owner::of_this_process())?;
        let mut text = String::new();
        file.take(MAX_FILE + 1).read_to_string(&mut text)?;
        ensure!(
            text.len() as u64 <= MAX_FILE,
            "larger than {MAX_FILE} bytes"
        );
        Ok(Some(serde_json::from_str(&text)?))
    }

    /// Writes what has changed.
    pub fn keep(&mut self, groups: &[Running], at_ms: i64) {
        let alerts: Vec<Saved> = groups.iter().flat_map(saved).collect();
        let now = changes(&alerts);
        if now == self.written && at_ms - self.written_ms.max(0) < MAX_AGE_MS {
            return;
        }
        (self.written, self.written_ms) = (now, at_ms);
        if let Err(why) = self.write(&File { at_ms, alerts }) {
            let fields = json!({"file": self.path, "error": format!("{why:#}")});
            log::warn("alerts cannot be kept for the next start", fields);
        }
    }

    fn write(&self, file: &File) -> Result<()> {
        let text = serde_json::to_vec(file)?;
        let place = Place::of(&self.path, Owner::of_this_process())?;
        place
            .replace(&text, 0o600, None)
            .context("it cannot be written")
    }
}

fn saved(group: &Running) -> Vec<Saved> {
    let all = group.by_rule().flat_map(|(rule, alerts)| {
        let saved = |alert: &Alert| Saved {
            group: group.group.name.clone(),
            alert: rule.name.clone(),
            query: rule.query.clone(),
            labels: owned(&alert.labels),
            annotations: alert.annotations.to_vec(),
            value: Some(alert.value),
            state: alert.state,
            active_ms: alert.active_ms,
            fired_ms: alert.fired_ms,
            keep_firing_since_ms: alert.keep_firing_since_ms,
            resolved_ms: alert.resolved_ms,
        };
        alerts.0.values().map(saved).collect::<Vec<_>>()
    });
    all.collect()
}

fn owned(labels: &Labels) -> BTreeMap<String, String> {
    let labels = labels.iter();
    labels
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Differs when an alert comes, goes or changes its state.
fn changes(alerts: &[Saved]) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    for one in alerts {
        (&one.group, &one.alert, &one.labels, one.active_ms).hash(&mut hasher);
        (one.fired_ms, one.keep_firing_since_ms, one.resolved_ms).hash(&mut hasher);
    }
    hasher.finish()
}

/// An alert of a rule that has changed is left out.
fn restore(file: File, groups: &mut [Running], now_ms: i64) {
    let outage_ms = (now_ms - file.at_ms).max(0);
    for one in file.alerts {
        let group = groups
            .iter_mut()
            .find(|group| group.group.name == one.group);
        let Some(alerts) = group.and_then(|group| group.of_rule(&one.alert, &one.query)) else {
            continue;
        };
        let alert = alert(one, outage_ms, now_ms);
        alerts.0.insert(alert.labels.clone(), alert);
    }
}

/// Time in which nobody looked does not count as pending.
fn alert(saved: Saved, outage_ms: i64, now_ms: i64) -> Alert {
    let is_pending = saved.state == State::Pending;
    Alert {
        labels: Labels::new(saved.labels),
        annotations: saved.annotations.into(),
        value: saved.value.unwrap_or(f64::NAN),
        state: saved.state,
        active_ms: saved.active_ms + if is_pending { outage_ms } else { 0 },
        fired_ms: saved.fired_ms,
        keep_firing_since_ms: saved.keep_firing_since_ms,
        resolved_ms: saved.resolved_ms,
        stays_until_ms: Some(now_ms + GRACE_MS),
    }
}

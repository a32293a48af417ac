//! Evaluates the bundled rules (`alerts/rules/demo.yml`), or those of a file, over scraped and received metrics, as
//! Prometheus does.

mod alert;
mod answer;
mod file;
mod group;
#[cfg(test)]
mod history;
mod notify;
mod objectives;
mod rehearsal;
mod state;
mod template;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use chrono::Utc;
use serde_json::json;
use tokio::sync::watch;

use crate::counters::Counters;
use crate::log;
use crate::series::RETENTION;
use crate::settings::Notify;
pub(crate) use answer::configure;
use file::Kind;
use group::Running;
pub(crate) use group::{Data, GroupReport};
pub(crate) use notify::Notifier;
pub use rehearsal::Rehearsal;
use state::StateFile;

/// A clock that goes back by less is only made to keep time.
const SET_BACK_MS: i64 = 2_000;

/// Rules that have been read, and are to be evaluated.
#[derive(Debug)]
pub(crate) struct Rules {
    groups: Vec<Running>,
    /// The times for which they were evaluated last.
    last: Vec<i64>,
    /// When it was looked last which of them are due.
    looked_ms: i64,
    reports: Reports,
    state: Option<StateFile>,
}

/// The results of the evaluations: a shared handle.
#[derive(Debug, Clone)]
pub(crate) struct Reports(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The path of the rules.
    file: String,
    /// One report per group.
    reports: Mutex<Vec<Arc<GroupReport>>>,
    /// How often an evaluation gave other alerts than the one before.
    changes: AtomicU64,
}

/// Whether rules can be used.
///
/// # Errors
/// As of a console that is started with them: what is wrong with the file, by line, or by group and rule.
pub fn check_rules(path: &Path) -> Result<()> {
    Rules::load(Some(path)).map(drop)
}

impl Rules {
    /// Reads the rules of a file; without a file, the bundled ones.
    ///
    /// # Errors
    /// What is wrong with the file, by line, or by group and rule.
    pub fn load(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else {
            let (name, text) = file::SHIPPED;
            return Self::parse(name, text);
        };
        let name = path.display().to_string();
        let size = std::fs::metadata(path).with_context(|| format!("--rules {name}"))?;
        if size.len() > file::MAX_FILE {
            return Err(anyhow!(
                "--rules {name}: larger than {} bytes",
                file::MAX_FILE
            ));
        }
        let text = std::fs::read_to_string(path).with_context(|| format!("--rules {name}"))?;
        Self::parse(&name, &text).context("--rules")
    }

    fn parse(name: &str, text: &str) -> Result<Self> {
        let groups = file::parse(text).map_err(|why| anyhow!("{name}: {why}"))?;
        let groups: Vec<Running> = groups.into_iter().map(Running::new).collect();
        let reports = groups.iter().map(|group| Arc::new(group.report()));
        let reports = Reports(Arc::new(Inner {
            file: name.to_owned(),
            reports: Mutex::new(reports.collect()),
            changes: AtomicU64::default(),
        }));
        let now_ms = now_ms();
        Ok(Self {
            last: vec![now_ms; groups.len()],
            looked_ms: now_ms,
            groups,
            reports,
            state: None,
        })
    }

    /// Restores the alerts from the file, if it has any, and saves them there from now on.
    pub fn keeping(mut self, path: Option<&Path>) -> Self {
        self.state = path.map(StateFile::open);
        if let Some(state) = &self.state {
            state.restore(&mut self.groups, now_ms());
        }
        for (index, group) in self.groups.iter_mut().enumerate() {
            self.reports.set(index, group.restored());
        }
        self
    }

    /// Names of recorded series at which rules look back for longer than samples are kept otherwise, and how long they do.
    pub fn lasting(&self) -> (BTreeSet<String>, Duration) {
        let rules = || self.groups.iter().flat_map(|group| &group.group.rules);
        let records = rules().filter(|rule| matches!(rule.kind, Kind::Record(_)));
        let recorded: BTreeSet<&str> = records.map(|rule| rule.name.as_str()).collect();
        let reads = rules().flat_map(|rule| looks_back(&rule.expression));
        let lasting = reads.filter(|(name, time)| *time > RETENTION && recorded.contains(name));
        let (names, times): (BTreeSet<_>, Vec<_>) =
            lasting.map(|(name, time)| (name.to_owned(), time)).unzip();
        (names, times.into_iter().max().unwrap_or_default())
    }

    /// The reports of the rules.
    pub fn reports(&self) -> Reports {
        self.reports.clone()
    }

    /// The notifier for the alerts of these rules.
    pub fn notifier(
        &self,
        notify: Notify,
        counters: Counters,
        external_url: String,
        ending: watch::Receiver<()>,
    ) -> Notifier {
        Notifier {
            ending,
            reports: self.reports.clone(),
            state: self.state.clone(),
            notify,
            counters,
            external_url,
        }
    }

    /// Evaluates each group once per interval, forever; one at a time, and not on the threads that answer requests. The
    /// caller drops (aborts) it at the end.
    pub async fn run(mut self, data: Data) {
        loop {
            let pause = until_next(&self.groups);
            tokio::time::sleep(pause).await;
            let data = data.clone();
            let job = move || {
                self.evaluate_due(&data, now_ms);
                self
            };
            match tokio::task::spawn_blocking(job).await {
                Ok(back) => self = back,
                Err(why) => {
                    let fields = json!({"error": why.to_string()});
                    return log::warn("the rules are evaluated no more", fields);
                }
            }
        }
    }

    /// Evaluates the groups that are due.
    fn evaluate_due(&mut self, data: &Data, now_ms: impl Fn() -> i64) {
        self.follow_the_clock(data, now_ms());
        for (index, group) in self.groups.iter_mut().enumerate() {
            let now_ms = now_ms();
            let at_ms = now_ms - now_ms.rem_euclid(group.group.interval_ms);
            let last_ms = &mut self.last[index];
            if at_ms > *last_ms {
                let intervals = (at_ms - *last_ms) / group.group.interval_ms;
                let missed = intervals.saturating_sub(1).max(0).unsigned_abs();
                *last_ms = at_ms;
                self.reports.set(index, group.evaluate(data, at_ms, missed));
            }
        }
        if let Some(state) = &self.state {
            state.keep(&self.groups, now_ms());
        }
    }

    /// After the clock has been set back, shifts all earlier times to the new clock. Otherwise no group would be due, and no
    /// sample new enough, until the clock reaches the old time again.
    fn follow_the_clock(&mut self, data: &Data, now_ms: i64) {
        let by_ms = now_ms - std::mem::replace(&mut self.looked_ms, now_ms);
        if by_ms > -SET_BACK_MS {
            return;
        }
        let fields = json!({"seconds": -by_ms / 1_000});
        log::warn(
            "the clock has been set back: samples and alerts of before are moved with it",
            fields,
        );
        data.series.shift(by_ms);
        self.last.iter_mut().for_each(|last_ms| *last_ms += by_ms);
        self.groups.iter_mut().for_each(|group| group.shift(by_ms));
    }
}

fn now_ms() -> i64 {
    Utc::now().timestamp_millis()
}

/// The metrics that an expression names, and how far it looks back at each.
fn looks_back(expression: &promql::Expression) -> impl Iterator<Item = (&str, Duration)> {
    let now = promql::Steps {
        start_ms: 0,
        end_ms: 0,
        step_ms: 1,
    };
    let reads = expression.reads(now, promql::Limits::default().look_back_ms);
    reads.into_iter().filter_map(|read| {
        let name = read
            .matchers
            .iter()
            .find_map(|matcher| match &matcher.test {
                promql::Test::Text(name) if matcher.name == promql::NAME && !matcher.negated => {
                    Some(name)
                }
                _ => None,
            })?;
        let back_ms = u64::try_from(read.after_ms.saturating_neg());
        Some((
            name.as_str(),
            Duration::from_millis(back_ms.unwrap_or_default()),
        ))
    })
}

/// How long until some group is due.
fn until_next(groups: &[Running]) -> Duration {
    let now_ms = now_ms();
    let due = groups.iter().map(|group| {
        let interval_ms = group.group.interval_ms;
        interval_ms - now_ms.rem_euclid(interval_ms)
    });
    Duration::from_millis(due.min().unwrap_or(60_000).max(1).unsigned_abs())
}

impl Reports {
    fn set(&self, index: usize, report: GroupReport) {
        if let Some(known) = self.lock().get_mut(index) {
            let has_changed = !known.has_alerts_of(&report);
            self.0
                .changes
                .fetch_add(u64::from(has_changed), Ordering::Relaxed);
            *known = Arc::new(report);
        }
    }

    /// How often an evaluation gave other alerts than the one before, or the same in other states.
    pub fn changes(&self) -> u64 {
        self.0.changes.load(Ordering::Relaxed)
    }

    /// Of each group.
    pub fn all(&self) -> Vec<Arc<GroupReport>> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<GroupReport>>> {
        let reports = &self.0.reports;
        reports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;

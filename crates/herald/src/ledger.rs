//! The ledger: how many alerts people got, how many of them were right, and how long detection, acknowledgement and
//! resolution took. It is computed from the history, so that it survives restarts, and a new verdict changes it.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::metrics::Severity;
use crate::payload::{Payload, Status};
use crate::text::{one_line, shortened};

/// What the metrics cover.
pub(crate) const WINDOW: TimeDelta = TimeDelta::days(7);

/// Alerts that are listed by name; the names come from outside.
const MAX_ROWS: usize = 100;

/// Characters of a name.
const MAX_NAME: usize = 200;

/// What the ledger needs of an episode and the last notification does not tell. It is kept in the episode's file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Milestones {
    /// Name of the first alert of the first notification.
    alert: String,
    severity: Severity,
    /// When the first alert of the first notification began to fire.
    started: DateTime<Utc>,
    /// When the first target got a notification that it fires.
    delivered: Option<DateTime<Utc>>,
    /// Whether a silence held it back before that.
    held_back: bool,
    /// When somebody first acknowledged it.
    acknowledged: Option<DateTime<Utc>>,
}

impl Milestones {
    /// None if the first notification says that it is over: herald does not know when people heard of it.
    pub(crate) fn new(first: &Payload) -> Option<Self> {
        (first.status == Status::Firing).then(|| Self {
            alert: shortened(&one_line(first.name()), MAX_NAME),
            severity: Severity::of(first.label("severity")),
            started: first.started(),
            delivered: None,
            held_back: false,
            acknowledged: None,
        })
    }

    /// A target has got a notification that it fires.
    pub(crate) fn deliver(&mut self, now: DateTime<Utc>, silenced: bool) {
        if self.delivered.is_none() {
            (self.delivered, self.held_back) = (Some(now), silenced);
        }
    }

    pub(crate) fn acknowledge(&mut self, now: DateTime<Utc>) {
        self.acknowledged.get_or_insert(now);
    }
}

impl Severity {
    fn of(label: Option<&str>) -> Self {
        let known = Self::ALL
            .into_iter()
            .find(|one| Some(one.as_str()) == label);
        known.unwrap_or(Self::Other)
    }
}

/// An episode.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) milestones: Milestones,
    pub(crate) ended: Option<DateTime<Utc>>,
    pub(crate) true_alarm: Option<bool>,
}

impl Entry {
    pub(crate) fn began_since(&self, since: DateTime<Utc>) -> bool {
        self.milestones.started >= since
    }

    /// Two clocks are compared, so the difference may be negative.
    fn to_detect(&self) -> Option<f64> {
        let Milestones { started, .. } = self.milestones;
        let told = self.milestones.delivered?;
        (!self.milestones.held_back).then(|| seconds(told - started).max(0.0))
    }

    /// The page of the alert may have been read before the delivery.
    fn to_acknowledge(&self) -> Option<f64> {
        let told = self.milestones.delivered?;
        Some(seconds(self.milestones.acknowledged? - told).max(0.0))
    }

    /// An end before the start measures nothing.
    fn to_resolve(&self) -> Option<f64> {
        self.milestones.delivered?;
        let time = seconds(self.ended? - self.milestones.started);
        (time >= 0.0).then_some(time)
    }
}

fn seconds(time: TimeDelta) -> f64 {
    time.as_seconds_f64()
}

/// The numbers of several episodes. Verdicts and times are of those that were delivered.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Numbers {
    delivered: usize,
    pub(crate) undelivered: usize,
    pub(crate) true_alarms: usize,
    pub(crate) false_alarms: usize,
    pub(crate) unjudged: usize,
    /// Of those that were judged.
    false_alarm_share: Option<f64>,
    pub(crate) time_to_detect: Option<Times>,
    pub(crate) time_to_acknowledge: Option<Times>,
    pub(crate) time_to_resolve: Option<Times>,
}

/// How long something took, in seconds. A quantile is the smallest time that this share of all does not exceed (nearest rank).
#[derive(Debug, Serialize)]
pub(crate) struct Times {
    count: usize,
    pub(crate) mean_s: f64,
    pub(crate) median_s: f64,
    pub(crate) p90_s: f64,
}

impl Numbers {
    fn of(entries: &[&Entry]) -> Self {
        let is_delivered = |entry: &&&Entry| entry.milestones.delivered.is_some();
        let delivered = entries.iter().filter(is_delivered).count();
        let judged = |verdict| {
            let delivered = entries.iter().filter(is_delivered);
            delivered.filter(|e| e.true_alarm == verdict).count()
        };
        let (true_alarms, false_alarms) = (judged(Some(true)), judged(Some(false)));
        let all_judged = true_alarms + false_alarms;
        let times = |time: fn(&Entry) -> Option<f64>| {
            Times::of(entries.iter().filter_map(|entry| time(entry)).collect())
        };
        Self {
            delivered,
            undelivered: entries.len() - delivered,
            true_alarms,
            false_alarms,
            unjudged: judged(None),
            false_alarm_share: (all_judged > 0).then(|| false_alarms as f64 / all_judged as f64),
            time_to_detect: times(Entry::to_detect),
            time_to_acknowledge: times(Entry::to_acknowledge),
            time_to_resolve: times(Entry::to_resolve),
        }
    }
}

impl Times {
    fn of(mut all: Vec<f64>) -> Option<Self> {
        all.sort_by(f64::total_cmp);
        let count = all.len();
        let rank = |tenths: usize| {
            all.get((count * tenths).div_ceil(10).checked_sub(1)?)
                .copied()
        };
        Some(Self {
            count,
            mean_s: all.iter().sum::<f64>() / count as f64,
            median_s: rank(5)?,
            p90_s: rank(9)?,
        })
    }
}

/// The numbers of a severity, or of an alert of that severity.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    #[serde(skip_serializing_if = "Option::is_none")]
    alert: Option<String>,
    pub(crate) severity: Severity,
    #[serde(flatten)]
    pub(crate) numbers: Numbers,
}

/// One row for each severity.
pub(crate) fn by_severity<'a>(entries: impl Iterator<Item = &'a Entry>) -> Vec<Row> {
    let entries: Vec<&Entry> = entries.collect();
    let row = |severity| {
        let entries = entries.iter().copied();
        let own: Vec<&Entry> = entries
            .filter(|e| e.milestones.severity == severity)
            .collect();
        Row {
            alert: None,
            severity,
            numbers: Numbers::of(&own),
        }
    };
    Severity::ALL.into_iter().map(row).collect()
}

/// One row for each alert and severity, those that were delivered most often first, and how many rows there are more.
pub(crate) fn by_alert<'a>(entries: impl Iterator<Item = &'a Entry>) -> (Vec<Row>, usize) {
    let mut named: BTreeMap<(&str, &str), Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        let Milestones {
            alert, severity, ..
        } = &entry.milestones;
        named
            .entry((alert, severity.as_str()))
            .or_default()
            .push(entry);
    }
    let mut rows: Vec<Row> = named
        .into_iter()
        .map(|((alert, _), entries)| Row {
            alert: Some(alert.to_owned()),
            severity: entries[0].milestones.severity,
            numbers: Numbers::of(&entries),
        })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse((row.numbers.delivered, row.numbers.undelivered)));
    let more = rows.len().saturating_sub(MAX_ROWS);
    rows.truncate(MAX_ROWS);
    (rows, more)
}

//! The record of an episode: a group of alerts, from its first firing notification to its resolved one.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::ledger::{Entry, Milestones};
use crate::payload::{self, Payload, Status};
use crate::queue::Stored;

/// The version of the file's format. Files of other versions are not read.
const SCHEMA: u32 = 1;

/// The maximum size of a stored notification, in bytes: a thousand must fit on a small disk, and a few dozen into an answer.
const MAX_PAYLOAD: usize = 64 << 10;

/// An episode, as it is kept on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    schema: u32,
    /// Key of the episode's first notification, and the file's name.
    #[serde(skip_deserializing)]
    pub(crate) id: Uuid,
    /// Key of the last one.
    pub(crate) last: Uuid,
    /// When herald took the first one.
    pub(crate) accepted: DateTime<Utc>,
    /// When the first of its alerts began, if the first notification named them all. With it is known whether a record that has
    /// no delivery can have missed one.
    #[serde(default)]
    pub(crate) began: Option<DateTime<Utc>>,
    /// When herald took the last one.
    pub(crate) updated: DateTime<Utc>,
    /// When herald took the one that says it is over.
    pub(crate) resolved: Option<DateTime<Utc>>,
    /// How many there were.
    pub(crate) notifications: u64,
    /// The last notification; shortened if it is large.
    pub(crate) payload: Payload,
    /// All alerts that fire in it.
    pub(crate) firing: Alerts,
    pub(crate) delivered: BTreeMap<String, Delivered>,
    pub(crate) silenced: Option<Silenced>,
    pub(crate) acknowledged: Option<Acknowledged>,
    pub(crate) verdict: Option<Verdict>,
    /// As in the last delivery.
    pub(crate) evidence: Option<Value>,
    /// As in the last delivery.
    #[serde(default)]
    pub(crate) diagnosis: Option<Value>,
    /// For the ledger. Records of before there was one have none.
    #[serde(default)]
    milestones: Option<Milestones>,
}

/// What a notification said of the cause.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) evidence: Value,
    pub(crate) diagnosis: Value,
}

/// A set of alerts. With one more alert, the group has grown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Alerts {
    /// Digests of labels and start. Another build of herald may compute others; then a repeat is delivered once more.
    digests: Vec<u64>,
    /// The number of alerts that Alertmanager or herald left out.
    left_out: u64,
}

/// A target has got it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Delivered {
    pub(crate) first: DateTime<Utc>,
    pub(crate) last: DateTime<Utc>,
    /// The firing alerts of the last notification that the target received.
    alerts: Alerts,
}

/// A silence held it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Silenced {
    /// The silence.
    pub(crate) id: Uuid,
    pub(crate) by: String,
    pub(crate) comment: String,
    pub(crate) until: DateTime<Utc>,
}

/// A person has acknowledged the alerts, so repeats are not delivered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Acknowledged {
    pub(crate) by: String,
    pub(crate) at: DateTime<Utc>,
    pub(crate) note: String,
    alerts: Alerts,
}

/// Whether the alert was right.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Verdict {
    pub(crate) true_alarm: bool,
    pub(crate) by: String,
    pub(crate) at: DateTime<Utc>,
}

/// The facts that decide whether a notification is delivered to a target.
#[derive(Debug, Clone, Default)]
pub(crate) struct TargetState {
    delivered: Option<Alerts>,
    acknowledged: Option<Alerts>,
    silenced: bool,
    began: Option<DateTime<Utc>>,
}

impl Alerts {
    pub(crate) fn of(payload: &Payload) -> Self {
        let digest = |alert: &payload::Alert| {
            let mut hasher = DefaultHasher::new();
            (&alert.labels, alert.starts_at).hash(&mut hasher);
            hasher.finish()
        };
        Self {
            digests: payload.firing().map(digest).collect(),
            left_out: payload.truncated_alerts,
        }
    }

    fn cover(&self, others: &Self) -> bool {
        let known = |digest| self.digests.contains(digest);
        others.left_out <= self.left_out && others.digests.iter().all(known)
    }
}

impl TargetState {
    /// Whether the target has got anything of the episode.
    pub(crate) fn is_delivered(&self) -> bool {
        self.delivered.is_some()
    }

    /// Whether a silence held it back and the target certainly received nothing: the history is complete since its alerts
    /// began.
    pub(crate) fn is_only_silenced(&self, complete_since: DateTime<Utc>) -> bool {
        let whole = self.began.is_some_and(|began| began > complete_since);
        self.silenced && self.delivered.is_none() && whole
    }

    /// Whether the person who acknowledged knew all firing alerts, and the target has received them.
    pub(crate) fn is_acknowledged(&self, payload: &Payload) -> bool {
        let alerts = Alerts::of(payload);
        let covered = |known: &Option<Alerts>| known.as_ref().is_some_and(|k| k.cover(&alerts));
        covered(&self.acknowledged) && covered(&self.delivered)
    }
}

impl Record {
    pub(crate) fn new(key: Uuid, stored: &Stored) -> Self {
        let Payload { alerts, .. } = &stored.payload;
        let all = stored.payload.truncated_alerts == 0;
        let began = alerts.iter().map(|alert| alert.starts_at).min();
        Self {
            schema: SCHEMA,
            id: key,
            last: Uuid::nil(),
            accepted: stored.accepted,
            began: began.filter(|_| all),
            updated: stored.accepted,
            resolved: None,
            notifications: 0,
            payload: stored.payload.clone(),
            firing: Alerts::default(),
            delivered: BTreeMap::new(),
            silenced: None,
            acknowledged: None,
            verdict: None,
            evidence: None,
            diagnosis: None,
            milestones: Milestones::new(&stored.payload),
        }
    }

    /// Reads a file.
    pub(crate) fn parse(id: Uuid, content: &[u8]) -> Result<Self, String> {
        let mut record: Self =
            serde_json::from_slice(content).map_err(|error| error.to_string())?;
        if record.schema != SCHEMA {
            return Err(format!("schema: {}; allowed: {SCHEMA}", record.schema));
        }
        let dates = [record.accepted, record.updated];
        record.payload.reread("accepted, updated", dates)?;
        record.id = id;
        Ok(record)
    }

    /// A notification of the episode, unless it is known.
    pub(crate) fn take(&mut self, key: Uuid, stored: &Stored) {
        if key <= self.last {
            return;
        }
        self.last = key;
        self.updated = stored.accepted;
        self.notifications += 1;
        self.firing = Alerts::of(&stored.payload);
        self.payload = stored.payload.clone();
        self.payload.shrink(MAX_PAYLOAD);
        if stored.payload.status == Status::Resolved {
            self.resolved.get_or_insert(stored.accepted);
        }
    }

    /// A target has got a notification of the episode.
    pub(crate) fn deliver(&mut self, target: &str, payload: &Payload, found: Option<Found>) {
        let now = Utc::now();
        let alerts = Alerts::of(payload);
        let first = self.delivered.get(target).map_or(now, |told| told.first);
        let delivered = Delivered {
            first,
            last: now,
            alerts,
        };
        self.delivered.insert(target.to_owned(), delivered);
        if let Some(milestones) = &mut self.milestones
            && payload.status == Status::Firing
        {
            milestones.deliver(now, self.silenced.is_some());
        }
        if let Some(found) = found {
            self.evidence = Some(found.evidence);
            self.diagnosis = Some(found.diagnosis);
        }
    }

    /// Acknowledges all that fires now. What comes later is not covered.
    pub(crate) fn acknowledge(&mut self, by: String, note: String) {
        let now = Utc::now();
        if let Some(milestones) = &mut self.milestones {
            milestones.acknowledge(now);
        }
        self.acknowledged = Some(Acknowledged {
            by,
            at: now,
            note,
            alerts: self.firing.clone(),
        });
    }

    /// The acknowledgement of all alerts that fire now.
    pub(crate) fn acknowledged_by(&self) -> Option<&Acknowledged> {
        let acknowledged = self.acknowledged.as_ref();
        acknowledged.filter(|acknowledged| acknowledged.alerts.cover(&self.firing))
    }

    /// When the last of its alerts ended, if it is over.
    pub(crate) fn ended(&self) -> Option<DateTime<Utc>> {
        self.resolved?;
        self.payload.alerts.iter().map(|alert| alert.ends_at).max()
    }

    /// Its line in the ledger.
    pub(crate) fn entry(&self) -> Option<Entry> {
        Some(Entry {
            milestones: self.milestones.clone()?,
            ended: self.ended(),
            true_alarm: self.verdict.as_ref().map(|verdict| verdict.true_alarm),
        })
    }

    pub(crate) fn target_state(&self, target: &str) -> TargetState {
        TargetState {
            delivered: self.delivered.get(target).map(|told| told.alerts.clone()),
            ..self.undelivered_state()
        }
    }

    /// The state of a target that has received nothing.
    pub(crate) fn undelivered_state(&self) -> TargetState {
        TargetState {
            delivered: None,
            acknowledged: self.acknowledged.as_ref().map(|known| known.alerts.clone()),
            silenced: self.silenced.is_some(),
            began: self.began,
        }
    }
}

//! Parses a notification within bounds: it drops the surplus while it reads, so that the result stays small whatever was
//! sent.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use telemetry::redact::{redact, redact_value};

use crate::payload::{Alert, Status};
use crate::text::shortened;

/// More alerts of one group are counted, not kept.
const MAX_ALERTS: usize = 50;

/// More labels of one alert are dropped, the last in the order of their names …
const MAX_LABELS: usize = 64;

/// … except for those that the notification is made from.
const NEEDED: [&str; 10] = [
    "alertname",
    "dashboard_url",
    "route",
    "runbook_url",
    "service",
    "service_name",
    "severity",
    "slo",
    "summary",
    "team",
];

/// Longer names and values are cut, in characters.
const MAX_TEXT: usize = 2000;

/// Labels or annotations.
pub(crate) type Labels = BTreeMap<String, String>;

/// The alerts that are kept, those that fire first.
#[derive(Debug, Clone, Default, PartialEq, Hash, Serialize)]
#[serde(transparent)]
pub(crate) struct Alerts {
    kept: Vec<Alert>,
    #[serde(skip)]
    left_out: u64,
}

impl Alerts {
    /// Leaves out those at the end.
    pub(crate) fn truncate(&mut self, most: usize) {
        self.left_out += self.kept.len().saturating_sub(most) as u64;
        self.kept.truncate(most);
    }

    pub(crate) fn iter_mut(&mut self) -> std::slice::IterMut<'_, Alert> {
        self.kept.iter_mut()
    }

    /// How many were left out since this was asked.
    pub(crate) fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }
}

impl Deref for Alerts {
    type Target = [Alert];

    fn deref(&self) -> &[Alert] {
        &self.kept
    }
}

impl<'de> Deserialize<'de> for Alerts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(AlertsVisitor)
    }
}

struct AlertsVisitor;

impl<'de> Visitor<'de> for AlertsVisitor {
    type Value = Alerts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Alerts, A::Error> {
        let (mut firing, mut resolved) = (Alerts::default(), Alerts::default());
        while let Some(alert) = all.next_element::<Alert>()? {
            let alerts = match alert.status {
                Status::Firing => &mut firing,
                Status::Resolved => &mut resolved,
            };
            alerts.kept.push(alert);
            alerts.truncate(MAX_ALERTS);
        }
        firing.kept.append(&mut resolved.kept);
        firing.left_out += resolved.left_out;
        firing.truncate(MAX_ALERTS);
        Ok(firing)
    }
}

/// Whether a label, or its absence, is as the sender wrote it: herald has neither cut nor dropped it.
pub(crate) fn is_as_sent(labels: &Labels, name: &str) -> bool {
    let needed = |name: &str| NEEDED.contains(&name);
    let others = labels.keys().filter(|name| !needed(name)).count();
    match labels.get(name) {
        Some(value) => value.chars().count() < MAX_TEXT,
        None => others < MAX_LABELS || needed(name),
    }
}

/// Drops what the notification is not made from.
pub(crate) fn keep_needed(labels: &mut Labels) {
    labels.retain(|name, _| NEEDED.contains(&name.as_str()));
}

/// For labels and annotations.
pub(crate) fn labels<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Labels, D::Error> {
    deserializer.deserialize_map(LabelsVisitor)
}

struct LabelsVisitor;

impl<'de> Visitor<'de> for LabelsVisitor {
    type Value = Labels;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut all: A) -> Result<Labels, A::Error> {
        let (mut needed, mut others) = (Labels::new(), Labels::new());
        while let Some((name, value)) = all.next_entry::<String, String>()? {
            // Redacts before it cuts, because half a secret is not recognised.
            let value = cut(&redact_value(&name, &value));
            let name = cut(&redact(&name));
            let labels = if NEEDED.contains(&name.as_str()) {
                &mut needed
            } else {
                &mut others
            };
            labels.insert(name, value);
            if others.len() > MAX_LABELS {
                others.pop_last();
            }
        }
        needed.append(&mut others);
        Ok(needed)
    }
}

/// For the keys that distinguish groups. They are not redacted, because two groups may differ only in a secret.
pub(crate) fn identity<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    String::deserialize(deserializer).map(|text| cut(&text))
}

/// For any other single text.
pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    String::deserialize(deserializer).map(|text| cut(&redact(&text)))
}

fn cut(text: &str) -> String {
    shortened(text, MAX_TEXT)
}

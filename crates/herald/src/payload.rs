//! Alertmanager's webhook, version 4.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use service::{ApiError, FieldError};
use telemetry::redact::{redact, redact_value};

use crate::text::shortened;

/// The only version there is.
const VERSION: &str = "4";

/// More alerts of one group are counted, not kept.
const MAX_ALERTS: usize = 50;

/// More labels of one alert are dropped.
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

/// Whether an alert, or any of a group, still fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// It fires.
    Firing,
    /// It is over.
    Resolved,
}

/// One notification: a group of alerts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Payload {
    /// Of the format.
    pub(crate) version: String,
    /// What identifies the group.
    pub(crate) group_key: String,
    /// How many alerts were left out, by Alertmanager or here.
    #[serde(default)]
    pub(crate) truncated_alerts: u64,
    /// Firing when any alert is.
    pub(crate) status: Status,
    #[serde(default)]
    pub(crate) receiver: String,
    /// What all alerts of the group share.
    #[serde(default, deserialize_with = "few")]
    pub(crate) common_labels: Labels,
    #[serde(default, deserialize_with = "few")]
    pub(crate) common_annotations: Labels,
    #[serde(default, rename = "externalURL")]
    pub(crate) external_url: String,
    /// At least one.
    pub(crate) alerts: Vec<Alert>,
}

/// One alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Alert {
    pub(crate) status: Status,
    #[serde(default, deserialize_with = "few")]
    pub(crate) labels: Labels,
    #[serde(default, deserialize_with = "few")]
    pub(crate) annotations: Labels,
    pub(crate) starts_at: DateTime<Utc>,
    /// The year 1 while it fires.
    #[serde(default)]
    pub(crate) ends_at: DateTime<Utc>,
    #[serde(default, rename = "generatorURL")]
    pub(crate) generator_url: String,
    #[serde(default)]
    pub(crate) fingerprint: String,
}

impl Payload {
    /// Reads a request's body. What cannot be understood is refused; what is only too much is cut.
    pub(crate) fn read(body: &[u8]) -> Result<Self, ApiError> {
        let mut payload: Self = service::parse_json(body)?;
        let mut errors = Vec::new();
        if payload.version != VERSION {
            let allowed = format!("allowed: \"{VERSION}\", as Alertmanager sends it");
            errors.push(FieldError::new("version", allowed));
        }
        if payload.alerts.is_empty() {
            errors.push(FieldError::new("alerts", "allowed: at least one alert"));
        }
        if !errors.is_empty() {
            return Err(ApiError::invalid(errors));
        }
        payload.bound();
        Ok(payload)
    }

    /// Of the first alert that fires, else of the first.
    pub(crate) fn lead(&self) -> &Alert {
        let firing = |alert: &&Alert| alert.status == Status::Firing;
        self.alerts
            .iter()
            .find(firing)
            .unwrap_or_else(|| &self.alerts[0])
    }

    /// A label of the whole group, else of the leading alert.
    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        let value = self
            .common_labels
            .get(name)
            .or_else(|| self.lead().labels.get(name))?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    /// The same for an annotation.
    pub(crate) fn annotation(&self, name: &str) -> Option<&str> {
        let value = self
            .common_annotations
            .get(name)
            .or_else(|| self.lead().annotations.get(name))?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    /// Name of the alert.
    pub(crate) fn name(&self) -> &str {
        self.label("alertname").unwrap_or("(alert without a name)")
    }

    /// The service that the alert is about, as the SLO rules and the causes name it.
    pub(crate) fn service(&self) -> Option<&str> {
        self.label("service").or_else(|| self.label("service_name"))
    }

    /// When the first of the alerts began to fire.
    pub(crate) fn started(&self) -> DateTime<Utc> {
        let firing = self
            .alerts
            .iter()
            .filter(|alert| self.status == Status::Resolved || alert.status == Status::Firing);
        firing
            .map(|alert| alert.starts_at)
            .min()
            .unwrap_or_else(|| self.lead().starts_at)
    }

    /// A file of it, and a message made from it, stay small whatever was sent.
    fn bound(&mut self) {
        let most = MAX_ALERTS.min(self.alerts.len());
        // Those that fire are kept.
        self.alerts
            .sort_by_key(|alert| alert.status == Status::Resolved);
        self.truncated_alerts += (self.alerts.len() - most) as u64;
        self.alerts.truncate(most);
        self.external_url = redact(&self.external_url).into_owned();
        for text in [
            &mut self.group_key,
            &mut self.receiver,
            &mut self.external_url,
        ] {
            cut(text);
        }
        bound_labels(&mut self.common_labels);
        bound_labels(&mut self.common_annotations);
        for alert in &mut self.alerts {
            alert.generator_url = redact(&alert.generator_url).into_owned();
            cut(&mut alert.generator_url);
            cut(&mut alert.fingerprint);
            bound_labels(&mut alert.labels);
            bound_labels(&mut alert.annotations);
        }
    }
}

/// Reads labels and keeps no more than will be kept in the end: half a million of them fit into a body.
fn few<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Labels, D::Error> {
    struct Few;
    impl<'de> Visitor<'de> for Few {
        type Value = Labels;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("texts by name")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
            let mut labels = Labels::new();
            while let Some((name, value)) = map.next_entry::<String, String>()? {
                if labels.len() < MAX_LABELS || NEEDED.contains(&name.as_str()) {
                    labels.insert(name, value);
                }
            }
            Ok(labels)
        }
    }
    deserializer.deserialize_map(Few)
}

fn bound_labels(labels: &mut Labels) {
    let mut room = MAX_LABELS;
    labels.retain(|name, _| {
        let needed = NEEDED.contains(&name.as_str());
        room = room.saturating_sub(usize::from(!needed));
        needed || room > 0
    });
    let kept = std::mem::take(labels).into_iter();
    *labels = kept
        .map(|(name, value)| {
            // Redacted first: half a secret is not recognised.
            let value = redact_value(&name, &value);
            (shortened(&name, MAX_TEXT), shortened(&value, MAX_TEXT))
        })
        .collect();
}

fn cut(text: &mut String) {
    *text = shortened(text, MAX_TEXT);
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What Alertmanager sends.
    pub(crate) fn example() -> Value {
        json!({
            "version": "4", "groupKey": "{}:{alertname=\"AvailabilityBurnRate\"}", "truncatedAlerts": 0,
            "status": "firing", "receiver": "herald", "groupLabels": {"alertname": "AvailabilityBurnRate"},
            "commonLabels": {"alertname": "AvailabilityBurnRate", "service": "gateway", "severity": "page", "team": "shop"},
            "commonAnnotations": {"summary": "too many errors", "runbook_url": "https://example.org/runbooks/a.md"},
            "externalURL": "http://alertmanager:9093",
            "alerts": [{
                "status": "firing", "labels": {"alertname": "AvailabilityBurnRate", "service": "gateway", "route": "/api/data"},
                "annotations": {"summary": "too many errors"}, "startsAt": "2026-11-25T02:00:00.5Z",
                "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "http://prometheus:9090/graph", "fingerprint": "a1"
            }]
        })
    }

    pub(crate) fn read(payload: &Value) -> Result<Payload, ApiError> {
        Payload::read(payload.to_string().as_bytes())
    }

    #[test]
    fn what_alertmanager_sends_is_understood() {
        let payload = read(&example()).unwrap();
        assert_eq!(payload.name(), "AvailabilityBurnRate");
        assert_eq!(payload.service(), Some("gateway"));
        assert_eq!(payload.label("route"), Some("/api/data"));
        assert_eq!(payload.annotation("summary"), Some("too many errors"));
        assert_eq!(
            payload.started().to_rfc3339(),
            "2026-11-25T02:00:00.500+00:00"
        );
        let kept = serde_json::to_vec(&payload).unwrap();
        assert_eq!(
            Payload::read(&kept).unwrap(),
            payload,
            "as it is kept on disk"
        );
    }

    #[test]
    fn another_version_and_an_empty_group_are_refused() {
        for (member, value) in [
            ("version", json!("5")),
            ("alerts", json!([])),
            ("status", json!("on fire")),
            ("commonLabels", json!({"a": 1})),
        ] {
            let mut payload = example();
            payload[member] = value;
            let error = read(&payload).unwrap_err();
            assert_eq!(error.kind().status, 422, "{member}");
            assert!(error.detail().starts_with(member), "{error}");
        }
        assert_eq!(Payload::read(b"{").unwrap_err().kind().status, 400);
        let deep = "[".repeat(100_000);
        assert_eq!(
            Payload::read(deep.as_bytes()).unwrap_err().kind().status,
            400
        );
    }

    #[test]
    fn too_much_is_cut_and_counted_not_refused() {
        let mut payload = example();
        let alert = payload["alerts"][0].clone();
        let mut alerts = vec![alert; 200];
        alerts[0]["status"] = json!("resolved");
        alerts[1]["labels"]["long"] = json!("é".repeat(100_000));
        for index in 0..300 {
            payload["commonLabels"][format!("a{index}")] = json!("x");
        }
        payload["alerts"] = json!(alerts);
        let payload = read(&payload).unwrap();
        assert_eq!((payload.alerts.len(), payload.truncated_alerts), (50, 150));
        assert!(
            payload
                .alerts
                .iter()
                .all(|alert| alert.status == Status::Firing)
        );
        assert_eq!(
            payload.label("service"),
            Some("gateway"),
            "what is needed stays"
        );
        assert!(
            payload.common_labels.len() < 80,
            "{}",
            payload.common_labels.len()
        );
        assert!(serde_json::to_vec(&payload).unwrap().len() < 100_000);
    }
}

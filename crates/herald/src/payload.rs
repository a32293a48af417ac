//! Alertmanager's webhook, version 4.

use chrono::{DateTime, Datelike, Utc};
use serde::{Deserialize, Serialize};
use service::{ApiError, FieldError};

pub(crate) use crate::bounded::Labels;
use crate::bounded::{self, Alerts};

/// The only version there is.
const VERSION: &str = "4";

/// The maximum size of the alerts, in bytes as stored with the data that they share; further alerts are left out. A few of
/// the largest groups must fit into little memory.
const MAX_SIZE_OF_ALERTS: usize = 256 << 10;

/// The error for a date that Alertmanager cannot send.
const DATES: &str = "allowed: the years 0 to 9999";

/// Whether an alert, or any of a group, still fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// The alert fires.
    Firing,
    /// The alert has resolved.
    Resolved,
}

/// One notification: a group of alerts.
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Payload {
    /// The version of the format.
    pub(crate) version: String,
    /// The identity of the group.
    #[serde(deserialize_with = "bounded::identity")]
    pub(crate) group_key: String,
    /// How many alerts were left out, by Alertmanager or here.
    #[serde(default)]
    pub(crate) truncated_alerts: u64,
    /// Firing when any alert is.
    pub(crate) status: Status,
    #[serde(default, deserialize_with = "bounded::text")]
    pub(crate) receiver: String,
    /// The labels that all alerts of the group share.
    #[serde(default, deserialize_with = "bounded::labels")]
    pub(crate) common_labels: Labels,
    #[serde(default, deserialize_with = "bounded::labels")]
    pub(crate) common_annotations: Labels,
    #[serde(default, rename = "externalURL", deserialize_with = "bounded::text")]
    pub(crate) external_url: String,
    /// At least one alert.
    pub(crate) alerts: Alerts,
}

/// One alert.
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Alert {
    pub(crate) status: Status,
    #[serde(default, deserialize_with = "bounded::labels")]
    pub(crate) labels: Labels,
    #[serde(default, deserialize_with = "bounded::labels")]
    pub(crate) annotations: Labels,
    pub(crate) starts_at: DateTime<Utc>,
    /// The year 1 while it fires.
    #[serde(default)]
    pub(crate) ends_at: DateTime<Utc>,
    #[serde(default, rename = "generatorURL", deserialize_with = "bounded::text")]
    pub(crate) generator_url: String,
    #[serde(default, deserialize_with = "bounded::text")]
    pub(crate) fingerprint: String,
}

impl Payload {
    /// Reads a request's body. It refuses a malformed one, and shortens one that is only too large.
    pub(crate) fn read(body: &[u8]) -> Result<Self, ApiError> {
        let mut payload: Self = service::parse_json(body)?;
        let errors = payload.errors();
        if !errors.is_empty() {
            return Err(ApiError::invalid(errors));
        }
        payload.bound();
        Ok(payload)
    }

    /// Validates a notification from a file, whose dates have these names: a file must not bring what a request could not.
    pub(crate) fn reread(&mut self, names: &str, dates: [DateTime<Utc>; 2]) -> Result<(), String> {
        if let Some(error) = self.errors().first() {
            return Err(format!("payload.{}: {}", error.field, error.message));
        }
        if !dates.iter().all(is_date) {
            return Err(format!("{names}: {DATES}"));
        }
        self.bound();
        Ok(())
    }

    /// The errors that Alertmanager would not make, and that would prevent a delivery.
    fn errors(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if self.version != VERSION {
            let allowed = format!("allowed: \"{VERSION}\", as Alertmanager sends it");
            errors.push(FieldError::new("version", allowed));
        }
        if self.alerts.is_empty() {
            errors.push(FieldError::new("alerts", "allowed: at least one alert"));
        }
        for (index, alert) in self.alerts.iter().enumerate() {
            for (name, date) in [("startsAt", alert.starts_at), ("endsAt", alert.ends_at)] {
                if !is_date(&date) {
                    errors.push(FieldError::new(format!("alerts[{index}].{name}"), DATES));
                }
            }
        }
        errors
    }

    /// Cuts the alerts to the maximum size and counts those that are left out; at least one remains.
    fn bound(&mut self) {
        self.bound_to(MAX_SIZE_OF_ALERTS);
    }

    /// Cuts the alerts to `most` bytes. If one alert exceeds that, it loses the fields that its name does not need.
    pub(crate) fn shrink(&mut self, most: usize) {
        self.bound_to(most);
        if size(self) > 2 * most {
            let alerts = self.alerts.iter_mut();
            let each = alerts.flat_map(|alert| [&mut alert.labels, &mut alert.annotations]);
            let shared = [&mut self.common_labels, &mut self.common_annotations];
            each.chain(shared).for_each(bounded::keep_needed);
        }
    }

    fn bound_to(&mut self, most: usize) {
        let mut size = size(&self.common_labels) + size(&self.common_annotations);
        let fits = |alert: &&Alert| {
            size += self::size(alert);
            size <= most
        };
        let fitting = self.alerts.iter().take_while(fits).count();
        self.alerts.truncate(fitting.max(1));
        self.truncated_alerts = self
            .truncated_alerts
            .saturating_add(self.alerts.take_left_out());
    }

    /// The alerts that fire.
    pub(crate) fn firing(&self) -> impl Iterator<Item = &Alert> {
        let alerts = self.alerts.iter();
        alerts.filter(|alert| alert.status == Status::Firing)
    }

    /// The first alert that fires, else the first one.
    pub(crate) fn lead(&self) -> &Alert {
        self.firing().next().unwrap_or_else(|| &self.alerts[0])
    }

    /// A label of the whole group, else of the leading alert.
    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        let value = self
            .common_labels
            .get(name)
            .or_else(|| self.lead().labels.get(name))?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    /// The annotation that all alerts share.
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
}

/// The size on disk: a control character takes six bytes.
fn size(part: &impl Serialize) -> usize {
    serde_json::to_vec(part).map_or(0, |json| json.len())
}

/// Whether others can write it, and a minute can be added.
pub(crate) fn is_date(date: &DateTime<Utc>) -> bool {
    (0..=9999).contains(&date.year())
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// An example of Alertmanager's body.
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
    fn what_alertmanager_would_not_send_is_refused() {
        let at = |member: &str, date: &str| {
            let mut alert = example()["alerts"][0].clone();
            alert[member] = date.into();
            json!([alert])
        };
        for (member, value) in [
            ("version", json!("5")),
            ("alerts", json!([])),
            ("status", json!("on fire")),
            ("commonLabels", json!({"a": 1})),
            ("alerts", at("startsAt", "+262142-12-31T23:59:59Z")),
            ("alerts", at("startsAt", "-262143-01-01T00:00:00Z")),
            ("alerts", at("startsAt", "+10000-01-01T00:00:00Z")),
            ("alerts", at("endsAt", "-0001-12-31T23:59:59Z")),
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
    fn the_first_and_the_last_date_of_alertmanager_are_taken() {
        for date in ["0000-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z"] {
            let mut payload = example();
            payload["alerts"][0]["startsAt"] = date.into();
            read(&payload).unwrap();
        }
    }

    #[test]
    fn much_text_leaves_alerts_out_but_never_the_first() {
        let mut payload = example();
        for index in 0..60 {
            payload["alerts"][0]["labels"][format!("a{index}")] = "v".repeat(2000).into();
        }
        payload["alerts"] = vec![payload["alerts"][0].clone(); 10].into();
        let bounded = read(&payload).unwrap();
        assert_eq!((bounded.alerts.len(), bounded.truncated_alerts), (2, 8));
        for index in 0..60 {
            payload["alerts"][0]["annotations"][format!("a{index}")] = "é".repeat(2000).into();
        }
        let bounded = read(&payload).unwrap();
        assert_eq!((bounded.alerts.len(), bounded.truncated_alerts), (1, 9));
        let kept = serde_json::to_vec(&bounded).unwrap();
        assert_eq!(
            Payload::read(&kept).unwrap(),
            bounded,
            "as it is kept on disk"
        );
    }

    #[test]
    fn what_takes_much_room_on_the_disk_leaves_alerts_out_too() {
        let mut payload = example();
        for index in 0..60 {
            payload["alerts"][0]["labels"][format!("a{index}")] = "\u{1}".repeat(400).into();
        }
        payload["alerts"] = vec![payload["alerts"][0].clone(); 10].into();
        let bounded = read(&payload).unwrap();
        assert_eq!((bounded.alerts.len(), bounded.truncated_alerts), (1, 9));
        assert!(serde_json::to_vec(&bounded).unwrap().len() <= MAX_SIZE_OF_ALERTS);

        // The shared data count towards the size.
        payload["alerts"] = vec![example()["alerts"][0].clone(); 10].into();
        for index in 0..60 {
            payload["commonLabels"][format!("a{index}")] = "\u{1}".repeat(800).into();
        }
        let bounded = read(&payload).unwrap();
        assert_eq!((bounded.alerts.len(), bounded.truncated_alerts), (1, 9));
    }

    #[test]
    fn secrets_are_redacted_before_they_are_cut() {
        let mut payload = example();
        let secret = format!("{} password=hunter2-and-more", "x".repeat(1985));
        payload["commonAnnotations"]["summary"] = secret.into();
        payload["alerts"][0]["labels"]["password"] = "hunter2".into();
        payload["externalURL"] = "http://admin:hunter2@alertmanager:9093".into();
        let payload = read(&payload).unwrap();
        let kept = serde_json::to_string(&payload).unwrap();
        assert!(!kept.contains("hunter2"), "{kept}");
        assert_eq!(Payload::read(kept.as_bytes()).unwrap(), payload);
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

//! The message to a target: a webhook gets it as defined here, Slack as text made from it.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::Serialize;
use slo::routing::ENVIRONMENT;
use telemetry::redact::redact;

use crate::diagnosis::Diagnosis;
use crate::evidence::Evidence;
use crate::links::{self, Links};
use crate::payload::{Alert, Labels, Payload, Status};
use crate::queue::Stored;
use crate::text::{one_line, shortened};

/// Version of the format.
const VERSION: &str = "1";

/// The most characters of a title. Slack takes 150.
const MAX_TITLE: usize = 140;

/// A notification with its evidence.
#[derive(Debug, Serialize)]
pub(crate) struct Notification<'a> {
    pub(crate) version: &'static str,
    /// The same key at every attempt, so that a receiver recognises a repeat.
    pub(crate) key: &'a str,
    pub(crate) status: Status,
    /// For a person, one line.
    pub(crate) title: String,
    pub(crate) summary: String,
    pub(crate) severity: &'a str,
    pub(crate) service: &'a str,
    pub(crate) team: &'a str,
    pub(crate) group_key: Cow<'a, str>,
    pub(crate) receiver: &'a str,
    /// When the first alert began to fire.
    pub(crate) started: DateTime<Utc>,
    /// When herald took it.
    pub(crate) accepted: DateTime<Utc>,
    pub(crate) alerts: Vec<OneAlert<'a>>,
    /// More of them, not listed.
    pub(crate) alerts_left_out: u64,
    /// None when all is over.
    pub(crate) diagnosis: Option<Diagnosis>,
    pub(crate) evidence: &'a Evidence,
    pub(crate) links: LinkList,
}

/// One alert of the group.
#[derive(Debug, Serialize)]
pub(crate) struct OneAlert<'a> {
    pub(crate) status: Status,
    pub(crate) labels: &'a Labels,
    pub(crate) annotations: &'a Labels,
    pub(crate) starts_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ends_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<String>,
}

/// The links of a notification.
#[derive(Debug, Default, Serialize)]
pub(crate) struct LinkList {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dashboard: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) runbook: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) logs: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) alertmanager: Option<String>,
    /// One link per trace of the evidence, in the same order.
    pub(crate) traces: Vec<String>,
}

impl<'a> Notification<'a> {
    /// Puts a notification together.
    pub(crate) fn new(stored: &'a Stored, evidence: &'a Evidence, links: &Links) -> Self {
        let payload = &stored.payload;
        let label = |name| payload.label(name).unwrap_or_default();
        let links = LinkList::new(stored, evidence, links);
        Self {
            version: VERSION,
            key: &stored.key,
            status: payload.status,
            title: headline(payload),
            summary: one_line(payload.annotation("summary").unwrap_or_default()),
            severity: label("severity"),
            service: payload.service().unwrap_or_default(),
            team: label("team"),
            // The unredacted key distinguishes groups, but it contains labels.
            group_key: redact(&payload.group_key),
            receiver: &payload.receiver,
            started: payload.started(),
            accepted: stored.accepted,
            alerts: payload.alerts.iter().map(OneAlert::new).collect(),
            alerts_left_out: payload.truncated_alerts,
            diagnosis: Diagnosis::of(payload, evidence, &links),
            evidence,
            links,
        }
    }
}

impl<'a> OneAlert<'a> {
    pub(crate) fn new(alert: &'a Alert) -> Self {
        Self {
            status: alert.status,
            labels: &alert.labels,
            annotations: &alert.annotations,
            starts_at: alert.starts_at,
            // While it fires, Alertmanager says the year 1.
            ends_at: (alert.status == Status::Resolved).then_some(alert.ends_at),
            source: links::safe(&alert.generator_url),
        }
    }
}

impl LinkList {
    fn new(stored: &Stored, evidence: &Evidence, links: &Links) -> Self {
        let payload = &stored.payload;
        let range = match &evidence.window {
            Some(window) => (window.start, window.end),
            None => (payload.started(), stored.accepted),
        };
        // Where no error was logged, as in a flood of warnings, errors would be an empty page.
        let lines_of = payload.service().filter(|_| evidence.log_lines.is_empty());
        Self {
            dashboard: payload
                .annotation("dashboard_url")
                .and_then(|text| links.dashboard(text)),
            runbook: payload
                .annotation("runbook_url")
                .and_then(|text| links.runbook(text)),
            logs: links.logs(lines_of, range),
            alertmanager: links::safe(&payload.external_url),
            traces: evidence
                .traces
                .iter()
                .filter_map(|trace| links.trace(&trace.trace_id, range))
                .collect(),
        }
    }
}

/// The title of a notification: `resolved: …` when all of its group is over.
fn headline(payload: &Payload) -> String {
    let over = match payload.status {
        Status::Resolved => "resolved: ",
        Status::Firing => "",
    };
    shortened(&format!("{over}{}", title(payload)), MAX_TITLE)
}

/// `[production] [page] AvailabilityBurnRate: gateway /api/data`.
pub(crate) fn title(payload: &Payload) -> String {
    let marks = [payload.label(ENVIRONMENT), payload.label("severity")];
    let marks = marks.into_iter().flatten();
    let marks: String = marks.map(|mark| format!("[{mark}] ")).collect();
    // What the rules write where an alert is about no route of its own.
    let route = payload
        .label("route")
        .filter(|route| !["all", "none"].contains(route));
    let about: Vec<&str> = [payload.service(), route].into_iter().flatten().collect();
    let about = if about.is_empty() {
        String::new()
    } else {
        format!(": {}", about.join(" "))
    };
    let title = format!("{marks}{}{about}", payload.name());
    shortened(&one_line(&title), MAX_TITLE)
}

//! Labels and annotations that every alert has.

use super::release;
use crate::diagnosis::{FIRST_ACTION, KIND};
use crate::{Action, CauseKind, Definition, Profile, Severity, Time};

/// Labels by which alerts are routed and inhibited; none is ever empty, since Alertmanager takes absent ones as equal.
pub(super) fn labels(
    severity: Severity,
    team: &str,
    slo: &str,
    service: &str,
    route: &str,
) -> Vec<(&'static str, String)> {
    vec![
        ("severity", severity.as_str().to_owned()),
        ("team", team.to_owned()),
        ("slo", slo.to_owned()),
        ("service", service.to_owned()),
        ("route", route.to_owned()),
    ]
}

/// What somebody who is told needs to know.
pub(super) struct Notification<'a> {
    pub alert: &'a str,
    pub summary: String,
    pub description: String,
    /// Uid and variables.
    pub dashboard: String,
    /// How much before the alert the dashboard starts.
    pub looks_back: Time,
    pub kind: CauseKind,
    pub first_action: Option<Action>,
    pub release: bool,
}

impl Notification<'_> {
    pub fn annotations(
        self,
        definition: &Definition,
        profile: &Profile,
    ) -> Vec<(&'static str, String)> {
        let (grafana, runbooks) = (
            definition.links.grafana.get_ref(),
            definition.links.runbooks.get_ref(),
        );
        let separator = if self.dashboard.contains('?') {
            '&'
        } else {
            '?'
        };
        // An absolute start: whoever opens the link later sees the incident, not the last hour.
        let from = format!(
            "{{{{ query \"(time() - {}) * 1000\" | first | value | printf \"%.0f\" }}}}",
            self.looks_back.seconds()
        );
        let dashboard = format!(
            "{}/d/{}{separator}from={from}&to=now",
            grafana.trim_end_matches('/'),
            self.dashboard
        );
        let runbook = format!("{}/{}.md", runbooks.trim_end_matches('/'), self.alert);
        let mut annotations = vec![
            ("summary", self.summary),
            ("description", self.description),
            ("dashboard_url", dashboard),
            ("runbook_url", runbook),
            (KIND, self.kind.to_string()),
        ];
        let action = self.first_action.iter();
        annotations.extend(action.map(|action| (FIRST_ACTION, action.to_string())));
        if self.release {
            annotations.push(("release", release::annotation(profile)));
        }
        annotations
    }
}

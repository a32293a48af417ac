//! What the alerts of a group say of themselves: annotations of their rules.

use slo::diagnosis::{FIRST_ACTION, KIND};
use slo::{Action, CauseKind};

use super::calls;
use crate::payload::{Alert, Payload};
use crate::text::quoted;

/// How long a name may be.
const NAME: usize = 60;

/// How long a summary may be.
const SUMMARY: usize = 200;

/// An alert that fires.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Declared {
    pub(super) service: String,
    /// What it calls, or depends on, if the alert is about that.
    pub(super) dependency: Option<String>,
    /// The dependency is another service.
    pub(super) calls_service: bool,
    pub(super) kind: CauseKind,
    pub(super) action: Option<Action>,
    pub(super) summary: String,
}

/// Those that fire. Rules of others say nothing: then the kind is unknown.
pub(super) fn all(payload: &Payload) -> Vec<Declared> {
    payload
        .firing()
        .map(|alert| declared(payload, alert))
        .collect()
}

fn declared(payload: &Payload, alert: &Alert) -> Declared {
    let annotation = |name: &str| {
        let all = [&alert.annotations, &payload.common_annotations];
        all.into_iter().find_map(|all| all.get(name))
    };
    let label = |name: &str| {
        let all = [&alert.labels, &payload.common_labels];
        let mut values = all.into_iter().filter_map(|all| all.get(name));
        values.find(|value| !value.is_empty())
    };
    let service = label("service").or_else(|| label("service_name"));
    let callee = label("service_peer_name");
    let dependency = callee.or_else(|| label("dependency"));
    let dependency = dependency.or_else(|| label("db_system_name"));
    let summary = annotation("summary").or_else(|| label("alertname"));
    Declared {
        service: quoted(service.map_or("unknown", |name| name), NAME),
        dependency: dependency.map(|name| quoted(calls::dependency(name), NAME)),
        calls_service: callee.is_some(),
        kind: annotation(KIND)
            .and_then(|name| CauseKind::named(name))
            .unwrap_or_default(),
        action: annotation(FIRST_ACTION).and_then(|name| Action::named(name)),
        summary: quoted(summary.map_or("it fires", |text| text), SUMMARY),
    }
}

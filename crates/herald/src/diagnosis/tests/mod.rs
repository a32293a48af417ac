//! Evidence, and what is concluded from it.

mod said;
mod seen;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use slo::CauseKind;

use super::*;
use crate::evidence::dependencies::{Edge, Kind};
use crate::evidence::locks::Lock;
use crate::evidence::releases::{Figures, Release, Releases};
use crate::evidence::rollback::RollBack;
use crate::evidence::services::{Answers, Instance, ServiceState};
use crate::evidence::trail::Trail;
use crate::payload::tests::{example, read};

const TRACE: &str = "http://jaeger.example/trace/ab";

fn call(kind: Kind, caller: &str, callee: &str) -> Edge {
    Edge::new(kind, caller.to_owned(), callee.to_owned())
}

/// Half of the calls fail.
fn fails(kind: Kind, caller: &str, callee: &str, error_type: &str) -> Edge {
    Edge {
        error_share: 0.5,
        error_type: error_type.to_owned(),
        ..call(kind, caller, callee)
    }
}

fn slow(kind: Kind, caller: &str, callee: &str, before: f64, now: f64) -> Edge {
    Edge {
        p95_s: Some(now),
        p95_before_s: Some(before),
        ..call(kind, caller, callee)
    }
}

fn trail(edge: Edge) -> Option<Trail> {
    let above = fails(Kind::Http, "gateway", &edge.caller, "503");
    Some(Trail {
        hops: vec![above, edge],
        hops_left_out: 0,
    })
}

fn failing(edge: Edge) -> Evidence {
    let mut evidence = Evidence::default();
    evidence.dependencies.failing = trail(edge);
    evidence
}

fn slowest(edge: Edge) -> Evidence {
    let mut evidence = Evidence::default();
    evidence.dependencies.slowest = trail(edge);
    evidence
}

fn state(service: &str) -> ServiceState {
    ServiceState {
        service: service.to_owned(),
        ..ServiceState::default()
    }
}

fn with(mut evidence: Evidence, state: ServiceState) -> Evidence {
    evidence.services.push(state);
    evidence
}

fn locked(mut evidence: Evidence, statement: &str, holder: &str) -> Evidence {
    evidence.locks.push(Lock {
        service: "data".to_owned(),
        statement: statement.to_owned(),
        holder: holder.to_owned(),
        waiting: 8,
    });
    evidence
}

fn released(mut evidence: Evidence, roll_back: RollBack) -> Evidence {
    let version = |version: &str| Figures {
        version: version.to_owned(),
        ..Figures::default()
    };
    let change = Release {
        service: "data".to_owned(),
        at: chrono::DateTime::UNIX_EPOCH,
        before: version("0.1.0"),
        now: version("0.2.0"),
        roll_back,
        reason: "its p95 is 22.5 times as long as before".to_owned(),
        fails_more: false,
    };
    evidence.releases = Some(Releases {
        changes: vec![change],
        ..Releases::default()
    });
    evidence
}

fn instances(each: [(f64, f64); 2]) -> ServiceState {
    let one = |(errors, p95)| Instance {
        requests: 10.0,
        errors,
        p95_s: Some(p95),
    };
    ServiceState {
        instances: BTreeMap::from([
            ("a".to_owned(), one(each[0])),
            ("b".to_owned(), one(each[1])),
        ]),
        ..state("data")
    }
}

fn with_statement(mut evidence: Evidence, p95_s: f64) -> Evidence {
    let statement = slow(
        Kind::Database,
        "data",
        "postgresql SELECT items",
        0.002,
        p95_s,
    );
    evidence.dependencies.statement = Some(statement);
    evidence
}

/// An alert about a service, and the annotations of its rule.
fn alert(service: &str, annotations: Value, labels: Value) -> Value {
    let mut payload = example();
    payload["commonLabels"] = json!({"alertname": "AnAlert", "service": service});
    payload["commonAnnotations"] = json!({});
    payload["alerts"][0]["labels"] = labels;
    payload["alerts"][0]["annotations"] = annotations;
    payload
}

fn of_kind(service: &str, kind: &str) -> Value {
    alert(
        service,
        json!({"kind": kind, "summary": "too many errors"}),
        json!({}),
    )
}

fn diagnosis(alert: &Value, evidence: &Evidence) -> Diagnosis {
    let links = LinkList {
        traces: vec![TRACE.to_owned()],
        ..LinkList::default()
    };
    Diagnosis::of(&read(alert).unwrap(), evidence, &links).unwrap()
}

/// `data/postgresql lock, end_session psql`.
fn concluded(alert: &Value, evidence: &Evidence) -> String {
    let Diagnosis {
        causes,
        first_action,
    } = diagnosis(alert, evidence);
    assert!((1..=SHOWN).contains(&causes.len()), "{causes:?}");
    for (at, cause) in causes.iter().enumerate() {
        assert!(
            !causes[..at].iter().any(|other| other.is_same(cause)),
            "{causes:?}"
        );
    }
    let cause = &causes[0];
    let place = [Some(cause.service.as_str()), cause.dependency.as_deref()];
    let place: Vec<&str> = place.into_iter().flatten().collect();
    let to = first_action
        .to
        .map_or_else(String::new, |to| format!(" to {to}"));
    format!(
        "{} {}, {} {}{to}",
        place.join("/"),
        cause.kind,
        first_action.action,
        first_action.target
    )
}

//! Evidence, and what is concluded from it.

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

#[test]
fn what_calls_show_is_followed_to_its_cause() {
    use Kind::{Database, Http, Pool};
    let http = |error_type| failing(fails(Http, "data", "downstream", error_type));
    let wait = "a connection of the pool requests";
    let pool = |error_type| failing(fails(Pool, "data", wait, error_type));
    let statement = |state| failing(fails(Database, "data", "postgresql SELECT items", state));
    for (evidence, expected) in [
        (http("500"), "downstream errors, look_at downstream"),
        (http("decode"), "downstream bad_answer, look_at downstream"),
        (http("body"), "downstream bad_answer, look_at downstream"),
        (http("connect"), "downstream down, restart downstream"),
        (
            http("connection"),
            "downstream connection, look_at downstream",
        ),
        (http("504"), "downstream unresponsive, restart downstream"),
        (
            http("timeout"),
            "downstream unresponsive, restart downstream",
        ),
        (pool("pool_timeout"), "data pool, look_at data"),
        (pool("connect"), "data/postgresql down, restart postgresql"),
        (
            pool("timeout"),
            "data/postgresql unresponsive, restart postgresql",
        ),
        (
            pool("53300"),
            "data/postgresql connections, end_session postgresql",
        ),
        (
            statement("55P03"),
            "data/postgresql lock, end_session postgresql",
        ),
        (
            statement("57014"),
            "data/postgresql slow_statement, look_at data",
        ),
        (
            statement("57P01"),
            "data/postgresql down, restart postgresql",
        ),
        (statement("23505"), "data/postgresql errors, look_at data"),
    ] {
        assert_eq!(
            concluded(&of_kind("gateway", "errors"), &evidence),
            expected
        );
    }
}

#[test]
fn what_takes_the_time_is_followed_to_its_cause() {
    use Kind::{Database, Http, Pool};
    let query = |now| slow(Database, "data", "postgresql SELECT items", 0.002, now);
    let wait = |now| {
        slow(
            Pool,
            "data",
            "a connection of the pool requests",
            0.001,
            now,
        )
    };
    for (evidence, expected) in [
        (
            slowest(slow(Http, "data", "downstream", 0.01, 0.6)),
            "downstream latency, look_at downstream",
        ),
        (
            slowest(query(0.6)),
            "data/postgresql slow_statement, look_at data",
        ),
        // It was always so, or is fast all the same: the fault is in the gateway.
        (
            slowest(slow(Http, "data", "downstream", 0.5, 0.6)),
            "gateway latency, look_at gateway",
        ),
        (slowest(query(0.02)), "gateway latency, look_at gateway"),
        (slowest(wait(2.0)), "data pool, look_at data"),
        // The connections are kept by statements that are slow.
        (
            with_statement(slowest(wait(2.0)), 0.5),
            "data/postgresql slow_statement, look_at data",
        ),
        (
            with_statement(slowest(wait(2.0)), 0.1),
            "data pool, look_at data",
        ),
    ] {
        assert_eq!(
            concluded(&of_kind("gateway", "latency"), &evidence),
            expected
        );
    }
}

#[test]
fn a_lock_is_behind_slow_statements_and_waits_for_connections() {
    let wait = || {
        slow(
            Kind::Pool,
            "data",
            "a connection of the pool requests",
            0.001,
            2.0,
        )
    };
    let update = || {
        slow(
            Kind::Database,
            "data",
            "postgresql UPDATE items",
            0.002,
            2.0,
        )
    };
    let latency = of_kind("gateway", "latency");
    let held = "data/postgresql lock, end_session psql";
    let own = "data/postgresql lock, look_at data";
    for (evidence, expected) in [
        (locked(slowest(update()), "UPDATE items", "psql"), held),
        (
            locked(with_statement(slowest(wait()), 0.5), "UPDATE items", "psql"),
            held,
        ),
        (locked(Evidence::default(), "UPDATE items", "psql"), held),
        (
            locked(slowest(update()), "UPDATE items", "omnitrace-data"),
            own,
        ),
        // Requests of one service wait for each other now and then.
        (
            locked(slowest(wait()), "UPDATE items", "omnitrace-data"),
            "data pool, look_at data",
        ),
        (
            locked(Evidence::default(), "UPDATE items", "omnitrace-data"),
            "gateway latency, look_at gateway",
        ),
    ] {
        assert_eq!(concluded(&latency, &evidence), expected);
    }
    let says_so = of_kind("data", "lock");
    let evidence = locked(Evidence::default(), "UPDATE items", "nightly export");
    assert_eq!(
        concluded(&says_so, &evidence),
        "data/postgresql lock, end_session nightly export"
    );
}

#[test]
fn the_state_of_a_service_tells_what_its_callers_cannot() {
    let timeout = || failing(fails(Kind::Http, "data", "downstream", "timeout"));
    let reset = || failing(fails(Kind::Http, "data", "downstream", "connection"));
    let late = || slowest(slow(Kind::Http, "gateway", "data", 0.01, 0.6));
    let errors = || failing(fails(Kind::Http, "gateway", "data", "500"));
    let answers = |service, answers| ServiceState {
        answers,
        ..state(service)
    };
    let traffic = |now, before| ServiceState {
        instances: BTreeMap::from([(
            "a".to_owned(),
            Instance {
                requests: now,
                ..Instance::default()
            },
        )]),
        requests_before: Some(before),
        ..state("gateway")
    };
    let cpus = |now, before| ServiceState {
        cpus: Some(now),
        cpus_before: Some(before),
        ..state("downstream")
    };
    let ended = || ServiceState {
        ended: true,
        ..state("downstream")
    };
    let without_database = ServiceState {
        dependencies_down: vec!["database".to_owned()],
        ..state("data")
    };
    let ended_pair = ServiceState {
        ended: true,
        ..instances([(5.0, 0.01), (0.0, 0.01)])
    };
    for (kind, evidence, expected) in [
        (
            "errors",
            with(timeout(), answers("downstream", Answers::Gone)),
            "downstream down, restart downstream",
        ),
        (
            "errors",
            with(reset(), answers("downstream", Answers::Silent)),
            "downstream unresponsive, restart downstream",
        ),
        (
            "errors",
            with(reset(), ended()),
            "downstream down, restart downstream",
        ),
        (
            "errors",
            with(reset(), state("downstream")),
            "downstream connection, look_at downstream",
        ),
        (
            "errors",
            with(Evidence::default(), answers("gateway", Answers::Silent)),
            "gateway unresponsive, restart gateway",
        ),
        (
            "errors",
            with(errors(), without_database),
            "data/postgresql down, restart postgresql",
        ),
        (
            "errors",
            with(timeout(), traffic(50.0, 5.0)),
            "gateway traffic, limit_load gateway",
        ),
        (
            "errors",
            with(timeout(), traffic(10.0, 5.0)),
            "downstream unresponsive, restart downstream",
        ),
        (
            "latency",
            with(late(), cpus(1.5, 0.1)),
            "downstream cpu, look_at downstream",
        ),
        (
            "latency",
            with(late(), cpus(1.5, 1.4)),
            "data latency, look_at data",
        ),
        (
            "latency",
            with(late(), instances([(0.0, 0.9), (0.0, 0.01)])),
            "data instance, look_at data",
        ),
        (
            "latency",
            with(late(), instances([(0.0, 0.9), (0.0, 0.8)])),
            "data latency, look_at data",
        ),
        (
            "errors",
            with(errors(), instances([(5.0, 0.01), (0.0, 0.01)])),
            "data instance, look_at data",
        ),
        (
            "errors",
            with(errors(), instances([(5.0, 0.01), (5.0, 0.01)])),
            "data errors, look_at data",
        ),
        (
            "errors",
            with(errors(), ended_pair),
            "data errors, look_at data",
        ),
    ] {
        assert_eq!(
            concluded(&of_kind("gateway", kind), &evidence),
            expected,
            "{evidence:#?}"
        );
    }
}

#[test]
fn what_an_alert_says_itself_stands_unless_evidence_says_more() {
    let says = |kind: &str, action: &str| {
        alert(
            "data",
            json!({"kind": kind, "first_action": action}),
            json!({}),
        )
    };
    let silent = ServiceState {
        answers: Answers::Silent,
        ..state("data")
    };
    let elsewhere = || failing(fails(Kind::Http, "data", "downstream", "500"));
    for (alert, evidence, expected) in [
        (
            says("disk", "free_space"),
            elsewhere(),
            "data disk, free_space data",
        ),
        (
            says("certificate", "renew"),
            elsewhere(),
            "data certificate, renew data",
        ),
        (
            says("clock", "set_clock"),
            elsewhere(),
            "data clock, set_clock data",
        ),
        (says("memory", ""), elsewhere(), "data memory, look_at data"),
        (
            says("down", "restart"),
            elsewhere(),
            "data down, restart data",
        ),
        (
            says("down", "restart"),
            with(Evidence::default(), silent),
            "data unresponsive, restart data",
        ),
        (
            says("queue", ""),
            elsewhere(),
            "downstream errors, look_at downstream",
        ),
        (
            says("readiness", ""),
            Evidence::default(),
            "data readiness, look_at data",
        ),
        // Rules of others have no annotations, or others.
        (
            says("hiccups", "pray"),
            Evidence::default(),
            "data unknown, look_at data",
        ),
        (
            says("hiccups", "pray"),
            elsewhere(),
            "downstream errors, look_at downstream",
        ),
    ] {
        assert_eq!(concluded(&alert, &evidence), expected);
    }
    let about = |labels: Value| alert("data", json!({"kind": "down"}), labels);
    let database = about(json!({"dependency": "database"}));
    let none = Evidence::default();
    assert_eq!(
        concluded(&database, &none),
        "data/postgresql down, restart postgresql"
    );
    let silent = failing(fails(
        Kind::Pool,
        "data",
        "a connection of the pool requests",
        "timeout",
    ));
    assert_eq!(
        concluded(&database, &silent),
        "data/postgresql unresponsive, restart postgresql"
    );
    let called = about(json!({"peer_service": "downstream"}));
    assert_eq!(
        concluded(&called, &none),
        "downstream down, restart downstream"
    );
}

#[test]
fn a_release_is_rolled_back_only_where_the_rules_advise_it_and_the_fault_is() {
    let query = || {
        slowest(slow(
            Kind::Database,
            "data",
            "postgresql SELECT items",
            0.002,
            0.6,
        ))
    };
    let elsewhere = || slowest(slow(Kind::Http, "data", "downstream", 0.01, 0.6));
    let latency = of_kind("gateway", "latency");
    let look = "data/postgresql slow_statement, look_at data";
    for (evidence, expected) in [
        (
            released(query(), RollBack::Advised),
            "data/postgresql slow_statement, roll_back data to 0.1.0",
        ),
        (released(query(), RollBack::Unclear), look),
        (released(query(), RollBack::NotAdvised), look),
        (
            released(elsewhere(), RollBack::Advised),
            "downstream latency, look_at downstream",
        ),
        // Somebody else holds the lock.
        (
            released(locked(query(), "SELECT items", "psql"), RollBack::Advised),
            "data/postgresql lock, end_session psql",
        ),
        // Nothing more exact is known.
        (
            released(Evidence::default(), RollBack::Advised),
            "data release, roll_back data to 0.1.0",
        ),
    ] {
        assert_eq!(concluded(&latency, &evidence), expected);
    }
    let advice = diagnosis(&latency, &released(query(), RollBack::Advised)).first_action;
    assert_eq!(
        advice.text,
        "Roll back data to 0.1.0: its p95 is 22.5 times as long as before."
    );
}

#[test]
fn of_several_alerts_the_one_that_knows_its_cause_comes_first() {
    let mut group = of_kind("gateway", "errors");
    let mut known = group["alerts"][0].clone();
    known["annotations"] =
        json!({"kind": "down", "first_action": "restart", "summary": "gateway is down"});
    group["alerts"].as_array_mut().unwrap().push(known);
    let elsewhere = failing(fails(Kind::Http, "gateway", "data", "503"));
    assert_eq!(
        concluded(&group, &elsewhere),
        "gateway down, restart gateway"
    );
    let kinds = |diagnosis: Diagnosis| {
        let kind = |cause: Cause| (cause.service, cause.kind);
        diagnosis.causes.into_iter().map(kind).collect::<Vec<_>>()
    };
    let (gateway, data) = ("gateway".to_owned(), "data".to_owned());
    assert_eq!(
        kinds(diagnosis(&group, &elsewhere)),
        [
            (gateway.clone(), CauseKind::Down),
            (data, CauseKind::Errors),
            (gateway, CauseKind::Errors)
        ]
    );
}

#[test]
fn missing_evidence_is_said_and_the_best_page_is_named() {
    let errors = of_kind("gateway", "errors");
    let Diagnosis {
        causes,
        first_action,
    } = diagnosis(&errors, &Evidence::none("no answer within 4500 ms"));
    assert_eq!(
        causes[0].why,
        "too many errors; evidence from prometheus, jaeger, loki is missing"
    );
    assert_eq!(
        first_action.text,
        format!("Look at gateway ({TRACE}): {}.", causes[0].why)
    );
    let mut over = errors;
    over["status"] = json!("resolved");
    let none = Diagnosis::of(
        &read(&over).unwrap(),
        &Evidence::default(),
        &LinkList::default(),
    );
    assert_eq!(none, None);
}

#[test]
fn foreign_texts_are_redacted_and_bounded() {
    let hostile = format!("mail ada@example.com\n{}", "x".repeat(2000));
    let alert = alert(
        &hostile,
        json!({"summary": hostile, "kind": hostile}),
        json!({"dependency": hostile}),
    );
    let json = serde_json::to_string(&diagnosis(&alert, &Evidence::default())).unwrap();
    assert!(!json.contains("ada@") && json.len() < 2000, "{json}");
}

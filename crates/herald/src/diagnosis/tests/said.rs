//! What an alert says itself, alone and beside evidence, releases and other alerts.

use super::*;

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
    let called = about(json!({"service_peer_name": "downstream"}));
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

#[test]
fn a_command_names_the_part_as_it_is_started() {
    let down = json!({"kind": "down", "first_action": "restart"});
    for (job, part) in [
        ("otel-collector", "collector"),
        ("postgres", "postgres-exporter"),
        ("jaeger", "jaeger"),
    ] {
        let told = diagnosis(&alert(job, down.clone(), json!({})), &Evidence::default());
        let command = format!("Restart {job} (`omnitrace restart {part}`)");
        let text = told.first_action.text;
        assert!(text.starts_with(&command), "{text}");
    }
}

//! What the evidence shows behind a symptom.

use super::*;
use crate::evidence::traces::FailedSpan;

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
            statement("53100"),
            "data/postgresql disk, free_space postgresql",
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
        requests: now,
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
            "readiness",
            with(Evidence::default(), traffic(50.0, 5.0)),
            "gateway readiness, look_at gateway",
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
fn a_trace_that_fails_sooner_than_slow_calls_end_does_not_fail_by_them() {
    let with_trace = |mut evidence: Evidence, duration_s| {
        evidence.traces = vec![crate::evidence::traces::Trace {
            failed: Some(failed_in("downstream")),
            duration_s,
            ..Default::default()
        }];
        evidence
    };
    let calls = || slowest(slow(Kind::Http, "gateway", "data", 0.06, 0.2));
    let errors = of_kind("gateway", "errors");
    for (kind, duration_s, expected) in [
        ("errors", 0.03, "downstream errors, look_at downstream"),
        ("errors", 0.2, "data latency, look_at data"),
        ("latency", 0.03, "data latency, look_at data"),
    ] {
        let evidence = with_trace(calls(), duration_s);
        assert_eq!(concluded(&of_kind("gateway", kind), &evidence), expected);
    }
    let mut evidence = with_trace(calls(), 0.03);
    let failing = failing(fails(Kind::Http, "gateway", "data", "503"));
    evidence.dependencies.failing = failing.dependencies.failing;
    assert_eq!(concluded(&errors, &evidence), "data errors, look_at data");
}

#[test]
fn where_no_call_is_measured_the_worst_trace_is_followed() {
    let trace = |failed| crate::evidence::traces::Trace {
        failed,
        ..Default::default()
    };
    let with_traces = |mut evidence: Evidence| {
        let failed = ["downstream", "data"].map(|service| Some(failed_in(service)));
        evidence.traces = [None].into_iter().chain(failed).map(trace).collect();
        evidence
    };
    let evidence = with_traces(Evidence::default());
    let probe_fails = of_kind("gateway", "errors");
    assert_eq!(
        concluded(&probe_fails, &evidence),
        "downstream errors, look_at downstream"
    );
    assert_eq!(
        concluded(&of_kind("gateway", "latency"), &evidence),
        "gateway latency, look_at gateway"
    );
    let calls = failing(fails(Kind::Http, "data", "payments", "500"));
    let calls = with_traces(calls);
    assert_eq!(
        concluded(&probe_fails, &calls),
        "payments errors, look_at payments"
    );
}

#[test]
fn a_failed_span_that_is_a_call_tells_of_what_it_called() {
    use Kind::{Database, Http, Pool};
    for (kind, callee, error_type, expected) in [
        (
            Http,
            "downstream",
            "connect",
            "downstream down, restart downstream",
        ),
        (
            Http,
            "downstream",
            "503",
            "downstream errors, look_at downstream",
        ),
        (
            Pool,
            "postgresql",
            "53300",
            "data/postgresql connections, end_session postgresql",
        ),
        (
            Pool,
            "postgresql",
            "pool_timeout",
            "data pool, look_at data",
        ),
        (
            Database,
            "postgresql",
            "53100",
            "data/postgresql disk, free_space postgresql",
        ),
    ] {
        let mut evidence = Evidence::default();
        evidence.traces = vec![crate::evidence::traces::Trace {
            failed: Some(FailedSpan {
                called: Some((kind, callee.to_owned())),
                error_type: error_type.to_owned(),
                ..failed_in("data")
            }),
            ..Default::default()
        }];
        assert_eq!(
            concluded(&of_kind("gateway", "errors"), &evidence),
            expected
        );
    }
}

#[test]
fn who_waits_in_vain_for_a_connection_waits_for_slow_statements() {
    let statement = "postgresql INSERT orders";
    let mut evidence = slowest(slow(Kind::Database, "data", statement, 0.004, 3.9));
    evidence.traces = vec![crate::evidence::traces::Trace {
        failed: Some(FailedSpan {
            called: Some((Kind::Pool, "postgresql".to_owned())),
            error_type: "pool_timeout".to_owned(),
            ..failed_in("data")
        }),
        duration_s: 2.8,
        ..Default::default()
    }];
    assert_eq!(
        concluded(&of_kind("gateway", "errors"), &evidence),
        "data/postgresql slow_statement, look_at data"
    );
}

fn failed_in(service: &str) -> FailedSpan {
    FailedSpan {
        service: service.to_owned(),
        ..Default::default()
    }
}

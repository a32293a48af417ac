//! Calls between services, from spans.

use std::time::SystemTime;

use serde_json::{Value, json};

use crate::harness::Running;
use crate::payload::{MS, span, traces};

const CLIENT: u8 = 3;

/// A span that ended just now, after so many milliseconds.
fn ended(trace: u128, id: u64, parent: Option<u64>, kind: u8, millis: u64) -> Value {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = u64::try_from(now.expect("after 1970").as_nanos()).expect("before 2554");
    let mut span = span(trace, id, parent, "work");
    span["kind"] = kind.into();
    span["startTimeUnixNano"] = (now - millis * MS).to_string().into();
    span["endTimeUnixNano"] = now.to_string().into();
    span
}

fn measured(count: u64, errors: u64, p95_us: u64) -> Value {
    json!({"count": count, "errors": errors, "p95_us": p95_us})
}

/// What is said of calls from one to another, or of one service.
fn said(all: &Value, about: &[(&str, Value)]) -> Value {
    let all = all.as_array().expect("a list");
    let found = all
        .iter()
        .find(|one| about.iter().all(|(key, value)| one[key] == *value))
        .unwrap_or_else(|| panic!("{about:?} in {all:?}"));
    json!({"count": found["count"], "errors": found["errors"], "p95_us": found["p95_us"]})
}

#[tokio::test]
async fn calls_are_counted_as_the_caller_sees_them() {
    let console = Running::start();
    for number in 1..=20 {
        let mut call = ended(number, 2, Some(1), CLIENT, 40 + number as u64);
        if number > 15 {
            call["status"] = json!({"code": 2});
        }
        let shop = vec![ended(number, 1, None, 2, 100), call];
        console.take("/v1/traces", &traces("shop", shop)).await;
        let mut statement = ended(number, 4, Some(3), CLIENT, 5);
        statement["attributes"] =
            json!([{"key": "db.system.name", "value": {"stringValue": "mariadb"}}]);
        let bank = vec![ended(number, 3, Some(2), 2, 30), statement];
        console.take("/v1/traces", &traces("bank", bank)).await;
    }
    let mut old = span(99, 1, None, "work");
    old["kind"] = 2.into();
    console.take("/v1/traces", &traces("old", vec![old])).await;
    // A clock that is an hour ahead.
    let mut early = ended(98, 1, None, 2, 1);
    for time in ["startTimeUnixNano", "endTimeUnixNano"] {
        let at: u64 = early[time]
            .as_str()
            .and_then(|at| at.parse().ok())
            .expect("a time");
        early[time] = (at + 3_600_000 * MS).to_string().into();
    }
    console
        .take("/v1/traces", &traces("ahead", vec![early]))
        .await;
    let answer = console.json("/api/calls").await;
    let (calls, services) = (&answer["calls"], &answer["services"]);
    let to_bank = [
        ("caller", json!("shop")),
        ("callee", json!("bank")),
        ("is_database", json!(false)),
    ];
    assert_eq!(said(calls, &to_bank), measured(20, 5, 59_000));
    let to_database = [
        ("caller", json!("bank")),
        ("callee", json!("mariadb")),
        ("is_database", json!(true)),
    ];
    assert_eq!(said(calls, &to_database), measured(20, 0, 5_000));
    assert_eq!(calls.as_array().map(Vec::len), Some(2), "{answer}");
    for (service, expected) in [
        ("shop", measured(20, 0, 100_000)),
        ("bank", measured(20, 0, 30_000)),
        // Both are there, and what they did was not in the last minute.
        ("old", json!({"count": 0, "errors": 0, "p95_us": null})),
        ("ahead", json!({"count": 0, "errors": 0, "p95_us": null})),
    ] {
        assert_eq!(said(services, &[("service", json!(service))]), expected);
    }
    assert_eq!(
        (&answer["seconds"], &answer["truncated"]),
        (&json!(60.0), &json!(false))
    );
}

#[tokio::test]
async fn names_that_a_sender_makes_up_are_no_more_than_a_map_can_show() {
    let console = Running::start();
    for number in 1..=300 {
        let name = format!("service {number}");
        let spans = vec![ended(number, 1, None, 2, 1)];
        console.take("/v1/traces", &traces(&name, spans)).await;
    }
    let long = "x".repeat(10_000);
    let spans = vec![ended(400, 1, None, 2, 1)];
    console.take("/v1/traces", &traces(&long, spans)).await;
    let answer = console.json("/api/calls").await;
    let services = answer["services"].as_array().expect("a list");
    assert_eq!(services.len(), 200);
    assert_eq!(answer["truncated"], true);
    assert!(!answer.to_string().contains(&long));
}

//! What sets some traces apart.

use serde_json::{Value, json};

use crate::harness::Running;
use crate::payload::{MS, START, span};

fn attribute(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

/// A trace of two spans, of which the second one has these attributes and a sender of this version.
fn trace(number: u128, millis: u64, version: &str, attributes: &[(&str, &str)]) -> Value {
    let mut root = span(number, 1, None, "GET /a");
    root["endTimeUnixNano"] = json!((START + millis * MS).to_string());
    let mut call = span(number, 2, Some(1), "SELECT");
    let sent = attributes.iter().map(|(key, value)| attribute(key, value));
    call["attributes"] = sent
        .chain([attribute("request.id", &number.to_string())])
        .collect();
    let of = |service: &str, version: &str, span: Value| json!({"resource": {"attributes": [attribute("service.name", service), attribute("service.version", version)]}, "scopeSpans": [{"spans": [span]}]});
    json!({"resourceSpans": [of("gateway", "1.0", root), of("data", version, call)]})
}

/// 400 fast traces, of which some have the new version, and 40 slow ones, which all have it; one of them has something that no other has.
async fn filled() -> Running {
    let console = Running::start();
    for number in 1..=440 {
        let is_slow = number % 11 == 0;
        let version = if is_slow || number % 40 == 1 {
            "0.2.0"
        } else {
            "0.1.0"
        };
        let odd = if number == 11 { "odd" } else { "usual" };
        let sku = if is_slow { "lamp" } else { "chair" };
        let attributes = [
            ("sku", sku),
            ("kind", odd),
            ("db.system.name", "postgresql"),
        ];
        let millis = if is_slow { 900 } else { 10 };
        console
            .take("/v1/traces", &trace(number, millis, version, &attributes))
            .await;
    }
    console
}

#[tokio::test]
async fn what_all_slow_traces_have_and_few_others_is_named_first() {
    let console = filled().await;
    for query in ["selection=slow", "min_duration=500ms&service=gateway"] {
        let answer = console.json(&format!("/api/differs?{query}")).await;
        assert_eq!(
            (&answer["selected"], &answer["rest"], &answer["truncated"]),
            (&json!(40), &json!(400), &json!(false)),
            "{query}"
        );
        let differs = answer["differs"].as_array().expect("a list");
        let named: Vec<_> = differs
            .iter()
            .map(|one| {
                (
                    one["kind"].as_str(),
                    one["key"].as_str(),
                    one["value"].as_str(),
                )
            })
            .collect();
        let expected = [
            (Some("attribute"), Some("sku"), Some("lamp")),
            (Some("version"), Some("service.version"), Some("0.2.0")),
        ];
        assert_eq!(named, expected, "{answer:#}");
        assert_eq!(differs[0]["service"], "data");
        assert_eq!(
            (&differs[1]["selected_share"], &differs[1]["rest"]),
            (&json!(1.0), &json!(10))
        );
        // Ids differ in each trace: they are not compared, and that is said.
        assert_eq!(answer["keys_left_out"], 1);
    }
    let nothing = console.json("/api/differs?selection=failed").await;
    assert_eq!(
        (&nothing["selected"], &nothing["differs"]),
        (&json!(0), &json!([]))
    );
}

#[tokio::test]
async fn hostile_names_are_told_as_they_are_and_do_not_fill_the_memory() {
    let console = Running::with_memory(8 << 20);
    let keys: Vec<String> = (0..120).map(|key| format!("<b>{key}</b>")).collect();
    for number in 1..=60 {
        let attributes: Vec<_> = keys.iter().map(|key| (key.as_str(), "x")).collect();
        let millis = if number <= 30 { 900 } else { 1 };
        let attributes = if number <= 30 { &attributes[..] } else { &[] };
        console
            .take("/v1/traces", &trace(number, millis, "1", attributes))
            .await;
    }
    let answer = console.json("/api/differs?min_duration=500ms").await;
    let differs = answer["differs"].as_array().expect("a list");
    assert_eq!(differs.len(), 50, "no more are told");
    assert_eq!(differs[0]["key"], "<b>0</b>");
    let bad = console.get("/api/differs?selection=odd").await;
    assert!(
        bad.status == 400 && bad.text().contains("'selection'"),
        "{}",
        bad.text()
    );
    console
        .until("/api/stats", |stats| stats["under_way_bytes"] == 0)
        .await;
}

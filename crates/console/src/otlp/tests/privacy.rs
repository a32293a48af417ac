//! Redaction of the data of foreign senders. The crate `redact` tests which texts are secrets; these tests check that every
//! text of every signal passes through it.

use super::*;
use crate::exposition::{self, Format};
use crate::model;

const SAID: &str = "mail ada@example.com, password=hunter2";
const SHOWN: &str = "mail [redacted], password=[redacted]";

fn said(key: &str) -> Value {
    json!({"key": key, "value": {"stringValue": SAID}})
}

#[test]
fn spans_are_redacted() {
    let attributes = json!([
        said("said"), said(SAID),
        {"key": "db.password", "value": {"stringValue": "plain"}},
        {"key": "otp", "value": {"intValue": 123_456}},
        {"key": "sid", "value": {"boolValue": true}},
        {"key": "list", "value": {"arrayValue": {"values": [{"stringValue": SAID}, {"intValue": 1}]}}},
        {"key": "map", "value": {"kvlistValue": {"values": [
            {"key": "accessToken", "value": {"stringValue": "plain"}},
            {"key": "deep", "value": {"kvlistValue": {"values": [said("said")]}}}]}}},
    ]);
    let batch = json_batch(
        Signal::Traces,
        &json!({"resourceSpans": [{
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": SAID}}, said("said")]},
            "scopeSpans": [{"scope": {"name": SAID}, "spans": [{
                "traceId": TRACE, "spanId": SPAN, "name": SAID, "status": {"code": 2, "message": SAID}, "attributes": attributes,
                "events": [{"name": SAID, "attributes": [said("said")]}],
                "links": [{"traceId": TRACE, "spanId": SPAN, "attributes": [said("said")]}]}]}]}]}),
    );
    let span = &batch.spans[0];
    let shown = Some(model::Value::Text(SHOWN));
    assert_eq!(
        [
            &span.name,
            &span.scope.name,
            &span.resource.service,
            &span.events[0].name
        ],
        [SHOWN; 4]
    );
    assert_eq!(span.status, Status::Error(SHOWN.into()));
    assert_eq!(span.resource.attributes.get("said"), shown);
    assert_eq!(
        [&span.events[0].attributes, &span.links[0].attributes].map(|of| of.get("said")),
        [shown; 2]
    );
    let attributes = span.attributes.iter();
    assert_eq!(
        Value::Object(
            attributes
                .map(|(key, value)| (key.into(), json!(value)))
                .collect()
        ),
        json!({"said": SHOWN, SHOWN: SHOWN, "db.password": "[redacted]", "otp": "[redacted]", "sid": true,
            "list": [SHOWN, 1], "map": {"accessToken": "[redacted]", "deep": {"said": SHOWN}}})
    );
}

#[test]
fn log_records_are_redacted() {
    let record = |body: Value| json!({"body": body, "severityText": SAID, "eventName": SAID, "attributes": [said("said")]});
    let map = json!({"kvlistValue": {"values": [said("said"), {"key": "pass", "value": {"stringValue": "plain"}}]}});
    let batch = json_batch(
        Signal::Logs,
        &json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [record(json!({"stringValue": SAID})), record(map)]}]}]}),
    );
    assert_eq!(batch.logs[0].body, SHOWN);
    assert_eq!(
        batch.logs[1].body,
        json!({"said": SHOWN, "pass": "[redacted]"}).to_string()
    );
    let everything = format!("{:?}", batch.logs);
    assert!(
        !everything.contains("ada@") && !everything.contains("hunter2"),
        "{everything}"
    );
}

#[test]
fn labels_are_redacted_whether_sent_or_scraped() {
    let attributes = json!([said("said"), {"key": "api_key", "value": {"stringValue": "plain"}}]);
    let batch = metrics_batch(&json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [
            {"name": "level", "gauge": {"dataPoints": [{"asDouble": 1.0, "attributes": attributes}]}}]}]}]}));
    let page = format!("level{{said=\"{SAID}\",api_key=\"plain\"}} 1\n");
    let mut scraped = Vec::new();
    exposition::parse(&page, Format::Prometheus, &mut |sample| {
        scraped.push(sample)
    })
    .expect("a page");
    for labels in [&batch.metrics[0].samples[0].labels, &scraped[0].labels] {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut labels = labels.clone();
        labels.sort();
        assert_eq!(labels, [pair("api_key", "[redacted]"), pair("said", SHOWN)]);
    }
}

#[test]
fn a_secret_across_the_cut_is_no_longer_readable() {
    for start in [
        values::MAX_TEXT - 300,
        values::MAX_TEXT - 20,
        values::MAX_TEXT - 3,
    ] {
        for secret in [
            format!("eyJhbGciOiJIUzI1NiJ9.eyJ{}.c2ln", "QUJD".repeat(400)),
            "4111111111111111".into(),
            "ada.lovelace@example.com".into(),
        ] {
            let sent = format!("{} {secret}", "x".repeat(start));
            let batch = json_span(
                json!({"traceId": TRACE, "spanId": SPAN, "attributes": [{"key": "k", "value": {"stringValue": sent}}]}),
            );
            let shown = batch.spans[0]
                .attributes
                .get("k")
                .and_then(model::Value::as_str)
                .expect("a text");
            assert!(
                !shown[start..].contains(&secret[..3]),
                "{}",
                &shown[start..]
            );
        }
    }
}

//! Tests of the waterfall over a store.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::model::{Event as SpanEvent, Link as SpanLink, Resource};
use crate::tree::tests::span;

const START: u64 = 1_700_000_000_000_000_000;

fn at(id: u64, parent: Option<u64>, start_us: u64, end_us: u64) -> Span {
    span(id, parent, START + start_us * 1_000, START + end_us * 1_000)
}

fn record(body: &str, at_us: u64, span_id: Option<u64>) -> LogRecord {
    LogRecord {
        time_ns: START + at_us * 1_000,
        resource: Arc::new(Resource {
            service: "shop".into(),
            attributes: Attributes::default(),
        }),
        scope: Arc::default(),
        observed_ns: 0,
        severity: "INFO".into(),
        severity_number: 0,
        severity_text: String::new(),
        flags: 0,
        body: body.into(),
        attributes: vec![("order_id".into(), json!("42"))].into(),
        trace_id: Some(TraceId(1)),
        span_id: span_id.map(SpanId),
    }
}

fn shown(store: &Store) -> Value {
    let trace = store.trace(TraceId(1)).expect("trace 1");
    let shown = waterfall(store, &trace, |_| Ok::<(), ()>(())).expect("room");
    serde_json::to_value(shown).expect("JSON")
}

#[test]
fn rows_carry_what_the_page_shows() {
    let store = Store::new(1 << 20);
    let mut child = at(2, Some(1), 100, 400);
    child.status = Status::Error("declined".into());
    child.attributes = vec![("code".into(), json!(402))].into();
    child.events = vec![SpanEvent {
        name: "retry".into(),
        time_ns: START + 150_500,
        attributes: Attributes::default(),
    }];
    child.links = vec![SpanLink {
        trace_id: TraceId(9),
        span_id: SpanId(9),
        ..SpanLink::default()
    }];
    store.add_spans(vec![child, at(1, None, 0, 1_000)]);
    store.add_logs(vec![
        record("late", 300, Some(2)),
        record("early", 200, Some(2)),
        record("stray", 5, Some(77)),
        record("none", 6, None),
    ]);
    let shown = shown(&store);
    assert_eq!(shown["complete"], true);
    assert_eq!(shown["start_us"], START / 1_000);
    assert_eq!(shown["duration_us"], 1_000.0);
    assert_eq!(
        (&shown["span_count"], &shown["error_count"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(shown["services"], json!(["shop"]));
    let critical = json!([{"offset_us": 0.0, "duration_us": 100.0}, {"offset_us": 400.0, "duration_us": 600.0}]);
    assert_eq!(shown["rows"][0]["critical"], critical);
    let row = &shown["rows"][1];
    assert_eq!(
        (&row["depth"], &row["status"], &row["status_message"]),
        (&json!(1), &json!("error"), &json!("declined"))
    );
    assert_eq!(row["attributes"], json!([{"key": "code", "value": 402}]));
    assert_eq!(row["events"][0]["offset_us"], 150.5);
    assert_eq!(row["links"][0]["known"], false);
    assert_eq!(
        [&row["logs"][0]["body"], &row["logs"][1]["body"]],
        ["early", "late"]
    );
    assert_eq!(
        [&shown["logs"][0]["body"], &shown["logs"][1]["body"]],
        ["stray", "none"]
    );
}

#[test]
fn links_are_seen_from_both_ends() {
    let store = Store::new(1 << 20);
    let mut sender = at(5, None, 0, 10);
    sender.trace_id = TraceId(2);
    sender.links = vec![SpanLink {
        trace_id: TraceId(1),
        span_id: SpanId(1),
        ..SpanLink::default()
    }];
    let mut root = at(1, None, 0, 10);
    root.links = vec![SpanLink {
        trace_id: TraceId(2),
        span_id: SpanId(5),
        ..SpanLink::default()
    }];
    store.add_spans(vec![root, sender]);
    let shown = shown(&store);
    let expected = json!([{"trace_id": TraceId(2).to_string(), "span_id": SpanId(5).to_string(), "service": "shop", "name": "span 5"}]);
    assert_eq!(shown["linked_from"], expected);
    assert_eq!(shown["rows"][0]["links"][0]["known"], true);
}

#[test]
fn hostile_traces_are_shown_whole() {
    let store = Store::new(1 << 28);
    let count = 5_000;
    let mut spans: Vec<Span> = (0..count)
        .map(|i| at(i + 1, (i > 0).then_some(i), i, 2 * count - i))
        .collect();
    spans.extend([
        at(90_001, Some(90_002), 1, 2),
        at(90_002, Some(90_001), 1, 2),
        at(90_003, Some(90_003), 1, 2),
    ]);
    let total = spans.len();
    store.add_spans(spans);
    let shown = shown(&store);
    assert_eq!(shown["rows"].as_array().map(Vec::len), Some(total));
    assert_eq!(shown["complete"], false);
    let roots = shown["rows"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|row| row["depth"] == 0)
        .count();
    assert_eq!(roots, 4);
}

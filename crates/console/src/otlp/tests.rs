mod bounds;
mod metrics;
mod privacy;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::MetricsData;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, span, status};
use prost::Message;
use serde_json::{Value, json};

use super::*;
use crate::model::{Kind, Status};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "00f067aa0ba902b7";

/// All parts of a request as one batch.
fn whole(signal: Signal, encoding: Encoding, body: &[u8]) -> Result<Batch, String> {
    check(signal, encoding, body)?;
    let mut whole = Batch::default();
    decode(signal, encoding, body, &mut |mut part| {
        whole.spans.append(&mut part.spans);
        whole.logs.append(&mut part.logs);
        whole.metrics.append(&mut part.metrics);
        whole.rejected.merge(part.rejected);
    });
    Ok(whole)
}

fn json_batch(signal: Signal, body: &Value) -> Batch {
    whole(signal, Encoding::Json, body.to_string().as_bytes())
        .unwrap_or_else(|why| panic!("{why}: {body}"))
}

/// Metrics as protobuf, written as JSON.
fn protobuf_of(metrics: &Value) -> Vec<u8> {
    let metrics: MetricsData = serde_json::from_value(metrics.clone()).expect("OTLP");
    metrics.encode_to_vec()
}

fn metrics_batch(metrics: &Value) -> Batch {
    let body = protobuf_of(metrics);
    whole(Signal::Metrics, Encoding::Protobuf, &body).expect("well-formed")
}

fn json_span(span: Value) -> Batch {
    json_batch(
        Signal::Traces,
        &json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}),
    )
}

fn text(text: &str) -> AnyValue {
    AnyValue {
        value: Some(Any::StringValue(text.into())),
    }
}

fn attribute(key: &str, value: AnyValue) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: Some(value),
        ..KeyValue::default()
    }
}

fn request(spans: Vec<Span>) -> Vec<u8> {
    let scope_spans = vec![ScopeSpans {
        spans,
        ..ScopeSpans::default()
    }];
    let resource_spans = vec![ResourceSpans {
        scope_spans,
        ..ResourceSpans::default()
    }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

fn proto_span(id: u8) -> Span {
    Span {
        trace_id: vec![1; 16],
        span_id: vec![id; 8],
        name: "work".into(),
        ..Span::default()
    }
}

fn traces(body: &[u8]) -> Result<Batch, String> {
    whole(Signal::Traces, Encoding::Protobuf, body)
}

fn reasons(batch: &Batch) -> Vec<(&'static str, u64)> {
    batch.rejected.reasons().collect()
}

#[test]
fn the_example_of_the_specification_is_read() {
    let batch = json_batch(
        Signal::Traces,
        &json!({"resourceSpans": [{
        "scopeSpans": [{"spans": [{
            "traceId": TRACE.to_uppercase(), "spanId": SPAN, "parentSpanId": "eee19b7ec3c1b173", "name": "I'm a server span",
            "startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": 1544712661000000000_u64, "kind": 2, "unknown": {"deep": [1]},
            "attributes": [{"key": "my.span.attr", "value": {"stringValue": "some value"}}],
            "events": [{"timeUnixNano": "2", "name": "b"}, {"timeUnixNano": "1", "name": "a"}],
            "links": [{"traceId": TRACE, "spanId": SPAN}, {"traceId": "", "spanId": SPAN}], "status": {"code": "STATUS_CODE_ERROR", "message": "no"}}],
            "scope": {"name": "my.library", "version": "1.0.0", "attributes": []}}],
        // Behind the spans, since JSON objects have no order.
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "my.service"}}]}}]}),
    );
    let span = &batch.spans[0];
    assert_eq!(
        (
            span.trace_id.to_string().as_str(),
            span.span_id.to_string().as_str()
        ),
        (TRACE, SPAN)
    );
    assert_eq!(
        (
            span.resource.service.as_str(),
            span.scope.name.as_str(),
            span.kind
        ),
        ("my.service", "my.library", Kind::Server)
    );
    assert_eq!(
        (span.duration_ns, &span.status),
        (1_000_000_000, &Status::Error("no".into()))
    );
    assert_eq!(
        span.attributes,
        Attributes::from(vec![
            ("my.span.attr".into(), json!("some value")),
            ("otel.dropped_links_count".into(), json!(1))
        ])
    );
    assert_eq!((span.events[0].name.as_str(), span.links.len()), ("a", 1));
    assert_eq!(batch.rejected.total(), 0);
}

#[test]
fn json_may_leave_out_and_null_anything() {
    let values = json!([
        {"key": "empty", "value": {}}, {"key": "null", "value": null}, {"key": "none"}, {"value": {"boolValue": true}},
        {"key": "int", "value": {"intValue": "-5"}}, {"key": "int2", "value": {"intValue": 7}}, {"key": "int3", "value": {"intValue": "7e0"}}, {"key": "nan", "value": {"doubleValue": "NaN"}},
        {"key": "array", "value": {"arrayValue": {}}}, {"key": "list", "value": {"kvlistValue": {"values": [{"key": "a", "value": {"doubleValue": 1}}]}}},
        {"key": "bytes", "value": {"bytesValue": "AQI="}}, {"key": "bytes2", "value": {"bytesValue": "-_8"}}, {"key": "future", "value": {"newValue": [1], "stringValue": "x"}}
    ]);
    let batch = json_span(
        json!({"traceId": TRACE, "spanId": SPAN, "parentSpanId": null, "name": null, "kind": "SPAN_KIND_CLIENT", "events": null, "attributes": values, "status": null}),
    );
    let attributes: Vec<Value> = batch.spans[0]
        .attributes
        .iter()
        .map(|(_, value)| json!(value))
        .collect();
    assert_eq!(
        json!(attributes),
        json!([null, null, null, true, -5, 7, 7, "NaN", [], {"a": 1.0}, "AQI=", "+/8=", "x"])
    );
    assert_eq!(batch.spans[0].kind, Kind::Client);
    for nothing in [
        json!({}),
        json!({"resourceSpans": null}),
        json!({"resourceSpans": [{"scopeSpans": null, "resource": null}]}),
    ] {
        assert!(json_batch(Signal::Traces, &nothing).spans.is_empty());
    }
}

#[test]
fn malformed_bodies_are_refused() {
    for bad in [
        "",
        "{",
        "[]",
        "null",
        "{\"resourceSpans\":[[1,2,3,4,5,6,7,8,9]]}",
        "{\"resourceSpans\":5}",
        "{\"resourceSpans\":[{\"scopeSpans\":7}]}",
        "\u{0}",
        "{} {}",
    ] {
        assert!(
            whole(Signal::Traces, Encoding::Json, bad.as_bytes()).is_err(),
            "{bad}"
        );
    }
    let good = request(vec![proto_span(1)]);
    for cut in 1..good.len() {
        assert!(traces(&good[..cut]).is_err(), "cut at {cut}");
    }
    for bad in [&b"hello world"[..], &[0x08, 1], &[0xff; 20], &[0x0b; 5_000]] {
        assert!(traces(bad).is_err(), "{bad:?}");
    }
    assert!(traces(&[]).is_ok());
}

#[test]
fn a_bad_item_costs_itself_only_and_is_explained() {
    for (bad, why) in [
        (
            json!({"traceId": TRACE, "spanId": SPAN, "kind": "no"}),
            "\"no\" is not known",
        ),
        (
            json!({"traceId": TRACE, "startTimeUnixNano": "x"}),
            "\"x\" is no integer",
        ),
        (
            json!({"traceId": TRACE, "spanId": SPAN, "name": 5}),
            "expected a string",
        ),
        (
            json!(["traceId", TRACE, "spanId", SPAN]),
            "expected an object",
        ),
    ] {
        let good = json!({"traceId": TRACE, "spanId": SPAN});
        let spans = json!([good, bad, good]);
        let body = json!({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]});
        let batch = json_batch(Signal::Traces, &body);
        assert_eq!(
            (batch.spans.len(), reasons(&batch)),
            (2, vec![("undecodable", 1)])
        );
        let said = batch.rejected.why().unwrap_or_default();
        assert!(said.contains(why), "{bad}: {said}");
    }
    let bad_text = [
        0x0a, 16, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0x2a, 1, 0xff,
    ];
    let good = proto_span(1).encode_to_vec();
    let spans = [&good[..], &bad_text, &good].map(|span| bounds::tagged(0x12, span));
    let body = bounds::tagged(0x0a, &bounds::tagged(0x12, &spans.concat()));
    let batch = traces(&body).expect("well-formed outside");
    assert_eq!(
        (batch.spans.len(), reasons(&batch)),
        (2, vec![("undecodable", 1)])
    );
    assert!(
        batch
            .rejected
            .why()
            .is_some_and(|why| why.contains("UTF-8"))
    );
}

#[test]
fn a_bad_sender_costs_its_items_only() {
    let span = json!({"traceId": TRACE, "spanId": SPAN});
    let group = |resource: Value| json!({"resource": resource, "scopeSpans": [{"spans": [span]}]});
    let groups = [
        group(json!({"attributes": 5})),
        group(json!({})),
        group(json!("x")),
    ];
    let batch = json_batch(Signal::Traces, &json!({"resourceSpans": groups}));
    assert_eq!(
        (batch.spans.len(), reasons(&batch)),
        (1, vec![("undecodable", 2)])
    );
}

#[test]
fn bad_ids_reject_the_span_only() {
    let mut spans = vec![proto_span(1); 6];
    spans[1].trace_id = vec![0; 16];
    spans[2].trace_id = vec![1; 8];
    spans[3].span_id = Vec::new();
    spans[4].parent_span_id = vec![1; 7];
    spans[5].parent_span_id = vec![0; 8];
    let batch = traces(&request(spans)).expect("well-formed");
    assert_eq!(batch.spans.len(), 2);
    assert_eq!(
        reasons(&batch),
        [
            ("invalid_parent_span_id", 1),
            ("invalid_span_id", 1),
            ("invalid_trace_id", 2)
        ]
    );
    let batch = json_span(json!({"traceId": "CvdlGRbNQ92ESOshHIAxnA==", "spanId": SPAN}));
    assert_eq!(reasons(&batch), [("invalid_trace_id", 1)]);
    assert_eq!(reasons(&json_span(json!({}))), [("empty_item", 1)]);
}

#[test]
fn logs_get_a_severity_and_a_time() {
    let batch = json_batch(
        Signal::Logs,
        &json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [
            {"timeUnixNano": "7", "severityText": "warn", "body": {"stringValue": "a"}, "traceId": TRACE, "spanId": SPAN},
            {"observedTimeUnixNano": "8", "severityNumber": 18, "severityText": "Oops", "body": {"kvlistValue": {"values": [{"key": "a", "value": {"intValue": 1}}]}}},
            {"severityNumber": "SEVERITY_NUMBER_DEBUG2", "traceId": "zz", "spanId": SPAN, "eventName": "e"},
            {"severityNumber": 17, "severityText": "INFO"},
            {"severityNumber": 25, "severityText": "Warning"}
        ]}]}]}),
    );
    let shown: Vec<_> = batch
        .logs
        .iter()
        .map(|log| {
            (
                log.severity.as_str(),
                log.body.as_str(),
                log.trace_id.is_some(),
                log.span_id.is_some(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("WARN", "a", true, true),
            ("ERROR", "{\"a\":1}", false, false),
            ("DEBUG", "", false, false),
            ("ERROR", "", false, false),
            ("WARN", "", false, false),
        ]
    );
    assert_eq!((batch.logs[0].time_ns, batch.logs[1].time_ns), (7, 8));
    assert!(batch.logs[2].time_ns > 1_000_000_000_000_000_000);
    assert_eq!(
        batch.logs[1].attributes,
        Attributes::from(vec![("log.severity_text".into(), json!("Oops"))])
    );
    assert_eq!(
        batch.logs[2].attributes,
        Attributes::from(vec![("event.name".into(), json!("e"))])
    );
}

#[test]
fn status_and_kind_of_the_future_are_harmless() {
    let status = Some(opentelemetry_proto::tonic::trace::v1::Status {
        code: 99,
        message: "?".into(),
    });
    let batch = traces(&request(vec![Span {
        kind: 77,
        status,
        ..proto_span(1)
    }]))
    .expect("well-formed");
    assert_eq!(
        (batch.spans[0].kind, &batch.spans[0].status),
        (Kind::Internal, &Status::Unset)
    );
    let ok = Some(opentelemetry_proto::tonic::trace::v1::Status {
        code: status::StatusCode::Ok.into(),
        ..Default::default()
    });
    let batch = traces(&request(vec![Span {
        status: ok,
        ..proto_span(1)
    }]))
    .expect("well-formed");
    assert_eq!(batch.spans[0].status, Status::Ok);
}

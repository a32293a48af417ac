use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::{Metric, MetricsData, ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, span, status};
use prost::Message;
use serde_json::{Value, json};

use super::*;
use crate::model::{Kind, Status};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "00f067aa0ba902b7";

fn json_batch(signal: Signal, body: &Value) -> Batch {
    decode(signal, Encoding::Json, body.to_string().as_bytes())
        .unwrap_or_else(|why| panic!("{why}: {body}"))
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
    decode(Signal::Traces, Encoding::Protobuf, body)
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
            span.scope.as_str(),
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
        [
            ("my.span.attr".into(), json!("some value")),
            ("otel.dropped_links_count".into(), json!(1))
        ]
    );
    assert_eq!((span.events[0].name.as_str(), span.links.len()), ("a", 1));
    assert_eq!(batch.rejected.total(), 0);
}

#[test]
fn json_may_leave_out_and_null_anything() {
    let values = json!([
        {"key": "empty", "value": {}}, {"key": "null", "value": null}, {"key": "none"}, {"value": {"boolValue": true}},
        {"key": "int", "value": {"intValue": "-5"}}, {"key": "int2", "value": {"intValue": 7}}, {"key": "nan", "value": {"doubleValue": "NaN"}},
        {"key": "array", "value": {"arrayValue": {}}}, {"key": "list", "value": {"kvlistValue": {"values": [{"key": "a", "value": {"doubleValue": 1}}]}}},
        {"key": "bytes", "value": {"bytesValue": "AQI="}}, {"key": "future", "value": {"newValue": [1], "stringValue": "x"}}
    ]);
    let batch = json_span(
        json!({"traceId": TRACE, "spanId": SPAN, "parentSpanId": null, "name": null, "kind": "SPAN_KIND_CLIENT", "events": null, "attributes": values, "status": null}),
    );
    let attributes: Vec<Value> = batch.spans[0]
        .attributes
        .iter()
        .map(|(_, value)| value.clone())
        .collect();
    assert_eq!(
        json!(attributes),
        json!([null, null, null, true, -5, 7, "NaN", [], {"a": 1.0}, "AQI=", "x"])
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
            decode(Signal::Traces, Encoding::Json, bad.as_bytes()).is_err(),
            "{bad}"
        );
    }
    for bad in [
        json!({"traceId": TRACE, "spanId": SPAN, "kind": "no"}),
        json!({"traceId": TRACE, "startTimeUnixNano": "x"}),
        json!({"traceId": TRACE, "name": 5}),
    ] {
        let body = json!({"resourceSpans": [{"scopeSpans": [{"spans": [bad]}]}]}).to_string();
        assert!(
            decode(Signal::Traces, Encoding::Json, body.as_bytes()).is_err(),
            "{body}"
        );
    }
    let whole = request(vec![proto_span(1)]);
    for cut in 1..whole.len() {
        assert!(traces(&whole[..cut]).is_err(), "cut at {cut}");
    }
    for bad in [&b"hello world"[..], &[0x08, 1], &[0xff; 20], &[0x0b; 5_000]] {
        assert!(traces(bad).is_err(), "{bad:?}");
    }
    assert!(traces(&[]).is_ok());
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
fn clocks_may_be_nonsense() {
    for (start, end, duration) in [
        (5, 3, 0),
        (0, u64::MAX, u64::MAX),
        (u64::MAX, u64::MAX, 0),
        (u64::MAX, 0, 0),
    ] {
        let span = Span {
            start_time_unix_nano: start,
            end_time_unix_nano: end,
            ..proto_span(1)
        };
        let batch = traces(&request(vec![span])).expect("well-formed");
        assert_eq!(
            (batch.spans[0].start_ns, batch.spans[0].duration_ns),
            (start, duration)
        );
    }
}

#[test]
fn values_are_bounded() {
    let mut nested = text("core");
    for _ in 0..12 {
        nested = AnyValue {
            value: Some(Any::ArrayValue(ArrayValue {
                values: vec![nested],
            })),
        };
    }
    let wide = AnyValue {
        value: Some(Any::ArrayValue(ArrayValue {
            values: vec![text("x"); 1_000],
        })),
    };
    let mut attributes = vec![
        attribute("long", text(&"é".repeat(20_000))),
        attribute("deep", nested),
        attribute("wide", wide),
    ];
    attributes.extend((0..200).map(|i| attribute(&format!("a{i}"), text("x"))));
    let many = Span {
        attributes,
        events: vec![span::Event::default(); 300],
        ..proto_span(1)
    };
    let batch = traces(&request(vec![many])).expect("well-formed");
    let span = &batch.spans[0];
    let of = |key: &str| {
        span.attributes
            .iter()
            .find(|(known, _)| known == key)
            .map(|(_, value)| value)
    };
    let long = of("long").and_then(Value::as_str).expect("a text");
    assert!(long.len() < 17_000 && long.ends_with("é… (cut)"));
    assert_eq!(
        of("deep").map(Value::to_string).as_deref(),
        Some("[[[[[[[[\"… (nested too deep)\"]]]]]]]]")
    );
    assert_eq!(
        of("wide").and_then(Value::as_array).map(Vec::len),
        Some(129)
    );
    assert_eq!(
        (
            of("otel.dropped_attributes_count"),
            of("otel.dropped_events_count")
        ),
        (Some(&json!(75)), Some(&json!(172)))
    );
    assert_eq!(span.attributes.len(), 130);
}

#[test]
fn nesting_without_end_is_refused_and_overflows_nothing() {
    // On a small stack, as threads of a runtime may have.
    let run = || {
        for levels in [10, 40, 60, 1_000, 5_000] {
            let mut nested = Vec::new();
            for _ in 0..levels {
                nested = [tagged(0x0a, &nested)].concat();
                nested = tagged(0x2a, &nested);
            }
            let attribute = tagged(0x4a, &[tagged(0x0a, b"k"), tagged(0x12, &nested)].concat());
            let span = [tagged(0x0a, &[1; 16]), tagged(0x12, &[1; 8]), attribute].concat();
            let result = traces(&tagged(0x0a, &tagged(0x12, &tagged(0x12, &span))));
            let is_too_large = |batch: &Batch| {
                batch
                    .rejected
                    .reasons()
                    .any(|(reason, _)| reason == protobuf::TOO_LARGE)
            };
            match levels {
                ..=40 => assert_eq!(result.expect("within the limit").spans.len(), 1),
                _ => assert!(result.as_ref().map_or(true, is_too_large), "{levels}"),
            }
            let json = "{\"arrayValue\":{\"values\":[".repeat(levels) + &"]}}".repeat(levels);
            let body = format!(
                "{{\"resourceSpans\":[{{\"scopeSpans\":[{{\"spans\":[{{\"attributes\":[{{\"value\":{json}}}]}}]}}]}}]}}"
            );
            let result = decode(Signal::Traces, Encoding::Json, body.as_bytes());
            match levels {
                ..=40 => assert_eq!(
                    reasons(&result.expect("within the limit")),
                    [("invalid_trace_id", 1)]
                ),
                _ => assert!(result.as_ref().map_or(true, is_too_large), "{levels}"),
            }
        }
    };
    let thread = std::thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(run)
        .expect("a thread");
    thread.join().expect("no overflow");
}

/// A length-delimited field.
fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut field = vec![tag];
    prost::encoding::encode_varint(content.len() as u64, &mut field);
    field.extend_from_slice(content);
    field
}

#[test]
fn small_bodies_cannot_become_large() {
    // Spans of 286 bytes that become 12 kB each, and items of two bytes.
    let mut span = [tagged(0x0a, &[1; 16]), tagged(0x12, &[1; 8])].concat();
    span.extend([0x4a, 0].repeat(128));
    let spans = tagged(0x12, &span).repeat(40_000);
    let batch = traces(&tagged(0x0a, &tagged(0x12, &spans))).expect("well-formed");
    let size: usize = batch.spans.iter().map(cost::span).sum();
    assert!(size < 97 << 20 && batch.rejected.total() > 0, "{size}");
    assert_eq!(reasons(&batch)[0].0, "request_too_large");
    let logs = tagged(0x0a, &tagged(0x12, &[0x12, 0].repeat(1_000_000)));
    let batch = decode(Signal::Logs, Encoding::Protobuf, &logs).expect("well-formed");
    assert!(batch.logs.len() < 700_000);
    assert_eq!(batch.logs.len() as u64 + batch.rejected.total(), 1_000_000);
}

#[test]
fn logs_get_a_severity_and_a_time() {
    let batch = json_batch(
        Signal::Logs,
        &json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [
            {"timeUnixNano": "7", "severityText": "warn", "body": {"stringValue": "a"}, "traceId": TRACE, "spanId": SPAN},
            {"observedTimeUnixNano": "8", "severityNumber": 18, "severityText": "Oops", "body": {"kvlistValue": {"values": [{"key": "a", "value": {"intValue": 1}}]}}},
            {"severityNumber": "SEVERITY_NUMBER_DEBUG2", "traceId": "zz", "spanId": SPAN, "eventName": "e"}
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
            ("DEBUG", "", false, false)
        ]
    );
    assert_eq!((batch.logs[0].time_ns, batch.logs[1].time_ns), (7, 8));
    assert!(batch.logs[2].time_ns > 1_000_000_000_000_000_000);
    assert_eq!(
        batch.logs[1].attributes,
        [("log.severity_text".into(), json!("Oops"))]
    );
    assert_eq!(
        batch.logs[2].attributes,
        [("event.name".into(), json!("e"))]
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

#[test]
fn metrics_become_samples() {
    let batch = json_batch(
        Signal::Metrics,
        &json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [
            {"name": "http.server.request.duration", "unit": "s", "histogram": {"aggregationTemporality": 2, "dataPoints": [{
                "count": "6", "sum": 1.5, "bucketCounts": ["1", "2", 3], "explicitBounds": [0.1, 1], "timeUnixNano": "5000",
                "attributes": [{"key": "http.route", "value": {"stringValue": "/a"}}],
                "exemplars": [{"asDouble": 0.5, "traceId": TRACE, "spanId": SPAN, "timeUnixNano": "4000"}]}]}},
            {"name": "jobs", "sum": {"aggregationTemporality": "AGGREGATION_TEMPORALITY_CUMULATIVE", "isMonotonic": true, "dataPoints": [{"asInt": "3"}]}},
            {"name": "level", "gauge": {"dataPoints": [{"asDouble": "NaN"}, {}, {"flags": 1}]}},
            {"name": "q", "summary": {"dataPoints": [{"count": 1, "sum": 2, "quantileValues": [{"quantile": 0.5, "value": 2}]}]}},
            {"name": "delta", "sum": {"aggregationTemporality": 1, "dataPoints": [{"asInt": 3}, {"asInt": 4}]}},
            {"name": "exp", "exponentialHistogram": {"dataPoints": [{}]}},
            {"name": "odd", "histogram": {"dataPoints": [{"bucketCounts": [1], "explicitBounds": [1]}]}},
            {"name": "nothing at all"}
        ]}]}]}),
    );
    let samples = &batch.metrics[0].samples;
    let shown: Vec<String> = samples
        .iter()
        .map(|s| {
            format!(
                "{} {:?} {}",
                s.name,
                s.labels
                    .iter()
                    .map(|(k, v)| format!("{k}={v}"))
                    .collect::<Vec<_>>(),
                s.value
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            r#"http_server_request_duration_seconds_bucket ["http_route=/a", "le=0.1"] 1"#,
            r#"http_server_request_duration_seconds_bucket ["http_route=/a", "le=1"] 3"#,
            r#"http_server_request_duration_seconds_bucket ["http_route=/a", "le=+Inf"] 6"#,
            r#"http_server_request_duration_seconds_sum ["http_route=/a"] 1.5"#,
            r#"http_server_request_duration_seconds_count ["http_route=/a"] 6"#,
            "jobs_total [] 3",
            "level [] NaN",
            r#"q ["quantile=0.5"] 2"#,
            "q_sum [] 2",
            "q_count [] 1",
        ]
    );
    assert_eq!(
        samples[1]
            .exemplar
            .map(|exemplar| (exemplar.value, exemplar.timestamp_us)),
        Some((0.5, Some(4)))
    );
    assert!(samples[0].exemplar.is_none() && samples[2].exemplar.is_none());
    assert_eq!(
        reasons(&batch),
        [
            ("bad_buckets", 1),
            ("delta_temporality", 2),
            ("exponential_histogram", 1),
            ("metric_without_data", 1),
            ("point_without_value", 1)
        ]
    );
}

#[test]
fn protobuf_metrics_are_walked_too() {
    let metrics = vec![Metric {
        name: "nothing".into(),
        ..Metric::default()
    }];
    let scope_metrics = vec![ScopeMetrics {
        metrics,
        ..ScopeMetrics::default()
    }];
    let resource_metrics = vec![ResourceMetrics {
        scope_metrics,
        ..ResourceMetrics::default()
    }];
    let body = MetricsData { resource_metrics }.encode_to_vec();
    let batch = decode(Signal::Metrics, Encoding::Protobuf, &body).expect("well-formed");
    assert_eq!(reasons(&batch), [("metric_without_data", 1)]);
}

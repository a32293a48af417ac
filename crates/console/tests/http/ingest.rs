//! OTLP/HTTP: both encodings, compressed or not, and what comes back.

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{
    ResourceSpans, ScopeSpans, Span, span::Event, span::Link,
};
use prost::Message;
use serde_json::{Value, json};

use crate::harness::{Reply, Running, attribute};
use crate::payload::{MS, START, gzip, metrics, span, span_id, trace_id, traces};

const PROTOBUF: &str = "application/x-protobuf";

fn text(key: &str, value: &str) -> KeyValue {
    let value = any_value::Value::StringValue(value.into());
    KeyValue {
        key: key.into(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

/// One span with everything a span can have.
fn request(trace: u128) -> ExportTraceServiceRequest {
    let event = Event {
        time_unix_nano: START + MS / 2,
        name: "retry".into(),
        attributes: vec![text("why", "late")],
        ..Event::default()
    };
    let link = Link {
        trace_id: 9_u128.to_be_bytes().to_vec(),
        span_id: 9_u64.to_be_bytes().to_vec(),
        ..Link::default()
    };
    let span = Span {
        trace_id: trace.to_be_bytes().to_vec(),
        span_id: 1_u64.to_be_bytes().to_vec(),
        name: "GET /".into(),
        kind: 2,
        start_time_unix_nano: START,
        end_time_unix_nano: START + MS,
        attributes: vec![
            text("sku", "lamp"),
            KeyValue {
                key: "n".into(),
                value: Some(AnyValue {
                    value: Some(any_value::Value::IntValue(-7)),
                }),
                ..KeyValue::default()
            },
        ],
        events: vec![event],
        links: vec![link],
        status: Some(opentelemetry_proto::tonic::trace::v1::Status {
            code: 2,
            message: "no".into(),
        }),
        ..Span::default()
    };
    let scope = Some(InstrumentationScope {
        name: "test".into(),
        ..InstrumentationScope::default()
    });
    let scope_spans = vec![ScopeSpans {
        scope,
        spans: vec![span],
        ..ScopeSpans::default()
    }];
    let resource = Some(Resource {
        attributes: vec![text("service.name", "shop")],
        ..Resource::default()
    });
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource,
            scope_spans,
            ..ResourceSpans::default()
        }],
    }
}

#[tokio::test]
async fn one_span_is_the_same_in_every_encoding() {
    let console = Running::start();
    let mut rows = Vec::new();
    for (trace, json, compressed) in [
        (1, false, false),
        (2, false, true),
        (3, true, false),
        (4, true, true),
    ] {
        let request = request(trace);
        let (content_type, plain) = if json {
            (
                "application/json; charset=utf-8",
                serde_json::to_vec(&request).expect("JSON"),
            )
        } else {
            (PROTOBUF, request.encode_to_vec())
        };
        let body = if compressed { gzip(&plain) } else { plain };
        let mut post = console.post("/v1/traces", content_type, body);
        if compressed {
            post = post.header("content-encoding", "gzip");
        }
        let reply = Reply::to(post).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        if json {
            assert_eq!(
                (reply.header("content-type"), reply.text().as_str()),
                ("application/json", "{}")
            );
        } else {
            assert_eq!(reply.header("content-type"), PROTOBUF);
            let response =
                ExportTraceServiceResponse::decode(reply.body.as_slice()).expect("protobuf");
            assert_eq!(response.partial_success, None);
        }
        rows.push(console.row(&trace_id(trace)).await);
    }
    let row = &rows[0];
    assert!(rows.iter().all(|other| other == row), "{rows:#?}");
    assert_eq!(
        (&row["service"], &row["name"], &row["kind"]),
        (&json!("shop"), &json!("GET /"), &json!("server"))
    );
    assert_eq!(
        (&row["status"], &row["status_message"], &row["scope"]),
        (&json!("error"), &json!("no"), &json!("test"))
    );
    assert_eq!(row["duration_us"].as_f64(), Some(1_000.0));
    assert_eq!(
        (
            attribute(&row["attributes"], "sku"),
            attribute(&row["attributes"], "n")
        ),
        (&json!("lamp"), &json!(-7))
    );
    assert_eq!(
        (
            &row["events"][0]["name"],
            row["events"][0]["offset_us"].as_f64()
        ),
        (&json!("retry"), Some(500.0))
    );
    assert_eq!(row["links"][0]["trace_id"], trace_id(9));
}

#[tokio::test]
async fn json_of_other_senders_is_read() {
    let console = Running::start();
    // Numbers where the encoding asks for text and text where it asks for numbers, nulls, unknown fields, big letters.
    let span = json!({
        "traceId": "ABCDEF00000000000000000000000001", "spanId": "00000000000000AB", "parentSpanId": "",
        "name": "x", "kind": "SPAN_KIND_CLIENT", "startTimeUnixNano": START, "endTimeUnixNano": (START + MS).to_string(),
        "flags": 1, "traceState": "", "futureField": {"deep": [1, {"er": null}]}, "events": null, "links": [], "status": {},
        "attributes": [
            {"key": "text", "value": {"stringValue": "a"}}, {"key": "int", "value": {"intValue": "42"}},
            {"key": "int2", "value": {"intValue": 43}}, {"key": "double", "value": {"doubleValue": 1}},
            {"key": "nan", "value": {"doubleValue": "NaN"}}, {"key": "bool", "value": {"boolValue": false}},
            {"key": "bytes", "value": {"bytesValue": "AAEC"}}, {"key": "none", "value": {}}, {"key": "missing"},
            {"key": "list", "value": {"arrayValue": {"values": [{"intValue": "1"}, {"stringValue": "b"}]}}},
            {"key": "empty", "value": {"arrayValue": {}}},
            {"key": "map", "value": {"kvlistValue": {"values": [{"key": "k", "value": {"boolValue": true}}]}}},
        ],
    });
    console
        .take("/v1/traces", &traces("shop", vec![span]))
        .await;
    let row = console.row("abcdef00000000000000000000000001").await;
    assert_eq!(
        (&row["span_id"], &row["parent_span_id"]),
        (&json!("00000000000000ab"), &Value::Null)
    );
    assert_eq!(
        (&row["kind"], row["duration_us"].as_f64()),
        (&json!("client"), Some(1_000.0))
    );
    for (key, value) in [
        ("text", json!("a")),
        ("int", json!(42)),
        ("int2", json!(43)),
        ("nan", json!("NaN")),
        ("bool", json!(false)),
        ("bytes", json!("AAEC")),
        ("none", Value::Null),
        ("missing", Value::Null),
        ("list", json!([1, "b"])),
        ("empty", json!([])),
        ("map", json!({"k": true})),
    ] {
        assert_eq!(attribute(&row["attributes"], key), &value, "{key}");
    }
    assert_eq!(attribute(&row["attributes"], "double").as_f64(), Some(1.0));
    console.take("/v1/traces", &json!({})).await;
    console
        .take(
            "/v1/traces",
            &json!({"resourceSpans": [{"scopeSpans": [{}, {"spans": []}]}, {}]}),
        )
        .await;
}

#[tokio::test]
async fn spans_without_usable_ids_are_counted_and_the_rest_is_kept() {
    let console = Running::start();
    let mut bad = [
        span(5, 2, None, "zero trace"),
        span(5, 3, None, "short trace"),
        span(5, 0, None, "zero span"),
    ];
    bad[0]["traceId"] = trace_id(0).into();
    bad[1]["traceId"] = "abc0".into();
    let mut spans = bad.to_vec();
    spans.push(span(5, 1, None, "good"));
    let reply = console
        .send_json("/v1/traces", &traces("shop", spans))
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let partial = &reply.json()["partialSuccess"];
    let rejected = partial["rejectedSpans"]
        .as_str()
        .map(str::to_owned)
        .or(partial["rejectedSpans"].as_u64().map(|n| n.to_string()));
    assert_eq!(rejected.as_deref(), Some("3"), "{partial}");
    assert!(
        partial["errorMessage"]
            .as_str()
            .is_some_and(|why| !why.is_empty())
    );
    assert_eq!(console.row(&trace_id(5)).await["name"], "good");
    assert_eq!(console.json("/api/stats").await["rejected_spans"], 3);

    let mut request = request(6);
    request.resource_spans[0].scope_spans[0].spans[0].span_id = vec![1; 7];
    let reply = console
        .send_protobuf("/v1/traces", request.encode_to_vec())
        .await;
    let response = ExportTraceServiceResponse::decode(reply.body.as_slice()).expect("protobuf");
    assert_eq!(
        response
            .partial_success
            .map(|partial| partial.rejected_spans),
        Some(1)
    );
}

#[tokio::test]
async fn metrics_of_foreign_senders_are_kept_in_prometheus_terms() {
    let console = Running::start();
    let point = |value: Value| {
        let mut point = json!({"timeUnixNano": START.to_string(), "attributes": [{"key": "http.route", "value": {"stringValue": "/a"}}]});
        point
            .as_object_mut()
            .expect("an object")
            .extend(value.as_object().cloned().unwrap_or_default());
        point
    };
    let sent = vec![
        json!({"name": "jobs.done", "unit": "1", "sum": {"isMonotonic": true, "aggregationTemporality": 2, "dataPoints": [point(json!({"asInt": 5}))]}}),
        json!({"name": "queue.length", "gauge": {"dataPoints": [point(json!({"asDouble": 2.5}))]}}),
        json!({"name": "request.duration", "unit": "s", "histogram": {"aggregationTemporality": 2, "dataPoints": [point(json!({
            "count": "3", "sum": 0.9, "explicitBounds": [0.1, 1.0], "bucketCounts": ["1", "1", "1"],
            "exemplars": [{"timeUnixNano": START.to_string(), "value": {"asDouble": 0.5}, "traceId": trace_id(7), "spanId": span_id(1), "filteredAttributes": []}]}))]}}),
    ];
    console.take_metrics(&metrics("shop", sent)).await;
    let value = async |query: &str| {
        let answer = console.json(&format!("/api/metrics?{query}")).await;
        let series = answer.as_array().cloned().unwrap_or_default();
        assert_eq!(series.len(), 1, "{query}: {answer:#}");
        series[0].clone()
    };
    let total = value("name=jobs_done_total").await;
    assert_eq!(
        (
            total["value"].as_f64(),
            &total["labels"]["service_name"],
            &total["labels"]["http_route"]
        ),
        (Some(5.0), &json!("shop"), &json!("/a"))
    );
    assert_eq!(
        total["timestamp_us"].as_f64().map(|us| us as u64),
        Some(START / 1_000)
    );
    assert_eq!(
        value("name=queue_length&label=http_route=/a").await["value"],
        2.5
    );
    assert_eq!(
        value("name=request_duration_seconds_count").await["value"].as_f64(),
        Some(3.0)
    );
    assert_eq!(
        value("name=request_duration_seconds_sum").await["value"],
        0.9
    );
    for (bound, count) in [("0.1", 1.0), ("1", 2.0), ("%2BInf", 3.0)] {
        let bucket = value(&format!(
            "name=request_duration_seconds_bucket&label=le={bound}"
        ))
        .await;
        assert_eq!(bucket["value"].as_f64(), Some(count), "{bucket}");
        assert_eq!(bucket.get("exemplar").is_some(), bound == "1", "{bucket}");
    }
    let exemplar =
        value("name=request_duration_seconds_bucket&label=le=1").await["exemplar"].clone();
    assert_eq!(
        (
            &exemplar["trace_id"],
            &exemplar["span_id"],
            &exemplar["value"]
        ),
        (&json!(trace_id(7)), &json!(span_id(1)), &json!(0.5))
    );
    assert_eq!(
        console
            .json("/api/metrics?name=queue_length&label=http_route=/b")
            .await,
        json!([])
    );
}

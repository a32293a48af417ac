//! Requests as services send them: spans in batches, eight to a trace, nine attributes each.

use std::ops::Range;

use anyhow::{Result, bail};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use reqwest::Client;
use serde_json::Value as Json;

/// As OpenTelemetry's batch processors send by default.
pub const SPANS: u64 = 512;
/// Spans of a trace.
pub const TRACE: u64 = 8;
/// Who sends, in turn.
pub const SENDERS: [&str; 3] = ["gateway", "data", "downstream"];

/// Requests that come before those that count are so many times fewer.
const WARM_UP: u64 = 10;

/// 2026-01-31T12:00:00Z in nanoseconds; a trace each millisecond.
const NOON: u64 = 1_769_860_800_000_000_000;
const MS: u64 = 1_000_000;
/// One span in so many fails.
const FAILED: u64 = 200;

/// The id of a trace.
pub fn trace_id(trace: u64) -> [u8; 16] {
    // Spread over the whole range, as random ids are.
    let high = (trace + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((u128::from(high) << 64) | u128::from(trace + 1)).to_be_bytes()
}

/// The path that the first span of a trace was asked for.
pub fn path(trace: u64) -> String {
    format!("/api/items/{}", trace * TRACE)
}

/// The request with this number.
pub fn request(number: u64) -> Vec<u8> {
    let sender = SENDERS[(number % SENDERS.len() as u64) as usize];
    let spans = (number * SPANS..(number + 1) * SPANS).map(span).collect();
    let resource = vec![
        text("service.name", sender),
        text("service.version", "1.4.2"),
        text("service.instance.id", &format!("{sender}-1")),
        text("telemetry.sdk.language", "rust"),
    ];
    let resource = Resource {
        attributes: resource,
        ..Resource::default()
    };
    let scope_spans = vec![ScopeSpans {
        spans,
        ..ScopeSpans::default()
    }];
    let resource_spans = vec![ResourceSpans {
        resource: Some(resource),
        scope_spans,
        ..ResourceSpans::default()
    }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

/// Of a measurement of `batches` requests: the number of the first that counts, and the one after the last. Those before warm up.
pub fn numbers(batches: u32) -> (u64, u64) {
    let batches = u64::from(batches);
    let warm_up = batches.div_ceil(WARM_UP);
    (warm_up, warm_up + batches)
}

/// Sends them to an OTLP/HTTP receiver, one after the other.
pub async fn send(client: &Client, otlp: &str, numbers: Range<u64>) -> Result<()> {
    for number in numbers {
        let request = client
            .post(format!("{otlp}/v1/traces"))
            .header("content-type", "application/x-protobuf")
            .body(request(number));
        let answer = request.send().await?.error_for_status()?.bytes().await?;
        if !answer.is_empty() && answer[..] != [0x0a, 0] {
            bail!(
                "not every span was taken: {:?}",
                String::from_utf8_lossy(&answer)
            );
        }
    }
    Ok(())
}

/// Checks by Jaeger's query API that a trace is there with all that was sent of it.
pub async fn whole(client: &Client, query: &str, trace: u64) -> Result<()> {
    let id = u128::from_be_bytes(trace_id(trace));
    let answer = client.get(format!("{query}/api/traces/{id:032x}"));
    let answer: Json = answer.send().await?.error_for_status()?.json().await?;
    let spans = answer["data"][0]["spans"].as_array();
    let attributes = |span: &Json| {
        let tags = span["tags"].as_array().into_iter().flatten();
        let keys = tags.filter_map(|tag| tag["key"].as_str());
        let sent = ["http", "url", "server", "user_agent", "network"];
        keys.filter(|key| sent.contains(&key.split('.').next().unwrap_or_default()))
            .count()
    };
    let kept: usize = spans.into_iter().flatten().map(attributes).sum();
    if kept as u64 != TRACE * 9 {
        bail!(
            "of the last trace {kept} of {} attributes are there",
            TRACE * 9
        );
    }
    Ok(())
}

fn span(number: u64) -> Span {
    let (trace, place) = (number / TRACE, number % TRACE);
    let id = |place: u64| (trace * TRACE + place + 1).to_be_bytes().to_vec();
    let route = format!("/api/items/{{id}}/{place}");
    let failed = number % FAILED == FAILED - 1;
    let start = NOON + trace * MS + place * 10_000;
    Span {
        trace_id: trace_id(trace).to_vec(),
        span_id: id(place),
        parent_span_id: place.checked_sub(1).map(id).unwrap_or_default(),
        name: format!("GET {route}"),
        kind: 2,
        start_time_unix_nano: start,
        end_time_unix_nano: start + MS,
        attributes: vec![
            text("http.request.method", "GET"),
            text("http.route", &route),
            text("url.path", &format!("/api/items/{number}")),
            text("url.scheme", "http"),
            text("server.address", "10.0.0.17"),
            int("server.port", 8081),
            text("user_agent.original", "reqwest/0.13 (shop 1.4.2)"),
            text("network.protocol.version", "1.1"),
            int("http.response.status_code", if failed { 503 } else { 200 }),
        ],
        status: failed.then(|| Status {
            code: 2,
            message: "no connection to the database".to_owned(),
        }),
        ..Span::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn int(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

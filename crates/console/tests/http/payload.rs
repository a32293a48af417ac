//! OTLP bodies.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

/// 2026-01-01T00:00:00Z in nanoseconds.
pub const START: u64 = 1_767_225_600_000_000_000;
pub const MS: u64 = 1_000_000;

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("writing to memory");
    encoder.finish().expect("writing to memory")
}

/// A trace id as text.
pub fn trace_id(number: u128) -> String {
    format!("{number:032x}")
}

/// A span id as text.
pub fn span_id(number: u64) -> String {
    format!("{number:016x}")
}

/// A span of one millisecond.
pub fn span(trace: u128, id: u64, parent: Option<u64>, name: &str) -> Value {
    let mut span = json!({
        "traceId": trace_id(trace),
        "spanId": span_id(id),
        "name": name,
        "kind": 2,
        "startTimeUnixNano": START.to_string(),
        "endTimeUnixNano": (START + MS).to_string(),
    });
    if let Some(parent) = parent {
        span["parentSpanId"] = span_id(parent).into();
    }
    span
}

fn resource(service: &str) -> Value {
    json!({"attributes": [{"key": "service.name", "value": {"stringValue": service}}]})
}

/// An export request of spans.
pub fn traces(service: &str, spans: Vec<Value>) -> Value {
    json!({"resourceSpans": [{"resource": resource(service), "scopeSpans": [{"scope": {"name": "test"}, "spans": spans}]}]})
}

/// An export request of log records.
pub fn logs(service: &str, records: Vec<Value>) -> Value {
    json!({"resourceLogs": [{"resource": resource(service), "scopeLogs": [{"logRecords": records}]}]})
}

/// An export request of metrics.
pub fn metrics(service: &str, metrics: Vec<Value>) -> Value {
    json!({"resourceMetrics": [{"resource": resource(service), "scopeMetrics": [{"metrics": metrics}]}]})
}

/// A log record.
pub fn log(number: u8, body: &str, of: Option<(u128, u64)>) -> Value {
    let mut record = json!({
        "timeUnixNano": START.to_string(),
        "severityNumber": number,
        "body": {"stringValue": body},
    });
    if let Some((trace, span)) = of {
        record["traceId"] = trace_id(trace).into();
        record["spanId"] = span_id(span).into();
    }
    record
}

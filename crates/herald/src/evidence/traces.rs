//! The worst traces: named by exemplars, and found by Jaeger.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::Window;
use super::backend::Backend;
use super::prometheus::{Exemplar, Prometheus, literal};
use crate::text::quoted;

/// So many are shown.
const SHOWN: usize = 5;

/// So many does Jaeger look for, of each kind.
const SEARCHED: usize = 10;

/// What Jaeger takes for slow.
const SLOW: &str = "250ms";

/// One trace.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Trace {
    pub(crate) trace_id: String,
    /// `GET /api/data`.
    pub(crate) operation: String,
    pub(crate) duration_s: f64,
    pub(crate) error: bool,
    /// `downstream GET /quotes/{sku}: 503`, the deepest span with an error.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) failed_at: String,
    /// Jaeger has it; of the others only a metric's exemplar tells.
    pub(crate) in_jaeger: bool,
}

/// What the exemplars name.
pub(crate) async fn exemplars(
    prometheus: &Prometheus,
    service: Option<&str>,
    window: &Window,
) -> Result<Vec<Trace>, String> {
    let of = service.map_or_else(String::new, |service| {
        format!("{{service_name={}}}", literal(service))
    });
    let query = format!("{}_bucket{of}", telemetry::names::HTTP_SERVER_DURATION);
    let found = prometheus
        .exemplars(&query, (window.start, window.end))
        .await?;
    Ok(found.into_iter().filter_map(from_exemplar).collect())
}

fn from_exemplar(exemplar: Exemplar) -> Option<Trace> {
    let label = |name: &str| exemplar.series.get(name).map_or("", String::as_str);
    let operation = format!("{} {}", label("http_request_method"), label("http_route"));
    Some(Trace {
        trace_id: trace_id(&exemplar.trace_id)?,
        operation: quoted(&operation, 100),
        duration_s: exemplar.value,
        error: label("outcome") == "error",
        ..Trace::default()
    })
}

/// What Jaeger finds: traces with errors, and slow ones.
pub(crate) async fn search(
    jaeger: &Backend,
    service: Option<&str>,
    window: &Window,
) -> Result<Vec<Trace>, String> {
    let Some(service) = service else {
        return Ok(Vec::new());
    };
    let micros = |time: DateTime<Utc>| time.timestamp_micros().to_string();
    let base = [
        ("service", service.to_owned()),
        ("start", micros(window.start)),
        ("end", micros(window.end)),
        ("limit", SEARCHED.to_string()),
    ];
    let with = |name, value: &str| [base.as_slice(), &[(name, value.to_owned())]].concat();
    let (failed, slow) = (
        with("tags", r#"{"error":"true"}"#),
        with("minDuration", SLOW),
    );
    let (failed, slow) = futures_util::try_join!(
        jaeger.get("/api/traces", &failed),
        jaeger.get("/api/traces", &slow)
    )?;
    let mut traces = Vec::new();
    for answer in [failed, slow] {
        let found = answer["data"].as_array().ok_or("its answer has no data")?;
        traces.extend(found.iter().filter_map(from_jaeger));
    }
    Ok(traces)
}

fn from_jaeger(trace: &Value) -> Option<Trace> {
    let spans = trace["spans"].as_array()?;
    let parent = |span: &Value| span["references"][0]["spanID"].as_str().map(str::to_owned);
    let known = |id: &str| spans.iter().any(|span| span["spanID"] == id);
    let root = spans
        .iter()
        .find(|span| parent(span).is_none_or(|parent| !known(&parent)))?;
    let failed: Vec<&Value> = spans.iter().filter(|span| is_error(span)).collect();
    // The deepest: none of the spans with an error is its child.
    let deepest = failed.iter().find(|span| {
        let id = span["spanID"].as_str();
        !failed.iter().any(|other| parent(other).as_deref() == id)
    });
    Some(Trace {
        trace_id: trace_id(trace["traceID"].as_str()?)?,
        operation: quoted(root["operationName"].as_str().unwrap_or_default(), 100),
        duration_s: root["duration"].as_f64().unwrap_or_default() / 1e6,
        error: !failed.is_empty(),
        failed_at: deepest
            .map(|span| describe(trace, span))
            .unwrap_or_default(),
        in_jaeger: true,
    })
}

fn describe(trace: &Value, span: &Value) -> String {
    let process = span["processID"].as_str().unwrap_or_default();
    let service = trace["processes"][process]["serviceName"].as_str();
    let why = [
        "otel.status_description",
        "error.type",
        "http.response.status_code",
    ]
    .iter()
    .find_map(|name| tag(span, name))
    .unwrap_or_default();
    let operation = span["operationName"].as_str().unwrap_or_default();
    let text = format!("{} {operation}: {why}", service.unwrap_or_default());
    quoted(text.trim().trim_end_matches(':'), 160)
}

fn is_error(span: &Value) -> bool {
    tag(span, "error").is_some_and(|error| error == "true")
}

fn tag(span: &Value, name: &str) -> Option<String> {
    let tag = span["tags"]
        .as_array()?
        .iter()
        .find(|tag| tag["key"] == name)?;
    match &tag["value"] {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        other => Some(other.to_string()),
    }
}

/// 32 hexadecimal digits; Jaeger leaves leading zeros out.
fn trace_id(text: &str) -> Option<String> {
    let digits = text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| format!("{text:0>32}"))
}

/// Each once, what failed before what is slow, what can be opened before what only an exemplar names, the longest first.
pub(crate) fn worst(from_exemplars: Vec<Trace>, from_jaeger: Vec<Trace>) -> Vec<Trace> {
    let mut each: BTreeMap<String, Trace> = BTreeMap::new();
    for trace in from_exemplars.into_iter().chain(from_jaeger) {
        each.insert(trace.trace_id.clone(), trace);
    }
    let mut traces: Vec<Trace> = each.into_values().collect();
    traces.sort_by(|a, b| {
        (b.error, b.in_jaeger)
            .cmp(&(a.error, a.in_jaeger))
            .then(b.duration_s.total_cmp(&a.duration_s))
    });
    traces.truncate(SHOWN);
    traces
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn span(id: &str, parent: Option<&str>, process: &str, tags: Value) -> Value {
        let references = parent.map(|id| json!([{"refType": "CHILD_OF", "spanID": id}]));
        json!({"spanID": id, "operationName": format!("op {id}"), "references": references.unwrap_or(json!([])),
               "duration": 1_500_000, "processID": process, "tags": tags})
    }

    #[test]
    fn the_deepest_error_of_a_trace_is_named() {
        let error = |status: &str| json!([{"key": "error", "value": true}, {"key": "otel.status_description", "value": status}]);
        let trace = json!({
            "traceID": "ab",
            "spans": [
                span("1", None, "p1", error("503")),
                span("2", Some("1"), "p2", error("card 4111 1111 1111 1111")),
                span("3", Some("1"), "p2", json!([])),
            ],
            "processes": {"p1": {"serviceName": "gateway"}, "p2": {"serviceName": "data"}}
        });
        let trace = from_jaeger(&trace).unwrap();
        assert_eq!(trace.trace_id, format!("{:0>32}", "ab"));
        assert_eq!(
            (trace.operation.as_str(), trace.duration_s, trace.error),
            ("op 1", 1.5, true)
        );
        assert_eq!(trace.failed_at, "data op 2: card [redacted]");
    }

    #[test]
    fn errors_come_first_and_each_trace_once() {
        let trace = |id: &str, error, duration_s, in_jaeger| Trace {
            trace_id: id.to_owned(),
            error,
            duration_s,
            in_jaeger,
            ..Trace::default()
        };
        let exemplars = vec![trace("a", true, 0.1, false), trace("b", false, 9.0, false)];
        let found = vec![
            trace("a", true, 0.1, true),
            trace("c", true, 0.2, true),
            trace("d", false, 1.0, true),
        ];
        let order: Vec<String> = worst(exemplars, found)
            .into_iter()
            .map(|trace| trace.trace_id)
            .collect();
        assert_eq!(order, ["c", "a", "d", "b"]);
        assert_eq!(trace_id("not a trace id"), None);
    }
}

//! A trace in Jaeger's JSON.

use std::collections::{BTreeMap, HashMap};
use std::hash::RandomState;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::model::{Attributes, Event, Resource, Span, Value};
use crate::otlp::SERVICE_NAME;
use crate::store::Trace;
use crate::tags;

/// Integers past this are strings, since JavaScript would round them.
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// One entry of `data`.
#[derive(Serialize)]
pub(super) struct JaegerTrace {
    #[serde(rename = "traceID")]
    trace_id: String,
    spans: Vec<JaegerSpan>,
    processes: BTreeMap<String, Process>,
    warnings: Option<Vec<String>>,
}

impl JaegerTrace {
    /// Adds a warning for the reader.
    pub fn warn(&mut self, warning: String) {
        self.warnings.get_or_insert_default().push(warning);
    }
}

/// A span. It renders its attributes only while it is written, so that a large answer needs little memory besides its text.
struct JaegerSpan {
    span: Arc<Span>,
    process: Arc<str>,
}

#[derive(Serialize)]
struct Process {
    #[serde(rename = "serviceName")]
    service_name: String,
    #[serde(serialize_with = "process_tags")]
    tags: Arc<Resource>,
}

/// A key with a typed value, Jaeger's form of an attribute.
#[derive(Serialize)]
struct Tag<'a> {
    key: &'a str,
    r#type: &'static str,
    value: TagValue<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum TagValue<'a> {
    AsItIs(Value<'a>),
    Text(String),
}

#[derive(Serialize)]
struct Reference {
    #[serde(rename = "refType")]
    ref_type: &'static str,
    #[serde(rename = "traceID")]
    trace_id: String,
    #[serde(rename = "spanID")]
    span_id: String,
}

#[derive(Serialize)]
struct Log<'a> {
    timestamp: u64,
    fields: Vec<Tag<'a>>,
}

#[derive(Serialize)]
struct SpanJson<'a> {
    #[serde(rename = "traceID")]
    trace_id: String,
    #[serde(rename = "spanID")]
    span_id: String,
    flags: u8,
    #[serde(rename = "operationName")]
    operation_name: &'a str,
    references: Vec<Reference>,
    #[serde(rename = "startTime")]
    start_time: u64,
    duration: u64,
    tags: Vec<Tag<'a>>,
    logs: Vec<Log<'a>>,
    #[serde(rename = "processID")]
    process_id: &'a str,
    warnings: Option<Vec<String>>,
}

/// Spans by start time; senders become processes `p1`, `p2`, … in the order of their first span.
pub(super) fn render(trace: &Trace) -> JaegerTrace {
    let mut spans = trace.spans.clone();
    spans.sort_by_key(|span| span.start_ns);
    let mut processes = Processes::default();
    let spans = spans
        .into_iter()
        .map(|span| JaegerSpan {
            process: processes.id(&span.resource),
            span,
        })
        .collect();
    let mut shown = JaegerTrace {
        trace_id: trace.id.to_string(),
        spans,
        processes: processes.by_id,
        warnings: None,
    };
    if trace.dropped_spans > 0 {
        shown.warn(format!(
            "{} spans of this trace were dropped: it was too big",
            trace.dropped_spans
        ));
    }
    shown
}

/// Gives each distinct sender an id.
#[derive(Default)]
struct Processes {
    by_id: BTreeMap<String, Process>,
    by_address: HashMap<*const Resource, Arc<str>>,
    by_content: HashMap<u64, Arc<str>>,
    hasher: RandomState,
}

impl Processes {
    /// Batches of one sender have equal resources at different addresses.
    fn id(&mut self, resource: &Arc<Resource>) -> Arc<str> {
        if let Some(id) = self.by_address.get(&Arc::as_ptr(resource)) {
            return id.clone();
        }
        // The content itself may be large.
        let content = resource.digest(&self.hasher);
        let next = format!("p{}", self.by_content.len() + 1);
        let id = self
            .by_content
            .entry(content)
            .or_insert_with(|| Arc::from(next))
            .clone();
        self.by_address.insert(Arc::as_ptr(resource), id.clone());
        self.by_id.entry(id.to_string()).or_insert_with(|| Process {
            service_name: resource.service.clone(),
            tags: resource.clone(),
        });
        id
    }
}

fn process_tags<S: Serializer>(resource: &Resource, serializer: S) -> Result<S::Ok, S::Error> {
    let attributes = resource
        .attributes
        .iter()
        .filter(|(key, _)| *key != SERVICE_NAME);
    serializer.collect_seq(attributes.map(|(key, value)| tag(key, value)))
}

impl Serialize for JaegerSpan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let span = &*self.span;
        let span = SpanJson {
            trace_id: span.trace_id.to_string(),
            span_id: span.span_id.to_string(),
            // Sampled: senders export only sampled spans.
            flags: 1,
            operation_name: &span.name,
            references: references(span),
            start_time: span.start_ns / 1_000,
            duration: span.duration_ns / 1_000,
            tags: span_tags(span),
            logs: span.events.iter().map(log).collect(),
            process_id: &self.process,
            warnings: None,
        };
        span.serialize(serializer)
    }
}

/// The parent comes first: viewers use the first `CHILD_OF`.
fn references(span: &Span) -> Vec<Reference> {
    let parent = span.parent.map(|parent| Reference {
        ref_type: "CHILD_OF",
        trace_id: span.trace_id.to_string(),
        span_id: parent.to_string(),
    });
    let links = span.links.iter().map(|link| Reference {
        ref_type: "FOLLOWS_FROM",
        trace_id: link.trace_id.to_string(),
        span_id: link.span_id.to_string(),
    });
    parent.into_iter().chain(links).collect()
}

/// The attributes of the span and of its scope, then the derived tags: a field wins over an attribute that imitates it, and the span's own
/// attribute over one of its scope.
fn span_tags(span: &Span) -> Vec<Tag<'_>> {
    let derived = tags::derived(span);
    let of_scope = span.scope.attributes.iter();
    let of_scope = of_scope.filter(|(key, _)| span.attributes.get(key).is_none());
    let sent = span.attributes.iter().chain(of_scope);
    let sent = sent.filter(|(key, _)| derived.iter().all(|(field, _)| field != key));
    let tags = sent.chain(derived.iter().copied());
    tags.map(|(key, value)| tag(key, value)).collect()
}

fn attribute_tags(attributes: &Attributes) -> Vec<Tag<'_>> {
    attributes
        .iter()
        .map(|(key, value)| tag(key, value))
        .collect()
}

fn log(event: &Event) -> Log<'_> {
    let mut fields = Vec::with_capacity(event.attributes.len() + 1);
    if !event.name.is_empty() {
        fields.push(tag("event", Value::Text(&event.name)));
    }
    fields.extend(attribute_tags(&event.attributes));
    Log {
        timestamp: event.time_ns / 1_000,
        fields,
    }
}

fn tag<'a>(key: &'a str, value: Value<'a>) -> Tag<'a> {
    let (r#type, text) = match value {
        Value::Text(_) => ("string", None),
        Value::Bool(_) => ("bool", None),
        Value::Number(number) if number.is_f64() => ("float64", None),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => (
                "int64",
                (integer.unsigned_abs() > MAX_SAFE_INTEGER).then(|| number.to_string()),
            ),
            // Beyond int64, which the protocol does not have.
            None => ("string", Some(number.to_string())),
        },
        other => ("string", Some(other.text().into_owned())),
    };
    let value = text.map_or(TagValue::AsItIs(value), TagValue::Text);
    Tag { key, r#type, value }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use serde_json::{Value, json};

    use super::*;
    use crate::model::{Kind, Link, SpanId, Status, TraceId};
    use crate::tree::tests::{shared, span};

    fn rendered(spans: Vec<Span>, dropped_spans: u64) -> Value {
        let trace = Trace {
            id: TraceId(1),
            spans: shared(spans),
            logs: Vec::new(),
            bytes: 0,
            dropped_spans,
            arrived: Instant::now(),
        };
        serde_json::to_value(render(&trace)).expect("JSON")
    }

    #[test]
    fn a_span_has_exactly_jaegers_fields() {
        let mut span = span(2, Some(1), 1_000_500, 1_003_600);
        span.kind = Kind::Server;
        span.status = Status::Error("no stock".into());
        span.attributes = vec![
            ("error".into(), json!("no")),
            ("code".into(), json!(409)),
            ("share".into(), json!(0.5)),
            ("many".into(), json!(["a", 1])),
        ]
        .into();
        span.events = vec![Event {
            name: "retry".into(),
            time_ns: 2_000_000,
            attributes: vec![("last".into(), json!(true))].into(),
        }];
        span.links = vec![Link {
            trace_id: TraceId(7),
            span_id: SpanId(8),
            ..Link::default()
        }];
        let attributes = vec![
            ("service.name".into(), json!("shop")),
            ("host.name".into(), json!("box")),
        ];
        span.resource = Arc::new(Resource {
            service: "shop".into(),
            attributes: attributes.into(),
        });
        let expected = json!({
            "traceID": "00000000000000000000000000000001",
            "spans": [{
                "traceID": "00000000000000000000000000000001", "spanID": "0000000000000002", "flags": 1,
                "operationName": "span 2",
                "references": [
                    {"refType": "CHILD_OF", "traceID": "00000000000000000000000000000001", "spanID": "0000000000000001"},
                    {"refType": "FOLLOWS_FROM", "traceID": "00000000000000000000000000000007", "spanID": "0000000000000008"},
                ],
                "startTime": 1000, "duration": 3,
                "tags": [
                    {"key": "code", "type": "int64", "value": 409},
                    {"key": "share", "type": "float64", "value": 0.5},
                    {"key": "many", "type": "string", "value": "[\"a\",1]"},
                    {"key": "otel.scope.name", "type": "string", "value": "test"},
                    {"key": "span.kind", "type": "string", "value": "server"},
                    {"key": "otel.status_code", "type": "string", "value": "ERROR"},
                    {"key": "error", "type": "bool", "value": true},
                    {"key": "otel.status_description", "type": "string", "value": "no stock"},
                ],
                "logs": [{"timestamp": 2000, "fields": [
                    {"key": "event", "type": "string", "value": "retry"},
                    {"key": "last", "type": "bool", "value": true},
                ]}],
                "processID": "p1", "warnings": null,
            }],
            "processes": {"p1": {"serviceName": "shop", "tags": [{"key": "host.name", "type": "string", "value": "box"}]}},
            "warnings": null,
        });
        assert_eq!(rendered(vec![span], 0), expected);
    }

    #[test]
    fn big_integers_and_nothing_are_strings() {
        let mut span = span(1, None, 0, 1);
        let big = json!(9_007_199_254_740_993_i64);
        span.attributes = vec![
            ("big".into(), big),
            ("huge".into(), json!(u64::MAX)),
            ("null".into(), Value::Null),
        ]
        .into();
        let shown = rendered(vec![span], 0);
        let tags = &shown["spans"][0]["tags"];
        assert_eq!(
            tags[0],
            json!({"key": "big", "type": "int64", "value": "9007199254740993"})
        );
        assert_eq!(
            tags[1],
            json!({"key": "huge", "type": "string", "value": "18446744073709551615"})
        );
        assert_eq!(
            tags[2],
            json!({"key": "null", "type": "string", "value": ""})
        );
    }

    #[test]
    fn equal_senders_are_one_process_and_losses_are_said() {
        let mut other = span(3, Some(1), 2, 3);
        other.resource = Arc::new(Resource {
            service: "bank".into(),
            attributes: Attributes::default(),
        });
        let shown = rendered(vec![other, span(1, None, 0, 9), span(2, Some(1), 1, 5)], 4);
        let ids: Vec<_> = [0, 1, 2]
            .map(|i| shown["spans"][i]["processID"].clone())
            .into();
        assert_eq!(ids, ["p1", "p1", "p2"]);
        assert_eq!(shown["processes"]["p2"]["serviceName"], "bank");
        assert!(
            shown["warnings"][0]
                .as_str()
                .is_some_and(|w| w.starts_with("4 spans"))
        );
    }
}

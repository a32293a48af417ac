//! Traces in OTLP's JSON encoding: ids in hex, 64-bit integers as strings, enums as numbers.

use std::collections::HashMap;
use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::model::{Attributes, Event, Kind, Link, Resource, Scope, Span, Status};
use crate::otlp::{DROPPED_EVENTS, DROPPED_KEY, DROPPED_LINKS};
use crate::store::Trace;

/// The message `ResourceSpans`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResourceSpans<'a> {
    resource: WithAttributes<'a>,
    scope_spans: Vec<ScopeSpans<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WithAttributes<'a> {
    attributes: Vec<KeyValue<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    dropped_attributes_count: u64,
}

impl<'a> From<&'a Attributes> for WithAttributes<'a> {
    fn from(attributes: &'a Attributes) -> Self {
        Self {
            attributes: pairs(attributes),
            dropped_attributes_count: dropped(attributes, DROPPED_KEY),
        }
    }
}

#[derive(Serialize)]
struct ScopeSpans<'a> {
    scope: OtlpScope<'a>,
    spans: Vec<OtlpSpan<'a>>,
}

#[derive(Serialize)]
struct OtlpScope<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
    #[serde(flatten)]
    attributes: Option<WithAttributes<'a>>,
}

fn scope(scope: &Scope) -> OtlpScope<'_> {
    let attributes = Some(&scope.attributes).filter(|attributes| !attributes.is_empty());
    OtlpScope {
        name: &scope.name,
        version: &scope.version,
        attributes: attributes.map(Into::into),
    }
}

/// A span, rendered only while being written.
struct OtlpSpan<'a>(&'a Span);

/// An attribute's value.
struct AnyValue<'a>(&'a Value);

#[derive(Serialize)]
struct KeyValue<'a> {
    key: &'a str,
    value: AnyValue<'a>,
}

/// One group for each sender of each trace, since readers of a search take each group for a part of one trace.
pub(super) fn groups(trace: &Trace) -> Vec<ResourceSpans<'_>> {
    let mut groups: Vec<ResourceSpans<'_>> = Vec::new();
    let mut senders: HashMap<*const Resource, (usize, HashMap<String, usize>)> = HashMap::new();
    for span in &trace.spans {
        let (group, scopes) = senders
            .entry(Arc::as_ptr(&span.resource))
            .or_insert_with(|| {
                groups.push(ResourceSpans {
                    resource: (&span.resource.attributes).into(),
                    scope_spans: Vec::new(),
                });
                (groups.len() - 1, HashMap::new())
            });
        let scope_spans = &mut groups[*group].scope_spans;
        let place = *scopes.entry(content(&span.scope)).or_insert_with(|| {
            scope_spans.push(ScopeSpans {
                scope: scope(&span.scope),
                spans: Vec::new(),
            });
            scope_spans.len() - 1
        });
        scope_spans[place].spans.push(OtlpSpan(span));
    }
    groups
}

/// Requests bring their scopes anew: equal ones are one.
fn content(scope: &Scope) -> String {
    let content = (&scope.name, &scope.version, &scope.attributes);
    serde_json::to_string(&content).unwrap_or_default()
}

/// What was dropped is counted in attributes of our own; the protocol has fields for it.
const COUNTS: [(&str, &str); 3] = [
    (DROPPED_KEY, "droppedAttributesCount"),
    (DROPPED_EVENTS, "droppedEventsCount"),
    (DROPPED_LINKS, "droppedLinksCount"),
];

fn dropped(attributes: &Attributes, key: &str) -> u64 {
    let found = attributes.iter().find(|(known, _)| known == key);
    found
        .and_then(|(_, value)| value.as_u64())
        .unwrap_or_default()
}

fn is_zero<N: Default + PartialEq>(number: &N) -> bool {
    *number == N::default()
}

impl Serialize for OtlpSpan<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let span = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("traceId", &span.trace_id.to_string())?;
        map.serialize_entry("spanId", &span.span_id.to_string())?;
        if let Some(parent) = span.parent {
            map.serialize_entry("parentSpanId", &parent.to_string())?;
        }
        if !span.trace_state.is_empty() {
            map.serialize_entry("traceState", &span.trace_state)?;
        }
        if span.flags != 0 {
            map.serialize_entry("flags", &span.flags)?;
        }
        map.serialize_entry("name", &span.name)?;
        map.serialize_entry("kind", &kind(span.kind))?;
        map.serialize_entry("startTimeUnixNano", &span.start_ns.to_string())?;
        let end_ns = span.start_ns.saturating_add(span.duration_ns);
        map.serialize_entry("endTimeUnixNano", &end_ns.to_string())?;
        map.serialize_entry("attributes", &pairs(&span.attributes))?;
        for (key, field) in COUNTS {
            let count = dropped(&span.attributes, key);
            if count > 0 {
                map.serialize_entry(field, &count)?;
            }
        }
        map.serialize_entry("events", &span.events.iter().map(event).collect::<Vec<_>>())?;
        map.serialize_entry("links", &span.links.iter().map(link).collect::<Vec<_>>())?;
        map.serialize_entry("status", &status(&span.status))?;
        map.end()
    }
}

fn kind(kind: Kind) -> u8 {
    match kind {
        Kind::Internal => 1,
        Kind::Server => 2,
        Kind::Client => 3,
        Kind::Producer => 4,
        Kind::Consumer => 5,
    }
}

#[derive(Serialize)]
struct OtlpStatus<'a> {
    code: u8,
    message: &'a str,
}

fn status(status: &Status) -> OtlpStatus<'_> {
    match status {
        Status::Unset => OtlpStatus {
            code: 0,
            message: "",
        },
        Status::Ok => OtlpStatus {
            code: 1,
            message: "",
        },
        Status::Error(message) => OtlpStatus { code: 2, message },
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OtlpEvent<'a> {
    time_unix_nano: String,
    name: &'a str,
    #[serde(flatten)]
    attributes: WithAttributes<'a>,
}

fn event(event: &Event) -> OtlpEvent<'_> {
    OtlpEvent {
        time_unix_nano: event.time_ns.to_string(),
        name: &event.name,
        attributes: (&event.attributes).into(),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OtlpLink<'a> {
    trace_id: String,
    span_id: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    trace_state: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    flags: u32,
    #[serde(flatten)]
    attributes: WithAttributes<'a>,
}

fn link(link: &Link) -> OtlpLink<'_> {
    let (trace_id, span_id) = (link.trace_id.to_string(), link.span_id.to_string());
    OtlpLink {
        trace_id,
        span_id,
        trace_state: &link.trace_state,
        flags: link.flags,
        attributes: (&link.attributes).into(),
    }
}

fn pairs(attributes: &Attributes) -> Vec<KeyValue<'_>> {
    let is_count = |key: &str| COUNTS.iter().any(|(count, _)| *count == key);
    attributes
        .iter()
        .filter(|(key, value)| !(is_count(key) && value.is_u64()))
        .map(|(key, value)| KeyValue {
            key,
            value: AnyValue(value),
        })
        .collect()
}

/// `values` of an array or a list of keys.
#[derive(Serialize)]
struct Values<T: Serialize> {
    values: Vec<T>,
}

impl Serialize for AnyValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self.0 {
            // No value at all.
            Value::Null => {}
            Value::String(text) => map.serialize_entry("stringValue", text)?,
            Value::Bool(flag) => map.serialize_entry("boolValue", flag)?,
            Value::Number(number) if number.is_f64() => {
                map.serialize_entry("doubleValue", number)?
            }
            Value::Number(number) => map.serialize_entry("intValue", &number.to_string())?,
            Value::Array(items) => {
                let values = items.iter().map(AnyValue).collect();
                map.serialize_entry("arrayValue", &Values { values })?;
            }
            Value::Object(entries) => {
                let values = entries
                    .iter()
                    .map(|(key, value)| KeyValue {
                        key,
                        value: AnyValue(value),
                    })
                    .collect();
                map.serialize_entry("kvlistValue", &Values { values })?;
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use serde_json::json;

    use super::*;
    use crate::model::{SpanId, TraceId};
    use crate::tree::tests::{shared, span};

    #[test]
    fn the_encoding_is_otlps() {
        let mut span = span(2, Some(1), 5, 9);
        span.kind = Kind::Client;
        span.status = Status::Error("late".into());
        span.attributes = vec![
            ("n".into(), json!(7)),
            ("x".into(), json!([true, 0.5, {"a": "b"}])),
        ];
        span.events = vec![Event {
            name: "retry".into(),
            time_ns: 6,
            attributes: Vec::new(),
        }];
        span.links = vec![Link {
            trace_id: TraceId(3),
            span_id: SpanId(4),
            trace_state: String::new(),
            flags: 0,
            attributes: Vec::new(),
        }];
        let attributes = vec![("service.name".into(), json!("shop"))];
        span.resource = Arc::new(Resource {
            service: "shop".into(),
            attributes,
        });
        let spans = shared(vec![span]);
        let trace = Trace {
            id: TraceId(1),
            spans,
            logs: Vec::new(),
            bytes: 0,
            dropped_spans: 0,
            arrived: Instant::now(),
        };
        let expected = json!({"resourceSpans": [{
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
            "scopeSpans": [{"scope": {"name": "test"}, "spans": [{
                "traceId": "00000000000000000000000000000001", "spanId": "0000000000000002",
                "parentSpanId": "0000000000000001", "name": "span 2", "kind": 3,
                "startTimeUnixNano": "5", "endTimeUnixNano": "9",
                "attributes": [
                    {"key": "n", "value": {"intValue": "7"}},
                    {"key": "x", "value": {"arrayValue": {"values": [
                        {"boolValue": true}, {"doubleValue": 0.5},
                        {"kvlistValue": {"values": [{"key": "a", "value": {"stringValue": "b"}}]}},
                    ]}}},
                ],
                "events": [{"timeUnixNano": "6", "name": "retry", "attributes": []}],
                "links": [{"traceId": "00000000000000000000000000000003", "spanId": "0000000000000004", "attributes": []}],
                "status": {"code": 2, "message": "late"},
            }]}],
        }]});
        assert_eq!(json!({"resourceSpans": groups(&trace)}), expected);
    }
}

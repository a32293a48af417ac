//! The tags by which a span can be found: its own attributes, those of its sender, scope, events and links, and the tags
//! that Jaeger derives from status, kind and scope.

use crate::model::{Attributes, Span, Status, Value};

const TRACE_STATE: &str = "w3c.tracestate";

/// Keys of what [`derived`] makes.
const DERIVED: [&str; 7] = [
    "otel.scope.name",
    "otel.scope.version",
    TRACE_STATE,
    "span.kind",
    "otel.status_code",
    "error",
    "otel.status_description",
];

/// The tags that Jaeger shows for fields of the span that are no attributes, as the OpenTelemetry specification
/// maps them ("OpenTelemetry to Jaeger transformation").
pub(crate) fn derived(span: &Span) -> Vec<(&'static str, Value<'_>)> {
    let mut tags = Vec::with_capacity(7);
    for (key, text) in [
        ("otel.scope.name", &span.scope.name),
        ("otel.scope.version", &span.scope.version),
        (TRACE_STATE, &span.trace_state),
    ] {
        if !text.is_empty() {
            tags.push((key, Value::Text(text)));
        }
    }
    tags.push(("span.kind", Value::Text(span.kind.as_str())));
    match &span.status {
        Status::Unset => {}
        Status::Ok => tags.push(("otel.status_code", Value::Text("OK"))),
        Status::Error(message) => {
            tags.push(("otel.status_code", Value::Text("ERROR")));
            tags.push(("error", Value::Bool(true)));
            if !message.is_empty() {
                tags.push(("otel.status_description", Value::Text(message)));
            }
        }
    }
    tags
}

/// Whether the span carries the tag, its value being exactly `wanted` once written as text.
pub(crate) fn carries(span: &Span, key: &str, wanted: &str) -> bool {
    any(span, key, |value| is(value, wanted))
}

/// Whether any value that the span carries of the key fits. A field wins over an attribute of the span that imitates it.
pub(crate) fn any(span: &Span, key: &str, mut fits: impl FnMut(Value<'_>) -> bool) -> bool {
    let field = field(span, key);
    if field.is_some_and(&mut fits) {
        return true;
    }
    let mut in_attributes = |attributes: &Attributes| attributes.values_of(key).any(&mut fits);
    (field.is_none() && in_attributes(&span.attributes))
        || in_attributes(&span.resource.attributes)
        || in_attributes(&span.scope.attributes)
        || span
            .links
            .iter()
            .any(|link| in_attributes(&link.attributes))
        || span
            .events
            .iter()
            .any(|event| in_attributes(&event.attributes))
        || (key == "event"
            && span
                .events
                .iter()
                .any(|event| fits(Value::Text(&event.name))))
        || (key == TRACE_STATE
            && span
                .links
                .iter()
                .any(|link| fits(Value::Text(&link.trace_state))))
}

/// The derived tag of this key.
fn field<'a>(span: &'a Span, key: &str) -> Option<Value<'a>> {
    // Making them takes longer than a look at the attributes.
    let derived = DERIVED.contains(&key).then(|| derived(span))?;
    let tag = derived.into_iter().find(|(field, _)| *field == key);
    tag.map(|(_, value)| value)
}

/// Whether this is the value once it is written as text.
pub(crate) fn is(value: Value<'_>, wanted: &str) -> bool {
    if value.text() == wanted {
        return true;
    }
    // 1.0 is "1.0" in JSON and "1" to a person, and to Jaeger.
    let Value::Number(number) = value else {
        return false;
    };
    let number = number.as_f64().filter(|_| number.is_f64());
    number.is_some_and(|number| number.to_string() == wanted)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::model::{Event, Kind, Link, Resource, Scope, SpanId, TraceId};
    use crate::tree::tests::span;

    #[test]
    fn tags_are_found_wherever_they_are() {
        let mut span = span(1, None, 0, 1);
        span.kind = Kind::Server;
        span.status = Status::Error("out of stock".into());
        span.attributes = vec![
            ("code".into(), json!(409)),
            ("ratio".into(), json!(1.0)),
            ("list".into(), json!(["a", 1])),
            ("span.kind".into(), json!("client")),
            ("error".into(), json!(false)),
        ]
        .into();
        let attributes = vec![("host.name".into(), json!("box"))];
        span.resource = Arc::new(Resource {
            service: "shop".into(),
            attributes: attributes.into(),
        });
        span.events = vec![Event {
            name: "exception".into(),
            time_ns: 0,
            attributes: vec![("retry".into(), json!(false))].into(),
        }];
        span.scope = Arc::new(Scope {
            name: "test".into(),
            version: "1.2".into(),
            attributes: vec![("library".into(), json!("http"))].into(),
        });
        span.links = vec![Link {
            trace_id: TraceId(2),
            span_id: SpanId(3),
            trace_state: "vendor=1".into(),
            flags: 0,
            attributes: vec![("cause".into(), json!("retry"))].into(),
        }];
        for (key, value) in [
            ("code", "409"),
            ("ratio", "1.0"),
            ("ratio", "1"),
            ("list", "[\"a\",1]"),
            ("host.name", "box"),
            ("event", "exception"),
            ("retry", "false"),
            ("error", "true"),
            ("span.kind", "server"),
            ("otel.status_code", "ERROR"),
            ("otel.status_description", "out of stock"),
            ("otel.scope.name", "test"),
            ("otel.scope.version", "1.2"),
            ("library", "http"),
            ("cause", "retry"),
            ("w3c.tracestate", "vendor=1"),
        ] {
            assert!(carries(&span, key, value), "{key}={value}");
        }
        for (key, value) in [
            ("code", "40"),
            ("code", "409.0"),
            ("error", "false"),
            ("span.kind", "client"),
            ("", ""),
        ] {
            assert!(!carries(&span, key, value), "{key}={value}");
        }
    }
}

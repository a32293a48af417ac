//! The maximum size of an item in an answer: in Jaeger's JSON and on the page. A trace may not exceed one answer, because no
//! client could read it.

use std::borrow::Cow;

use serde_json::Value as Json;

use crate::attributes::{Key, StoredValue};
use crate::model::{Attributes, LogRecord, Resource, Span, Status, Value};

/// The fixed fields of a span, with its part of the critical path; and a tag or a reference that Jaeger makes of a field.
const SPAN: usize = 480;
const TAG: usize = 72;
const REFERENCE: usize = 112;

/// The same for other items.
const EVENT: usize = 112;
const LINK: usize = 176;
const LOG: usize = 240;
const ATTRIBUTE: usize = 48;
const VALUE: usize = 24;

/// A span without its resource.
pub(super) fn span(span: &Span) -> usize {
    let status = match &span.status {
        Status::Unset => 0,
        Status::Ok => TAG,
        Status::Error(message) => 3 * TAG + text(message),
    };
    let scope = &span.scope;
    let optional = [&scope.name, &scope.version, &span.trace_state].into_iter();
    let optional = optional.filter(|field| !field.is_empty());
    let events = span.events.iter();
    let links = span.links.iter();
    SPAN + text(&span.name)
        + text(&span.resource.service)
        + status
        + span.parent.map_or(0, |_| REFERENCE)
        + optional.map(|field| TAG + text(field)).sum::<usize>()
        + attributes(&span.attributes)
        + attributes(&scope.attributes)
        + events
            .map(|event| EVENT + text(&event.name) + attributes(&event.attributes))
            .sum::<usize>()
        + links
            .map(|link| LINK + text(&link.trace_state) + attributes(&link.attributes))
            .sum::<usize>()
}

/// A log record.
pub(super) fn log(log: &LogRecord) -> usize {
    LOG + text(&log.severity) + text(&log.body) + attributes(&log.attributes)
}

/// A sender.
pub(super) fn resource(resource: &Resource) -> usize {
    EVENT + text(&resource.service) + attributes(&resource.attributes)
}

fn attributes(attributes: &Attributes) -> usize {
    let pairs = attributes.entries.iter().map(|(key, held)| {
        let value = match held {
            // All texts are counted together, below.
            StoredValue::Text(..) => 0,
            StoredValue::Nested(nested) => value((&**nested).into()),
            StoredValue::Null | StoredValue::Bool(_) | StoredValue::Number(_) => VALUE,
        };
        ATTRIBUTE + self::key(key) + value
    });
    text(&attributes.texts) + pairs.sum::<usize>()
}

fn key(key: &Key) -> usize {
    match key {
        Cow::Borrowed(shared) => shared.len(),
        Cow::Owned(own) => text(own),
    }
}

fn value(item: Value<'_>) -> usize {
    match item {
        Value::Null | Value::Bool(_) | Value::Number(_) => VALUE,
        Value::Text(string) => text(string),
        Value::Nested(Json::Object(map)) => {
            let entries = map.iter();
            let entries = entries.map(|(key, item)| ATTRIBUTE + text(key) + value(item.into()));
            entries.sum::<usize>() + VALUE
        }
        Value::Nested(list) => {
            let items = list.as_array().into_iter().flatten();
            let items = items.map(|item| VALUE + value(item.into()));
            items.sum::<usize>() + VALUE
        }
    }
}

/// Quotes and control characters are escaped; those of a nested value twice.
fn text(text: &str) -> usize {
    let is_escaped = |byte: &u8| *byte < b' ' || *byte == b'"' || *byte == b'\\';
    text.len() + 6 * text.bytes().filter(|byte| is_escaped(byte)).count()
}

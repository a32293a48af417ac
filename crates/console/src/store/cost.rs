//! Estimates the heap memory of an item.
//!
//! A block of n bytes costs n + 8 rounded up to 16, at least 32 (glibc's malloc on 64 bits). Strings and vectors are
//! counted by capacity. JSON objects (`serde_json` with `preserve_order`) cost a hash slot beside each entry.

use std::borrow::Cow;
use std::mem::size_of;
use std::sync::Arc;

use serde_json::Value;

use crate::attributes::{Key, StoredValue};
use crate::model::{Attributes, Event, Link, LogRecord, Resource, Scope, Span, SpanId, TraceId};

/// An entry of the index of links: target, trace and span.
pub(super) type Backlink = (TraceId, TraceId, SpanId);

/// Two reference counts in front of what an `Arc` holds.
const ARC_HEADER: usize = 16;

/// A slot of a hash table or B-tree: key, value, control byte and the share that is empty.
pub(crate) const fn slot(bytes: usize) -> usize {
    bytes * 2 + 2
}

/// A heap block.
pub(crate) const fn block(bytes: usize) -> usize {
    if bytes == 0 {
        return 0;
    }
    let rounded = (bytes + 8).next_multiple_of(16);
    if rounded < 32 { 32 } else { rounded }
}

pub(crate) fn text(text: &String) -> usize {
    block(text.capacity())
}

fn value(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(string) => text(string),
        Value::Array(items) => {
            block(items.capacity() * size_of::<Value>())
                + items.iter().map(self::value).sum::<usize>()
        }
        Value::Object(map) => {
            let entry = size_of::<(String, Value)>() + size_of::<u64>();
            let entries: usize = map
                .iter()
                .map(|(key, item)| text(key) + self::value(item))
                .sum();
            block(map.len() * slot(entry)) + entries
        }
    }
}

fn attributes(attributes: &Attributes) -> usize {
    let entries = attributes.entries.iter().map(|(key, held)| {
        // A shared key is not charged to the item.
        let key = match key {
            Cow::Borrowed(_) => 0,
            Cow::Owned(key) => text(key),
        };
        match held {
            StoredValue::Nested(nested) => key + block(size_of::<Value>()) + value(nested),
            _ => key,
        }
    });
    block(attributes.entries.capacity() * size_of::<(Key, StoredValue)>())
        + text(&attributes.texts)
        + entries.sum::<usize>()
}

/// A span without its resource, with its slots in the trace's list and indexes.
pub(crate) fn span(span: &Span) -> usize {
    let status = match &span.status {
        crate::model::Status::Error(message) => text(message),
        _ => 0,
    };
    let events: usize = span
        .events
        .iter()
        .map(|event| text(&event.name) + attributes(&event.attributes))
        .sum();
    let links: usize = span
        .links
        .iter()
        .map(|link| {
            text(&link.trace_state) + attributes(&link.attributes) + slot(size_of::<Backlink>())
        })
        .sum();
    block(ARC_HEADER + size_of::<Span>())
        + scope(&span.scope)
        + text(&span.trace_state)
        + text(&span.name)
        + status
        + attributes(&span.attributes)
        + block(span.events.capacity() * size_of::<Event>())
        + events
        + block(span.links.capacity() * size_of::<Link>())
        + links
        + slot(size_of::<Arc<Span>>() + size_of::<(SpanId, u64, usize)>())
}

/// A scope, counted with each item although items of one request share it.
fn scope(scope: &Scope) -> usize {
    block(ARC_HEADER + size_of::<Scope>())
        + text(&scope.name)
        + text(&scope.version)
        + attributes(&scope.attributes)
}

/// A log record without its resource, with its slots in a list and, without a trace, in the order of coming.
pub(crate) fn log(log: &LogRecord) -> usize {
    block(ARC_HEADER + size_of::<LogRecord>())
        + scope(&log.scope)
        + text(&log.severity)
        + text(&log.severity_text)
        + text(&log.body)
        + attributes(&log.attributes)
        + slot(size_of::<(u64, Arc<LogRecord>)>())
        + slot(size_of::<u64>())
}

/// A resource with its slots in the tables of resources.
pub(crate) fn resource(resource: &Resource) -> usize {
    block(ARC_HEADER + size_of::<Resource>())
        + text(&resource.service)
        + attributes(&resource.attributes)
        + slot(size_of::<(usize, Arc<Resource>, u64, usize, usize)>())
        + slot(size_of::<(u64, usize)>())
}

//! Batches in OTLP's protobuf, written straight from the records. The conversion to generated types that
//! `opentelemetry-otlp` does copies each text three times, and was a third of what a request's telemetry cost.
//!
//! Fields are written in the order of their numbers, and defaults left out, so the bytes are those of the generated types;
//! the tests hold that.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry::Value;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags};
use opentelemetry_sdk::Resource;
use serde_json::Value as Json;
use tracing::Level;

use crate::names::SCHEMA_URL;
use crate::{logs, spans};

/// Capacity that is enough for most spans and log records.
const USUAL: usize = 512;

/// In the field `flags` of spans and links: it is known whether the parent is remote, and it is remote.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// Encodes a `Span` where it ends, so that its parts do not wait in the queue and are freed by the thread that allocated them.
pub(crate) struct Span(Vec<u8>);

impl Span {
    pub(crate) fn of(record: &spans::Record) -> Self {
        let mut out = Writer(Vec::with_capacity(USUAL));
        out.span(record);
        Self(out.0)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// An `ExportTraceServiceRequest`.
pub(crate) fn spans(batch: &[Span], resource: &Resource) -> Vec<u8> {
    let mut out = Writer(Vec::with_capacity(batch.len() * USUAL));
    out.message(1, |out| {
        out.resource(resource);
        out.message(2, |out| {
            out.message(1, |out| out.text(1, crate::SCOPE));
            for span in batch {
                out.always(2, span.bytes());
            }
            out.schema();
        });
        out.schema();
    });
    out.0
}

/// An `ExportLogsServiceRequest`. The scope of a record is its target.
pub(crate) fn logs(batch: &[logs::Record], resource: &Resource) -> Vec<u8> {
    let mut scopes = BTreeMap::<&str, Vec<&logs::Record>>::new();
    for record in batch {
        scopes
            .entry(record.metadata.target())
            .or_default()
            .push(record);
    }
    let mut out = Writer(Vec::with_capacity(batch.len() * USUAL));
    out.message(1, |out| {
        out.resource(resource);
        for (target, records) in scopes {
            out.message(2, |out| {
                out.message(1, |out| out.text(1, target));
                for record in records {
                    out.message(2, |out| out.record(record));
                }
                out.schema();
            });
        }
        out.schema();
    });
    out.0
}

/// How a field's value is written.
const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LENGTH: u32 = 2;
const FIXED32: u32 = 5;

struct Writer(Vec<u8>);

impl Writer {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(&mut self, field: u32, wire: u32) {
        self.varint(u64::from(field << 3 | wire));
    }

    fn number(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.key(field, VARINT);
            self.varint(value);
        }
    }

    fn fixed32(&mut self, field: u32, value: u32) {
        if value != 0 {
            self.key(field, FIXED32);
            self.0.extend_from_slice(&value.to_le_bytes());
        }
    }

    fn time(&mut self, field: u32, time: SystemTime) {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        if !since.is_zero() {
            self.key(field, FIXED64);
            let nanos = since.as_nanos() as u64;
            self.0.extend_from_slice(&nanos.to_le_bytes());
        }
    }

    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.always(field, bytes);
        }
    }

    /// Even if they are empty.
    fn always(&mut self, field: u32, bytes: &[u8]) {
        self.key(field, LENGTH);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, field: u32, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    /// A nested message. Its length comes first but is known last; one byte is enough for most.
    fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        self.key(field, LENGTH);
        let start = self.0.len();
        self.0.push(0);
        write(self);
        let end = self.0.len();
        let length = end - start - 1;
        if length < 0x80 {
            self.0[start] = length as u8;
        } else {
            self.0[start] = length as u8 | 0x80;
            self.varint(length as u64 >> 7);
            let width = self.0.len() - end;
            self.0[start + 1..].rotate_right(width);
        }
    }

    fn resource(&mut self, resource: &Resource) {
        self.message(1, |out| {
            for (key, value) in resource {
                out.attribute(1, key.as_str(), |out| match value {
                    Value::I64(value) => out.integer(*value),
                    other => out.always(1, other.as_str().as_bytes()),
                });
            }
        });
    }

    /// That of a resource does not hold for its scopes.
    fn schema(&mut self) {
        self.text(3, SCHEMA_URL);
    }

    fn attribute(&mut self, field: u32, key: &str, value: impl FnOnce(&mut Self)) {
        self.message(field, |out| {
            out.text(1, key);
            out.message(2, value);
        });
    }

    fn attributes(&mut self, attributes: &spans::Attributes) {
        for (key, value) in attributes.iter() {
            self.attribute(9, key, |out| match value {
                spans::Value::Bool(value) => out.boolean(*value),
                spans::Value::Int(value) => out.integer(*value),
                spans::Value::Float(value) => out.double(*value),
                spans::Value::Text(text) => out.always(1, attributes.read(text).as_bytes()),
                spans::Value::Texts(texts) => out.message(5, |out| {
                    for text in texts {
                        out.message(1, |out| out.always(1, text.as_bytes()));
                    }
                }),
            });
        }
    }

    fn boolean(&mut self, value: bool) {
        self.key(2, VARINT);
        self.varint(value.into());
    }

    fn integer(&mut self, value: i64) {
        self.key(3, VARINT);
        self.varint(value as u64);
    }

    fn double(&mut self, value: f64) {
        self.key(4, FIXED64);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn span(&mut self, span: &spans::Record) {
        self.ids(&span.context);
        if span.parent != SpanId::INVALID {
            self.bytes(4, &span.parent.to_bytes());
        }
        let fields = &span.fields;
        self.text(5, &fields.name);
        self.number(6, kind(fields.kind.as_ref()));
        self.time(7, span.start);
        self.time(8, span.end);
        self.attributes(&fields.attributes);
        self.number(10, fields.attributes.dropped.into());
        for link in &span.links {
            self.message(13, |out| out.link(link));
        }
        self.number(14, span.dropped_links.into());
        self.message(15, |out| out.status(&fields.status));
        self.fixed32(16, flags(span.context.trace_flags(), span.parent_is_remote));
    }

    fn ids(&mut self, of: &SpanContext) {
        self.bytes(1, &of.trace_id().to_bytes());
        self.bytes(2, &of.span_id().to_bytes());
        self.text(3, &of.trace_state().header());
    }

    fn link(&mut self, to: &SpanContext) {
        self.ids(to);
        self.fixed32(6, flags(to.trace_flags(), to.is_remote()));
    }

    fn status(&mut self, status: &Status) {
        match status {
            Status::Unset => {}
            Status::Ok => self.number(3, 1),
            Status::Error { description } => {
                self.text(2, description);
                self.number(3, 2);
            }
        }
    }

    fn record(&mut self, record: &logs::Record) {
        let level = *record.metadata.level();
        self.time(1, record.time);
        self.number(2, severity(level));
        self.text(3, level.as_str());
        self.message(5, |out| out.always(1, record.message.as_bytes()));
        for (key, value) in &record.fields.0 {
            self.attribute(6, key, |out| out.json(value));
        }
        if let Some((trace, span, flags)) = record.trace {
            self.fixed32(8, flags.to_u8().into());
            self.bytes(9, &trace.to_bytes());
            self.bytes(10, &span.to_bytes());
        }
        self.time(11, record.time);
    }

    fn json(&mut self, value: &Json) {
        match value {
            Json::Bool(value) => self.boolean(*value),
            Json::Number(number) => match number.as_i64() {
                Some(integer) => self.integer(integer),
                None => self.double(number.as_f64().unwrap_or_default()),
            },
            Json::String(text) => self.always(1, text.as_bytes()),
            other => self.always(1, other.to_string().as_bytes()),
        }
    }
}

fn flags(flags: TraceFlags, is_remote: bool) -> u32 {
    let remote = if is_remote { IS_REMOTE } else { 0 };
    u32::from(flags.to_u8()) | HAS_IS_REMOTE | remote
}

fn kind(kind: Option<&SpanKind>) -> u64 {
    match kind {
        None | Some(SpanKind::Internal) => 1,
        Some(SpanKind::Server) => 2,
        Some(SpanKind::Client) => 3,
        Some(SpanKind::Producer) => 4,
        Some(SpanKind::Consumer) => 5,
    }
}

fn severity(level: Level) -> u64 {
    match level {
        Level::TRACE => 1,
        Level::DEBUG => 5,
        Level::INFO => 9,
        Level::WARN => 13,
        Level::ERROR => 17,
    }
}

#[cfg(test)]
mod tests;

//! Attribute values and identifiers, bounded.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope};
use opentelemetry_proto::tonic::resource::v1::Resource as ProtoResource;
use redact::{MARK, is_secret_key, redact};
use serde_json::{Map, Value};

use super::attribute::{MAX_ATTRIBUTES, attributes};
use crate::model::{self, Resource, Scope, SpanId, TraceId};

/// The longest text of a value, in bytes.
pub(super) const MAX_TEXT: usize = 16 << 10;

/// The attributes of a resource that become labels of each of its series.
pub(crate) const SERVICE_NAME: &str = "service.name";
pub(crate) const SERVICE_INSTANCE: &str = "service.instance.id";

/// The maximum length of a span's name, an attribute's key and similar texts, in bytes.
pub(super) const MAX_NAME: usize = 1 << 10;

/// How deep lists and objects nest.
const MAX_DEPTH: usize = 8;

/// Ends a text that was cut.
const CUT: &str = "… (cut)";

/// Stands for what nests too deep.
const TOO_DEEP: &str = "… (nested too deep)";

/// How far beyond a cut is looked for the rest of a secret.
const LOOK_BEYOND: usize = 8 << 10;

/// Redacts a text, because its sender may not have done so, then cuts it to `limit` bytes at a character boundary and marks
/// the cut.
pub(super) fn cut(mut text: String, limit: usize) -> String {
    let known = text.floor_char_boundary(limit + LOOK_BEYOND);
    let is_longer = known < text.len();
    text.truncate(known);
    if let Cow::Owned(clean) = redact(&text) {
        text = clean;
    }
    if is_longer || text.len() > limit {
        let end = text.floor_char_boundary(limit);
        text.truncate(end);
        text.push_str(CUT);
    }
    text.shrink_to_fit();
    text
}

/// The redacted and cut text. Of a long text it copies only the part that it examines.
pub(super) fn clean(text: &str, limit: usize) -> Cow<'_, str> {
    if text.len() <= limit && matches!(redact(text), Cow::Borrowed(_)) {
        return text.into();
    }
    // One more character shows that the text is longer.
    let end = text.floor_char_boundary(limit + LOOK_BEYOND + 4);
    cut(text[..end].to_owned(), limit).into()
}

/// Does the same, and returns a copy.
pub(crate) fn cut_copy(text: &str, limit: usize) -> String {
    clean(text, limit).into_owned()
}

/// Whether there may be a secret in it, if its key says that it is one whatever it looks like.
pub(super) fn may_be_secret(value: model::Value<'_>) -> bool {
    use model::Value;
    !matches!(value, Value::Null | Value::Bool(_))
}

/// An attribute value as JSON.
pub(super) fn value(value: Option<AnyValue>) -> Value {
    let mut room = MAX_TEXT;
    nested(value, 0, &mut room)
}

/// `room` is the rest of `MAX_TEXT` for all texts and entries of one value together.
fn nested(value: Option<AnyValue>, depth: usize, room: &mut usize) -> Value {
    match value.and_then(|value| value.value) {
        None => Value::Null,
        Some(Any::StringValue(text)) => Value::String(fit(text, room)),
        Some(Any::BoolValue(value)) => Value::Bool(value),
        Some(Any::IntValue(value)) => Value::from(value),
        // JSON has no such numbers, but they must not become null.
        Some(Any::DoubleValue(value)) if !value.is_finite() => Value::String(value.to_string()),
        Some(Any::DoubleValue(value)) => Value::from(value),
        Some(Any::BytesValue(bytes)) => Value::String(fit(STANDARD.encode(bytes), room)),
        Some(Any::StringValueStrindex(index)) => {
            Value::String(format!("string {index} of a table that was not sent"))
        }
        Some(Any::ArrayValue(_) | Any::KvlistValue(_)) if depth >= MAX_DEPTH => {
            Value::String(TOO_DEEP.into())
        }
        Some(Any::ArrayValue(array)) => {
            let mut items = Vec::new();
            for item in array.values {
                if items.len() >= MAX_ATTRIBUTES || *room == 0 {
                    items.push(Value::String(CUT.into()));
                    break;
                }
                items.push(nested(Some(item), depth + 1, room));
            }
            Value::Array(items)
        }
        Some(Any::KvlistValue(list)) => {
            let mut map = Map::new();
            for entry in list.values {
                if map.len() >= MAX_ATTRIBUTES || *room == 0 {
                    map.insert(CUT.into(), Value::Null);
                    break;
                }
                let key = fit(entry.key, room);
                let mut value = nested(entry.value, depth + 1, room);
                if is_secret_key(&key) && may_be_secret((&value).into()) {
                    value = Value::String(MARK.into());
                }
                map.insert(key, value);
            }
            Value::Object(map)
        }
    }
}

/// The text, cut to the room that is left. An entry takes at least one byte, so that empty ones are bounded too.
fn fit(text: String, room: &mut usize) -> String {
    let text = cut(text, *room);
    *room = room.saturating_sub(text.len().max(1));
    text
}

/// The sender of a group of items.
pub(crate) fn resource(sent: Option<ProtoResource>) -> Arc<Resource> {
    let sent = sent.unwrap_or_default();
    let attributes = attributes(sent.attributes, sent.dropped_attributes_count);
    let name = attributes.get(SERVICE_NAME);
    let name = name
        .and_then(|name| name.as_str())
        .filter(|name| !name.is_empty());
    let service = cut(name.unwrap_or("unknown_service").to_owned(), MAX_NAME);
    Arc::new(Resource {
        service,
        attributes,
    })
}

/// The library that made a group of items.
pub(super) fn scope(sent: Option<InstrumentationScope>) -> Arc<Scope> {
    let sent = sent.unwrap_or_default();
    Arc::new(Scope {
        name: cut(sent.name, MAX_NAME),
        version: cut(sent.version, MAX_NAME),
        attributes: attributes(sent.attributes, sent.dropped_attributes_count),
    })
}

/// A trace id: 16 bytes, at least one of them not zero.
pub(super) fn trace_id(bytes: &[u8]) -> Option<TraceId> {
    let id = u128::from_be_bytes(bytes.try_into().ok()?);
    (id != 0).then_some(TraceId(id))
}

/// A span id: 8 bytes, at least one of them not zero.
pub(super) fn span_id(bytes: &[u8]) -> Option<SpanId> {
    let id = u64::from_be_bytes(bytes.try_into().ok()?);
    (id != 0).then_some(SpanId(id))
}

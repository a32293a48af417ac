//! Attributes, bounded. Those of protobuf are read without a struct of the protocol in between: they are most of a span.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message;
use prost::encoding::decode_varint;
use redact::MARK;
use serde_json::Value as Json;

use super::clean::Clean;
use super::keys::{self, key};
use super::protobuf::Field;
use super::values::{MAX_TEXT, may_be_secret, value};
use crate::attributes::Key;
use crate::model::{Attributes, Value};

/// The most attributes of one item, and entries of one list in it.
pub(super) const MAX_ATTRIBUTES: usize = 128;

/// The attribute that says how many others were dropped, by the sender or here.
pub(crate) const DROPPED_ATTRIBUTES: &str = "otel.dropped_attributes_count";

/// Reads the attributes of one item of a body after the other, as protobuf has them.
#[derive(Default)]
pub(super) struct Reader<'a> {
    kept: AttributeList,
    pub texts: Clean<'a>,
}

impl<'a> Reader<'a> {
    /// Prepares for the attributes of the next item, whatever the result of the previous one.
    pub fn begin(&mut self) {
        self.kept.all(0);
    }

    /// Adds one.
    pub fn add(&mut self, sent: &'a [u8]) -> Result<(), String> {
        if self.kept.is_full() {
            return Ok(());
        }
        let (key, value) = pair(sent)?;
        let key = keys::read(key)?;
        match text(value) {
            Some(text) => {
                let text = self.texts.text(text, MAX_TEXT)?;
                self.kept.push(key, Value::Text(&text));
            }
            None => self.kept.push(key, (&any(value)?).into()),
        }
        Ok(())
    }

    /// All attributes of the item.
    pub fn all(&mut self, dropped_by_sender: u32) -> Attributes {
        self.kept.all(dropped_by_sender)
    }
}

/// The attributes of an item, within their limits.
#[derive(Default)]
struct AttributeList {
    list: Attributes,
    too_many: u64,
}

impl AttributeList {
    fn is_full(&mut self) -> bool {
        let is_full = self.list.len() == MAX_ATTRIBUTES;
        self.too_many += u64::from(is_full);
        is_full
    }

    fn push(&mut self, (key, is_secret): (Key, bool), value: Value<'_>) {
        let is_hidden = is_secret && may_be_secret(value);
        let value = if is_hidden { Value::Text(MARK) } else { value };
        self.list.push(key, value);
    }

    /// All attributes. An attribute of its own counts those that exceed the limits, together with those that the sender has
    /// dropped itself.
    fn all(&mut self, dropped_by_sender: u32) -> Attributes {
        let dropped = std::mem::take(&mut self.too_many) + u64::from(dropped_by_sender);
        if dropped > 0 {
            self.list
                .push(DROPPED_ATTRIBUTES, Value::Number(&dropped.into()));
        }
        self.list.take()
    }
}

/// Attributes of an item.
pub(super) fn attributes(sent: Vec<KeyValue>, dropped_by_sender: u32) -> Attributes {
    let mut kept = AttributeList::default();
    for entry in sent {
        if !kept.is_full() {
            kept.push(key(&entry.key), (&value(entry.value)).into());
        }
    }
    kept.all(dropped_by_sender)
}

/// Key and value of a message `KeyValue`. Of several the last one counts.
fn pair(mut sent: &[u8]) -> Result<(&[u8], &[u8]), String> {
    let (mut key, mut value) = (&[][..], &[][..]);
    while !sent.is_empty() {
        let field = Field::next(&mut sent)?;
        match (field.number, field.content) {
            (1, Some(content)) => key = content,
            (2, Some(content)) => value = content,
            (1 | 2, None) => return Err("key or value of an attribute has a wrong type".into()),
            _ => {}
        }
    }
    Ok((key, value))
}

/// The text of a message `AnyValue`, if it is one, and nothing else is there.
fn text(sent: &[u8]) -> Option<&[u8]> {
    let mut rest = sent.strip_prefix(&[0x0a])?;
    let length = decode_varint(&mut rest).ok()?;
    (length == rest.len() as u64).then_some(rest)
}

/// A message `AnyValue`.
fn any(sent: &[u8]) -> Result<Json, String> {
    if let Some(plain) = plain(sent) {
        return Ok(plain);
    }
    let decoded = AnyValue::decode(sent).map_err(|why| why.to_string())?;
    Ok(value(Some(decoded)))
}

/// The value if it is a truth value or a number, and nothing else is there.
fn plain(sent: &[u8]) -> Option<Json> {
    let (kind, rest) = sent.split_first()?;
    match kind {
        0x10 => varint(rest).map(|number| Json::Bool(number != 0)),
        0x18 => varint(rest).map(|number| Json::from(number.cast_signed())),
        0x21 => {
            let number = f64::from_le_bytes(rest.try_into().ok()?);
            number.is_finite().then(|| Json::from(number))
        }
        _ => None,
    }
}

fn varint(mut bytes: &[u8]) -> Option<u64> {
    let number = decode_varint(&mut bytes).ok()?;
    bytes.is_empty().then_some(number)
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::ArrayValue;
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;

    use super::*;

    #[test]
    fn both_ways_lead_to_the_same() {
        let list = ArrayValue {
            values: vec![AnyValue {
                value: Some(Any::BoolValue(true)),
            }],
        };
        for sent in [
            Any::StringValue("ü".repeat(3)),
            Any::StringValue(String::new()),
            Any::StringValue("mail ada@example.com".into()),
            Any::StringValue("x".repeat(MAX_TEXT + 1)),
            Any::BoolValue(true),
            Any::BoolValue(false),
            Any::IntValue(i64::MIN),
            Any::IntValue(7),
            Any::DoubleValue(-0.5),
            Any::DoubleValue(f64::NAN),
            Any::DoubleValue(f64::NEG_INFINITY),
            Any::BytesValue(vec![1, 2]),
            Any::ArrayValue(list),
        ] {
            let sent = AnyValue { value: Some(sent) };
            let entry = KeyValue {
                key: "key".into(),
                value: Some(sent.clone()),
                ..KeyValue::default()
            };
            let (encoded, mut reader) = (entry.encode_to_vec(), Reader::default());
            for _ in 0..2 {
                reader.add(&encoded).expect("an attribute");
                assert_eq!(reader.all(0), attributes(vec![entry.clone()], 0));
            }
        }
        assert_eq!(any(&[]), Ok(Json::Null));
        // If there are two, the last one counts, as in the protocol's decoder.
        assert_eq!(any(&[0x10, 1, 0x18, 5]), Ok(Json::from(5)));
    }

    #[test]
    fn what_is_no_attribute_is_an_error() {
        for sent in [
            &[0x0a, 1, 0xff][..],
            &[0x0a, 2, b'k'],
            &[0x08, 1],
            &[0x10, 1],
            &[0x0a, 1, b'k', 0x12, 3, 0x0a, 1, 0xff],
            &[0x0a, 1, b'k', 0x12, 2, 0x08, 1],
            &[0x0a, 1, b'k', 0x12, 2, 0x21, 1],
        ] {
            assert!(Reader::default().add(sent).is_err(), "{sent:?}");
        }
    }
}

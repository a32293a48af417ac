//! The attributes of an item, in two blocks of memory: they are most of a span.
//!
//! The texts stand one behind the other in one of them. `serde_json::Value` would take three times the room, for the sake of objects.

use std::borrow::Cow;
use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::{Number, Value as Json};

/// Items share the keys that many of them have. JSON escapes no character of a shared key.
pub type Key = Cow<'static, str>;

/// Attributes in the order they came.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Attributes {
    pub(crate) entries: Vec<(Key, StoredValue)>,
    pub(crate) texts: String,
}

/// A value as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum StoredValue {
    Null,
    Bool(bool),
    Number(Number),
    /// The start and the end of the text in the block of texts. 32 bits are enough: an item has at most one megabyte.
    Text(u32, u32),
    /// A list or an object.
    Nested(Box<Json>),
}

/// A value of an attribute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// None.
    Null,
    /// A truth value.
    Bool(bool),
    /// A number.
    Number(&'a Number),
    /// A text.
    Text(&'a str),
    /// A list or an object.
    Nested(&'a Json),
}

impl Attributes {
    /// Adds one.
    pub fn push(&mut self, key: impl Into<Key>, value: Value<'_>) {
        let held = match value {
            Value::Null => StoredValue::Null,
            Value::Bool(value) => StoredValue::Bool(value),
            Value::Number(number) => StoredValue::Number(number.clone()),
            Value::Nested(value) => StoredValue::Nested(Box::new(value.clone())),
            Value::Text(text) => {
                let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
                let begins = self.texts.len();
                self.texts.push_str(text);
                StoredValue::Text(place(begins), place(self.texts.len()))
            }
        };
        self.entries.push((key.into(), held));
    }

    /// Takes all attributes, in blocks of exactly their size, so that the caller can reuse the buffers. Shrinking a block
    /// would leave a gap that fits nothing.
    pub fn take(&mut self) -> Self {
        let taken = Self {
            entries: self.entries.drain(..).collect(),
            texts: self.texts.as_str().to_owned(),
        };
        self.texts.clear();
        taken
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All attributes, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Value<'_>)> + Clone {
        let entries = self.entries.iter();
        entries.map(|(key, held)| (&**key, self.value(held)))
    }

    /// The values of this key. It does not look at the texts of other keys, because a search goes through all that the
    /// console holds.
    pub fn values_of(&self, key: &str) -> impl Iterator<Item = Value<'_>> {
        let found = self.entries.iter().filter(move |(known, _)| known == key);
        found.map(|(_, held)| self.value(held))
    }

    /// The first of this key.
    pub fn get(&self, key: &str) -> Option<Value<'_>> {
        self.values_of(key).next()
    }

    fn value<'a>(&'a self, held: &'a StoredValue) -> Value<'a> {
        match held {
            StoredValue::Null => Value::Null,
            StoredValue::Bool(value) => Value::Bool(*value),
            StoredValue::Number(number) => Value::Number(number),
            StoredValue::Text(from, to) => {
                let text = self.texts.get(*from as usize..*to as usize);
                Value::Text(text.unwrap_or_default())
            }
            StoredValue::Nested(value) => Value::Nested(value),
        }
    }
}

impl<'a> Value<'a> {
    /// The text, if the value is one.
    pub fn as_str(self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value as text: a text as it is, everything else as JSON, `Null` as the empty text.
    pub fn text(self) -> Cow<'a, str> {
        match self {
            Self::Text(text) => text.into(),
            Self::Null => Cow::default(),
            other => other.to_string().into(),
        }
    }
}

impl<'a> From<&'a Json> for Value<'a> {
    fn from(value: &'a Json) -> Self {
        match value {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => Self::Number(number),
            Json::String(text) => Self::Text(text),
            Json::Array(_) | Json::Object(_) => Self::Nested(value),
        }
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(number) => number.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Nested(value) => value.serialize(serializer),
        }
    }
}

/// As JSON.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_string(self);
        f.write_str(&json.map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
impl From<Vec<(Key, Json)>> for Attributes {
    fn from(all: Vec<(Key, Json)>) -> Self {
        let mut attributes = Self::default();
        for (key, value) in &all {
            attributes.push(key.clone(), value.into());
        }
        attributes.take()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_added_comes_back_in_order() {
        let sent = vec![
            ("text".into(), json!("größe")),
            ("empty".into(), json!("")),
            ("none".into(), Json::Null),
            ("flag".into(), json!(true)),
            ("number".into(), json!(-7)),
            ("half".into(), json!(0.5)),
            ("list".into(), json!(["a", {"b": 1}])),
            ("text".into(), json!("again")),
        ];
        let attributes = Attributes::from(sent.clone());
        let came_back = attributes.iter();
        let came_back = came_back.map(|(key, value)| (key.to_owned().into(), json!(value)));
        assert_eq!(came_back.collect::<Vec<(Key, Json)>>(), sent);
        assert_eq!(attributes.get("text"), Some(Value::Text("größe")));
        let texts = attributes
            .iter()
            .map(|(_, value)| value.text().into_owned());
        let texts: Vec<String> = texts.collect();
        assert_eq!(
            texts,
            [
                "größe",
                "",
                "",
                "true",
                "-7",
                "0.5",
                r#"["a",{"b":1}]"#,
                "again"
            ]
        );
    }

    /// An attribute of a span is most of what the console holds.
    #[test]
    fn an_attribute_is_small() {
        assert_eq!(size_of::<(Key, StoredValue)>(), 40);
    }
}

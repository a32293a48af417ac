//! Visits the items of a JSON list one at a time. Each stays text until its turn.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The action per item; an error ends the list.
pub(super) type Action<'f, 'a> = &'f mut dyn FnMut(&'a str) -> Result<(), String>;

/// Calls `action` for each item of the list that the object `text` has under `name`. `null` is no list and no error.
pub(super) fn each<'a>(
    text: &'a str,
    name: &'static str,
    action: Action<'_, 'a>,
) -> Result<(), String> {
    let mut json = serde_json::Deserializer::from_str(text);
    let done = Object { name, action }.deserialize(&mut json);
    done.and_then(|()| json.end())
        .map_err(|why| why.to_string())
}

struct Object<'f, 'a> {
    name: &'static str,
    action: Action<'f, 'a>,
}

impl<'de> DeserializeSeed<'de> for Object<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            if name == self.name {
                map.next_value_seed(List(&mut *self.action))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

struct List<'f, 'a>(Action<'f, 'a>);

impl<'de> DeserializeSeed<'de> for List<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for List<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(item) = list.next_element::<&'de RawValue>()? {
            (self.0)(item.get()).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}

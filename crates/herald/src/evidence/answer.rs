//! Parses answers and keeps no more than needed: borrowed texts, bounded lists, plausible numbers.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::text::quoted;

/// The largest plausible measurement: seconds, requests, shares.
const LARGEST: f64 = 1e9;

/// How many bytes of a text are read.
const READ: usize = 4096;

/// A secret that the end of the reading cuts in two is not recognised, so this many characters before the end are not shown.
const UNSURE: usize = 256;

/// A text as it stands in the answer.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash, serde::Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// A number, written as one or as a text; `None` if it is no plausible measurement.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) struct Number(pub(super) Option<f64>);

/// The first `N` of a list.
#[derive(Debug)]
pub(super) struct FirstItems<T, const N: usize> {
    pub(super) items: Vec<T>,
    /// The list had more items.
    pub(super) more: bool,
}

/// Any value that is no list and no object, as text.
#[derive(Debug, Default)]
pub(super) struct Plain(pub(super) String);

/// A short quote of a text of any length: the work is bounded too.
pub(super) fn excerpt(text: &str, limit: usize) -> String {
    if text.len() <= READ {
        return quoted(text, limit);
    }
    let read = quoted(head(text), READ);
    let sure = read.chars().count().saturating_sub(UNSURE);
    let kept: String = read
        .chars()
        .take(sure.min(limit.saturating_sub(1)))
        .collect();
    kept + "…"
}

/// The part of a text that is read.
pub(super) fn head(text: &str) -> &str {
    &text[..text.floor_char_boundary(READ)]
}

/// A number that can be a measurement.
pub(super) fn plausible(number: f64) -> Option<f64> {
    (0.0..=LARGEST).contains(&number).then_some(number)
}

/// Parses an answer.
pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| {
        let what = if error.is_data() {
            "as expected"
        } else {
            "JSON"
        };
        format!("its answer is not {what}")
    })
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Plain::deserialize(deserializer)?.0;
        Ok(Self(text.parse().ok().and_then(plausible)))
    }
}

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for FirstItems<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FirstVisitor(PhantomData))
    }
}

impl<T, const N: usize> Default for FirstItems<T, N> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            more: false,
        }
    }
}

struct FirstVisitor<T, const N: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for FirstVisitor<T, N> {
    type Value = FirstItems<T, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    /// `null`.
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(FirstItems::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut first = FirstItems::default();
        while first.items.len() < N {
            match list.next_element()? {
                Some(item) => first.items.push(item),
                None => return Ok(first),
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {
            first.more = true;
        }
        Ok(first)
    }
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyPlain)
    }
}

struct AnyPlain;

impl<'de> Visitor<'de> for AnyPlain {
    type Value = Plain;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, value: &str) -> Result<Plain, E> {
        Ok(Plain(value.to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Plain, E> {
        Ok(Plain(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Plain, E> {
        Ok(Plain(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Plain, E> {
        Ok(Plain(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Plain, E> {
        Ok(Plain(value.to_string()))
    }

    fn visit_unit<E>(self) -> Result<Plain, E> {
        Ok(Plain::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Plain, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Plain::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Plain, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Plain::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_read_in_part_and_a_secret_that_is_cut_is_not_shown() {
        let mail = "ada@example.com";
        assert_eq!(
            excerpt(&format!("mail to {mail}"), 100),
            "mail to [redacted]"
        );
        for position in READ - 20..READ {
            let text = format!("{}{mail}{}", " ".repeat(position), "x".repeat(1 << 20));
            assert!(!excerpt(&text, READ).contains("ada"), "{position}");
        }
        assert_eq!(
            excerpt(&"é".repeat(1 << 20), 10),
            format!("{}…", "é".repeat(9))
        );
    }

    #[test]
    fn numbers_that_measure_nothing_are_none() {
        let read = |text: &str| parse::<Number>(text.as_bytes()).unwrap().0;
        for nonsense in [
            r#""NaN""#,
            r#""+Inf""#,
            r#""-Inf""#,
            "1e308",
            r#""1e308""#,
            "-1",
            r#""-0.1""#,
            "null",
            "[1]",
            "{}",
            r#""x""#,
        ] {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
        assert_eq!(
            [read("1"), read(r#""0.5""#), read("2.5")],
            [Some(1.0), Some(0.5), Some(2.5)]
        );
    }

    #[test]
    fn of_a_list_the_first_are_kept() {
        let read = |text: &str| {
            let first: FirstItems<u32, 2> = parse(text.as_bytes()).unwrap();
            (first.items, first.more)
        };
        assert_eq!(read("[1,2]"), (vec![1, 2], false));
        assert_eq!(read("[1,2,[[3]]]"), (vec![1, 2], true));
        assert_eq!(read("null"), (vec![], false));
        assert_eq!(
            parse::<FirstItems<u32, 2>>(b"[1").unwrap_err(),
            "its answer is not JSON"
        );
    }
}

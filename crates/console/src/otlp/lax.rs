//! Values of proto3's JSON mapping, which allows more than one notation: 64-bit integers as strings or numbers, enums as
//! numbers or names, `null` for unset values.

use std::fmt;
use std::marker::PhantomData;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// Without padding, and whatever the last bits are.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// A scalar as it stands in the text.
enum Scalar {
    Null,
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(String),
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyScalar;
        impl Visitor<'_> for AnyScalar {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or a string")
            }
            fn visit_unit<E>(self) -> Result<Scalar, E> {
                Ok(Scalar::Null)
            }
            fn visit_u64<E>(self, value: u64) -> Result<Scalar, E> {
                Ok(Scalar::Unsigned(value))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Scalar, E> {
                Ok(Scalar::Signed(value))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Scalar, E> {
                Ok(Scalar::Float(value))
            }
            fn visit_str<E>(self, value: &str) -> Result<Scalar, E> {
                Ok(Scalar::Text(value.to_owned()))
            }
        }
        deserializer.deserialize_any(AnyScalar)
    }
}

/// An integer of 64 bits or fewer.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Integer<T>(pub T);

impl<'de, T> Deserialize<'de> for Integer<T>
where
    T: TryFrom<i128> + Default,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = match Scalar::deserialize(deserializer)? {
            Scalar::Null => 0,
            Scalar::Unsigned(value) => i128::from(value),
            Scalar::Signed(value) => i128::from(value),
            // Allowed if it is whole, as 1.0 or 1e9 are.
            Scalar::Float(value) if value.fract() == 0.0 => value as i128,
            Scalar::Float(value) => return Err(D::Error::custom(format!("{value} is no integer"))),
            Scalar::Text(text) => {
                let parsed = whole(&text);
                parsed.ok_or_else(|| D::Error::custom(format!("{text:?} is no integer")))?
            }
        };
        let fits = T::try_from(number).map(Self);
        fits.map_err(|_| D::Error::custom(format!("the integer {number} is out of range")))
    }
}

/// The integer that `15`, `15.0` or `1.5e1` stands for; exact, so it avoids floats.
fn whole(text: &str) -> Option<i128> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let after = after.trim_end_matches('0');
    if !after.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let mut number: i128 = format!("{before}{after}").parse().ok()?;
    let shift = exponent.checked_sub(i32::try_from(after.len()).ok()?)?;
    if number == 0 {
        return Some(0);
    }
    for _ in 0..shift.unsigned_abs() {
        number = match shift > 0 {
            true => number.checked_mul(10)?,
            false if number % 10 == 0 => number / 10,
            false => return None,
        };
    }
    Some(number)
}

/// A floating-point number.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Double(pub f64);

impl<'de> Deserialize<'de> for Double {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Scalar::deserialize(deserializer)? {
            Scalar::Null => Ok(Self(0.0)),
            Scalar::Unsigned(value) => Ok(Self(value as f64)),
            Scalar::Signed(value) => Ok(Self(value as f64)),
            Scalar::Float(value) => Ok(Self(value)),
            // Rust reads "NaN", "Infinity" and "-Infinity" as the mapping writes them.
            Scalar::Text(text) => {
                let parsed = text.parse().map(Self);
                parsed.map_err(|_| D::Error::custom(format!("{text:?} is no number")))
            }
        }
    }
}

/// A text.
#[derive(Debug, Default)]
pub(super) struct Text(pub String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(
            Option::<String>::deserialize(deserializer)?.unwrap_or_default(),
        ))
    }
}

/// An identifier in hex digits. What is no hex becomes one that has a wrong length, so that its item is rejected and not
/// the whole request.
#[derive(Debug, Default)]
pub(super) struct Id(pub Vec<u8>);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::deserialize(deserializer)?.0;
        Ok(Self(hex::decode(text).unwrap_or_else(|_| vec![0])))
    }
}

/// An enum's number, also given by name.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Enum<N>(pub i32, PhantomData<N>);

/// The names of an enum.
pub(super) trait Names {
    /// The number of a name.
    fn number(name: &str) -> Option<i32>;
}

impl<'de, N: Names> Deserialize<'de> for Enum<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let out_of_range = |_| D::Error::custom("an enum's number is out of range");
        let number = match Scalar::deserialize(deserializer)? {
            Scalar::Null => 0,
            Scalar::Unsigned(value) => i32::try_from(value).map_err(out_of_range)?,
            Scalar::Signed(value) => i32::try_from(value).map_err(out_of_range)?,
            Scalar::Float(value) if value.fract() == 0.0 => {
                i32::try_from(value as i64).map_err(out_of_range)?
            }
            Scalar::Float(value) => return Err(D::Error::custom(format!("{value} is no enum"))),
            Scalar::Text(text) => N::number(&text)
                .or_else(|| whole(&text).and_then(|number| i32::try_from(number).ok()))
                .ok_or_else(|| D::Error::custom(format!("{text:?} is not known")))?,
        };
        Ok(Self(number, PhantomData))
    }
}

/// Bytes in base64, of either alphabet, with or without padding.
pub(super) fn bytes(text: &str) -> Option<Vec<u8>> {
    let plain = text.trim_end_matches('=');
    LENIENT
        .decode(plain.replace('-', "+").replace('_', "/"))
        .ok()
}

/// A list, empty when `null`.
#[derive(Debug)]
pub(super) struct List<T>(pub Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(
            Option::<Vec<T>>::deserialize(deserializer)?.unwrap_or_default(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::{bytes, whole};

    #[test]
    fn integers_are_read_exactly_in_every_spelling() {
        for (text, number) in [
            ("15", 15),
            ("-15", -15),
            ("15.0", 15),
            ("1.5e1", 15),
            ("1.5E+1", 15),
            ("1500e-2", 15),
            ("-1.50e1", -15),
            ("0e999999999", 0),
            ("0.000", 0),
            ("1.5e18", 1_500_000_000_000_000_000),
            ("1.700000000123456789e18", 1_700_000_000_123_456_789),
        ] {
            assert_eq!(whole(text), Some(number), "{text}");
        }
        for text in [
            "",
            "-",
            "e",
            "1.5",
            "15e-1",
            "1e99",
            "1e999999999",
            "1e-999999999",
            "1e",
            "1e1.5",
            "1.-5",
            "1.5.0",
            "0x1",
            "NaN",
            "1e99999999999999999999",
            " 1",
        ] {
            assert_eq!(whole(text), None, "{text}");
        }
    }

    #[test]
    fn bytes_come_in_either_alphabet() {
        for text in ["+/8=", "+/8", "-_8=", "-_8", "-/8"] {
            assert_eq!(bytes(text), Some(vec![0xfb, 0xff]), "{text}");
        }
        assert_eq!(bytes(""), Some(Vec::new()));
        assert_eq!(bytes("*"), None);
    }
}

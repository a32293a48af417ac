//! Values of proto3's JSON mapping, which may be written in more than one way: 64-bit integers as strings or numbers,
//! enums as numbers or names, `null` for what is not said.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

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
                let parsed = text.parse::<i128>();
                parsed.map_err(|_| D::Error::custom(format!("{text:?} is no integer")))?
            }
        };
        let fits = T::try_from(number).map(Self);
        fits.map_err(|_| D::Error::custom(format!("the integer {number} is out of range")))
    }
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
            Scalar::Float(value) => return Err(D::Error::custom(format!("{value} is no enum"))),
            Scalar::Text(text) => N::number(&text)
                .or_else(|| text.parse().ok())
                .ok_or_else(|| D::Error::custom(format!("{text:?} is not known")))?,
        };
        Ok(Self(number, PhantomData))
    }
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

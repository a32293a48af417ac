//! Declaration of a fault: its name, its parameters, and the signal that must move while it is on.
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::problem::FieldError;

/// The member that says when a fault ends by itself.
const EXPIRY: &str = "expires_in_s";

/// The default expiry: long enough for an alert to fire, and short enough if somebody forgets the fault.
const DEFAULT_EXPIRY_S: f64 = 300.0;

/// Allowed expiries, in seconds.
const EXPIRY_RANGE_S: std::ops::RangeInclusive<f64> = 0.1..=3600.0;

/// The parameters of one fault, as a type. Its fields are those of [`Spec::parameters`].
pub trait Parameters: DeserializeOwned + Copy + Send + Sync + 'static {
    /// The fault's declaration.
    const SPEC: Spec;
}

/// Declaration of a fault.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Spec {
    /// Name in `/faults/{name}` and in `fault_active{fault=…}`.
    pub name: &'static str,
    /// The effect.
    pub description: &'static str,
    /// The service whose metric shows the fault.
    pub signal_service: &'static str,
    /// The metric that must move while the fault is on, as a Prometheus selector. A counter (`_total`, `_count`)
    /// rises, a gauge differs from its resting value, and of a histogram (no suffix) the mean rises.
    pub signal: &'static str,
    /// The parameters of the fault.
    pub parameters: &'static [Parameter],
}

/// Type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A whole number.
    Integer,
    /// Any number.
    Number,
}

/// Declaration of a parameter.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// Name of the JSON member.
    pub name: &'static str,
    /// Type.
    pub kind: Kind,
    /// Unit, e.g. `ms`; `1` for a share.
    pub unit: &'static str,
    /// Smallest value allowed.
    pub min: f64,
    /// Largest value allowed.
    pub max: f64,
    /// Value when not given.
    pub default: f64,
}

/// Hand-written, so that a whole number is shown as one.
impl Serialize for Parameter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Parameter", 6)?;
        out.serialize_field("name", self.name)?;
        out.serialize_field("type", &self.kind)?;
        out.serialize_field("unit", self.unit)?;
        for (name, number) in [
            ("min", self.min),
            ("max", self.max),
            ("default", self.default),
        ] {
            out.serialize_field(name, &self.value(number))?;
        }
        out.end()
    }
}

impl Parameter {
    /// A whole number in a range.
    pub const fn integer(
        name: &'static str,
        unit: &'static str,
        min: u32,
        max: u32,
        default: u32,
    ) -> Self {
        Self {
            name,
            kind: Kind::Integer,
            unit,
            min: min as f64,
            max: max as f64,
            default: default as f64,
        }
    }

    /// A share of requests, above 0 and up to 1; the default is all of them.
    pub const fn share(name: &'static str) -> Self {
        Self {
            name,
            kind: Kind::Number,
            unit: "1",
            min: 0.001,
            max: 1.0,
            default: 1.0,
        }
    }

    /// The value if it is allowed.
    fn check(&self, value: &Value) -> Result<Value, FieldError> {
        let number = value
            .as_f64()
            .filter(|number| (self.min..=self.max).contains(number));
        match number.map(|number| self.value(number)) {
            Some(checked) if self.kind == Kind::Number || value.as_f64() == checked.as_f64() => {
                Ok(checked)
            }
            _ => Err(FieldError::new(self.name, self.allowed())),
        }
    }

    fn value(&self, number: f64) -> Value {
        match self.kind {
            Kind::Integer => Value::from(number as u64),
            Kind::Number => Value::from(number),
        }
    }

    fn allowed(&self) -> String {
        let kind = if self.kind == Kind::Integer {
            "a whole number"
        } else {
            "a number"
        };
        format!(
            "allowed: {kind} from {} to {} (unit {}, default {})",
            self.min, self.max, self.unit, self.default
        )
    }
}

impl Spec {
    /// Checks what a caller asks for and fills in the defaults.
    pub(crate) fn read(
        &self,
        request: &Map<String, Value>,
    ) -> Result<(Map<String, Value>, Duration), Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut values = Map::new();
        for name in request
            .keys()
            .filter(|name| *name != EXPIRY && !self.has(name))
        {
            errors.push(FieldError::new(
                name.as_str(),
                format!("unknown; allowed: {}", self.names()),
            ));
        }
        for parameter in self.parameters {
            match request
                .get(parameter.name)
                .map(|value| parameter.check(value))
            {
                None => {
                    _ = values.insert(
                        parameter.name.to_owned(),
                        parameter.value(parameter.default),
                    )
                }
                Some(Ok(value)) => _ = values.insert(parameter.name.to_owned(), value),
                Some(Err(error)) => errors.push(error),
            }
        }
        match expiry(request.get(EXPIRY)) {
            Ok(expiry) if errors.is_empty() => Ok((values, expiry)),
            Ok(_) => Err(errors),
            Err(error) => {
                errors.push(error);
                Err(errors)
            }
        }
    }

    fn has(&self, name: &str) -> bool {
        self.parameters
            .iter()
            .any(|parameter| parameter.name == name)
    }

    fn names(&self) -> String {
        let names = self
            .parameters
            .iter()
            .map(|parameter| parameter.name)
            .chain([EXPIRY]);
        names.collect::<Vec<_>>().join(", ")
    }
}

fn expiry(value: Option<&Value>) -> Result<Duration, FieldError> {
    let seconds = match value {
        None => Some(DEFAULT_EXPIRY_S),
        Some(value) => value
            .as_f64()
            .filter(|seconds| EXPIRY_RANGE_S.contains(seconds)),
    };
    seconds.map(Duration::from_secs_f64).ok_or_else(|| {
        let (min, max) = (EXPIRY_RANGE_S.start(), EXPIRY_RANGE_S.end());
        FieldError::new(
            EXPIRY,
            format!("allowed: {min} to {max} seconds (default {DEFAULT_EXPIRY_S})"),
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SPEC: Spec = Spec {
        name: "latency",
        description: "",
        signal_service: "downstream",
        signal: "",
        parameters: &[
            Parameter::integer("ms", "ms", 1, 1000, 200),
            Parameter::share("share"),
        ],
    };

    fn read(request: Value) -> Result<(Value, Duration), Vec<FieldError>> {
        SPEC.read(request.as_object().unwrap())
            .map(|(values, expiry)| (Value::Object(values), expiry))
    }

    #[test]
    fn defaults_are_filled_in() {
        let (values, expiry) = read(json!({})).unwrap();
        assert_eq!(values, json!({"ms": 200, "share": 1.0}));
        assert_eq!(expiry, Duration::from_secs(300));
        let (values, expiry) = read(json!({"ms": 5, "share": 0.5, "expires_in_s": 1.5})).unwrap();
        assert_eq!(values, json!({"ms": 5, "share": 0.5}));
        assert_eq!(expiry, Duration::from_millis(1500));
    }

    #[test]
    fn every_wrong_value_is_listed_with_what_is_allowed() {
        let errors =
            read(json!({"ms": 1001, "share": "all", "size": 1, "expires_in_s": 0})).unwrap_err();
        let fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["size", "ms", "share", "expires_in_s"]);
        assert_eq!(
            errors[0].message,
            "unknown; allowed: ms, share, expires_in_s"
        );
        assert!(
            errors[1].message.contains("from 1 to 1000"),
            "{}",
            errors[1].message
        );
    }

    #[test]
    fn a_fraction_is_no_whole_number() {
        assert_eq!(read(json!({"ms": 1.5})).unwrap_err()[0].field, "ms");
        assert_eq!(read(json!({"ms": 2.0})).unwrap().0["ms"], json!(2));
        assert_eq!(read(json!({"share": 0})).unwrap_err()[0].field, "share");
    }
}

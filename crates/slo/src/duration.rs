//! Times as Prometheus writes them: `30s`, `5m`, `1h30m`, `30d`.

use std::fmt;

use serde::Deserialize;

const UNITS: [(&str, u64); 5] = [
    ("w", 604_800),
    ("d", 86_400),
    ("h", 3_600),
    ("m", 60),
    ("s", 1),
];

/// A time in whole seconds, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Time(u64);

impl Time {
    /// So many seconds; less than one is taken as one.
    pub fn from_seconds(seconds: u64) -> Self {
        Self(seconds.max(1))
    }

    /// In seconds.
    pub fn seconds(self) -> u64 {
        self.0
    }

    /// In milliseconds.
    pub fn millis(self) -> i64 {
        i64::try_from(self.0 * 1_000).unwrap_or(i64::MAX)
    }
}

impl TryFrom<String> for Time {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parse(&text)
            .filter(|seconds| *seconds > 0)
            .map(Self)
            .ok_or_else(|| format!("{text:?} is no time: allowed is 30s, 5m, 1h30m, 3d, 4w"))
    }
}

fn parse(text: &str) -> Option<u64> {
    let mut seconds = 0_u64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        let (_, unit) = UNITS
            .iter()
            .find(|(name, _)| rest[digits..].starts_with(name))?;
        seconds = seconds.checked_add(number.checked_mul(*unit)?)?;
        rest = &rest[digits + 1..];
    }
    (seconds < u64::from(u32::MAX)).then_some(seconds)
}

impl fmt::Display for Time {
    /// In the largest unit that fits, so that the name of a recording rule is what people write: `1h`, not `3600s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days_and_below = &UNITS[1..];
        let unit = days_and_below
            .iter()
            .find(|(_, unit)| self.0.is_multiple_of(*unit));
        let (name, unit) = unit.unwrap_or(&("s", 1));
        write!(f, "{}{name}", self.0 / unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        for (text, seconds, shown) in [
            ("30s", 30, "30s"),
            ("90s", 90, "90s"),
            ("5m", 300, "5m"),
            ("1h30m", 5_400, "90m"),
            ("24h", 86_400, "1d"),
            ("4w", 2_419_200, "28d"),
        ] {
            let time = Time::try_from(text.to_owned()).unwrap();
            assert_eq!(
                (time.seconds(), time.to_string().as_str()),
                (seconds, shown)
            );
        }
        for bad in ["", "5", "m", "5 m", "1.5h", "-1s", "0s", "5ms", "999999w"] {
            assert!(Time::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}

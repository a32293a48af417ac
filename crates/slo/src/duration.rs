//! Times as Go and Prometheus write them: `1.2s`, `100ms`, `1h30m`, `30d`. The one parser of them in this workspace.

use std::fmt;

use serde::Deserialize;

/// What a value must look like; ends every message about a bad one.
const FORMAT: &str = "expected a Go duration such as 1.2s, 100ms, 5µs or 1h2m";

/// Nanoseconds of each unit. `µ` exists twice in Unicode (U+00B5 and U+03BC) and Go takes both.
const UNITS: [(&str, u64); 11] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 24 * 3_600_000_000_000),
    ("w", 7 * 24 * 3_600_000_000_000),
    ("y", 365 * 24 * 3_600_000_000_000),
];

/// Go has those up to hours; days, weeks and years are Prometheus's and Loki's.
const GO_UNITS: usize = 8;

/// Nanoseconds of a Go duration. Only what makes sense as a length is taken: no negative values.
///
/// # Errors
/// A sentence that says what is wrong with `text` and what is allowed.
pub fn parse(text: &str) -> Result<u64, String> {
    parse_with(text, &UNITS[..GO_UNITS])
}

/// Like [`parse`], with `d`, `w` and `y` too.
///
/// # Errors
/// As of [`parse`].
pub fn parse_long(text: &str) -> Result<u64, String> {
    parse_with(text, &UNITS)
}

fn parse_with(text: &str, units: &[(&str, u64)]) -> Result<u64, String> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() || rest.starts_with('-') {
        return Err(format!("{text:?} is not a length of time, {FORMAT}"));
    }
    let mut total = 0_u64;
    while !rest.is_empty() {
        let (nanoseconds, after) =
            component(rest, units).map_err(|why| format!("{text:?}: {why}"))?;
        total = total
            .checked_add(nanoseconds)
            .ok_or_else(|| format!("{text:?} is too long"))?;
        rest = after;
    }
    Ok(total)
}

/// The first `<number><unit>` of `text`, and what comes after it.
fn component<'a>(text: &'a str, units: &[(&str, u64)]) -> Result<(u64, &'a str), String> {
    let number_end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .ok_or_else(|| format!("a number without a unit, {FORMAT}"))?;
    let (number, after) = text.split_at(number_end);
    let unit_end = after
        .find(|c: char| c.is_ascii_digit() || c == '.')
        .unwrap_or(after.len());
    let (unit, after) = after.split_at(unit_end);
    let scale = units
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, scale)| *scale)
        .ok_or_else(|| format!("unknown unit {unit:?}, {FORMAT}"))?;
    let nanoseconds = scaled(number, scale).ok_or_else(|| format!("bad number, {FORMAT}"))?;
    Ok((nanoseconds, after))
}

/// `number` (`12`, `1.5`, `.5`) times `scale`, truncated to whole nanoseconds as Go does; exact, so no floats.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole = if whole.is_empty() {
        0
    } else {
        whole.parse::<u64>().ok()?
    };
    let mut part = 0_u128;
    let mut divisor = 1_u128;
    // 18 digits are more than any unit resolves; further ones cannot change the result by a nanosecond.
    for digit in fraction.bytes().take(18) {
        part = part * 10 + u128::from(digit - b'0');
        divisor *= 10;
    }
    let part = u64::try_from(part * u128::from(scale) / divisor).ok()?;
    whole.checked_mul(scale)?.checked_add(part)
}

/// The units in which a [`Time`] is shown, in seconds, the largest first.
const SHOWN: [(&str, u64); 3] = [("d", 86_400), ("h", 3_600), ("m", 60)];

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
        whole_seconds(&text)
            .map(Self)
            .ok_or_else(|| format!("{text:?} is no time: allowed is 30s, 5m, 1h30m, 3d, 4w"))
    }
}

fn whole_seconds(text: &str) -> Option<u64> {
    const SECOND: u64 = 1_000_000_000;
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let nanoseconds = parse_long(text).ok().filter(|_| plain)?;
    let seconds = nanoseconds / SECOND;
    (nanoseconds.is_multiple_of(SECOND) && (1..u64::from(u32::MAX)).contains(&seconds))
        .then_some(seconds)
}

impl fmt::Display for Time {
    /// In the largest unit that fits, so that the name of a recording rule is what people write: `1h`, not `3600s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = SHOWN.iter().find(|(_, unit)| self.0.is_multiple_of(*unit));
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

    #[test]
    fn reads_what_go_reads() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("1.2s", 1_200_000_000),
            ("100ms", 100_000_000),
            ("1h2m", 3_720_000_000_000),
            ("5µs", 5_000),
            ("5\u{3bc}s", 5_000),
            ("5us", 5_000),
            ("7ns", 7),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("+3ms", 3_000_000),
            ("1h2m3.000000001s", 3_723_000_000_001),
            ("0.1ns", 0),
        ] {
            assert_eq!(parse(text), Ok(nanoseconds), "{text}");
        }
    }

    #[test]
    fn days_are_not_gos() {
        assert_eq!(parse_long("1w2d3h"), Ok((9 * 24 + 3) * 3_600_000_000_000));
        assert!(parse("1d").is_err());
    }

    #[test]
    fn refuses_what_is_no_length_of_time() {
        for text in [
            "",
            "+",
            "-1s",
            "5",
            "s",
            ".s",
            "1.2.3s",
            "5 ms",
            "5days",
            "1e3s",
            "ms5",
            "99999999999999999999s",
            "9999999999h",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn says_what_is_allowed() {
        let why = parse("5d").unwrap_err();
        assert!(why.contains("\"d\"") && why.contains("100ms"), "{why}");
    }
}

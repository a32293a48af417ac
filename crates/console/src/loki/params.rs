//! Times, limits and steps as Loki reads them.

use std::ops::Range;

use chrono::DateTime;

use crate::clock::now_ns;
use crate::logql::Direction;
use crate::params::{BadParameter, Params};
use slo::duration;

/// How far queries look back when no `start` is given, in nanoseconds.
pub(super) const RANGE_DEFAULT: u64 = 3_600 * SECOND;

/// The default for labels and series.
pub(super) const SENDERS_DEFAULT: u64 = 6 * 3_600 * SECOND;

const SECOND: u64 = 1_000_000_000;

/// Lines when no `limit` is given, and the most.
const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 5_000;

/// A range has so many steps when none is given, but none is shorter than a second.
const DEFAULT_STEPS: u64 = 250;

/// Whole numbers of up to so many digits are seconds, longer ones nanoseconds.
const DIGITS_OF_SECONDS: usize = 10;

/// A point in time: nanoseconds, seconds, or RFC 3339.
pub(super) fn time(params: &Params, name: &str) -> Result<Option<u64>, BadParameter> {
    let read = |text: &str| {
        point(text).ok_or_else(|| {
            let why = format!("expected nanoseconds, seconds or RFC 3339, got {text:?}");
            BadParameter::new(name, why)
        })
    };
    params.text(name).map(read).transpose()
}

fn point(text: &str) -> Option<u64> {
    let is_whole = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    if is_whole {
        let number: u64 = text.parse().ok()?;
        return match text.len() > DIGITS_OF_SECONDS {
            true => Some(number),
            false => number.checked_mul(SECOND),
        };
    }
    if let Ok(seconds) = text.parse::<f64>() {
        return nanoseconds(seconds);
    }
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    u64::try_from(time.timestamp_nanos_opt()?).ok()
}

/// From seconds, to the microsecond, which is the precision of a float for present dates.
fn nanoseconds(seconds: f64) -> Option<u64> {
    let microseconds = (seconds * 1e6).round();
    let fits = microseconds >= 0.0 && microseconds < u64::MAX as f64;
    fits.then_some(microseconds as u64)?.checked_mul(1_000)
}

/// `start` to `end`; `since` is the time between `start` and the end.
pub(super) fn range(params: &Params, default: u64) -> Result<Range<u64>, BadParameter> {
    let now = now_ns();
    let end = time(params, "end")?.unwrap_or(now);
    let since = length(params, "since")?.unwrap_or(default);
    let start = time(params, "start")?.unwrap_or_else(|| end.min(now).saturating_sub(since));
    if end <= start {
        return Err(BadParameter::new("end", "must be after 'start'"));
    }
    Ok(start..end)
}

/// Seconds, or a duration such as `5m`; more than nothing.
fn length(params: &Params, name: &str) -> Result<Option<u64>, BadParameter> {
    let read = |text: &str| {
        let length = match text.parse::<f64>() {
            Ok(seconds) => nanoseconds(seconds),
            Err(_) => duration::parse_long(text).ok(),
        };
        length.filter(|length| *length > 0).ok_or_else(|| {
            let why = format!("expected seconds or a duration such as 5m, got {text:?}");
            BadParameter::new(name, why)
        })
    };
    params.text(name).map(read).transpose()
}

/// Nanoseconds from one point to the next.
pub(super) fn step(params: &Params, range: &Range<u64>) -> Result<u64, BadParameter> {
    let seconds = (range.end - range.start) / SECOND / DEFAULT_STEPS;
    Ok(length(params, "step")?.unwrap_or(seconds.max(1) * SECOND))
}

/// The most lines.
pub(super) fn limit(params: &Params) -> Result<usize, BadParameter> {
    params.count("limit", DEFAULT_LIMIT, MAX_LIMIT)
}

/// Which lines come first.
pub(super) fn direction(params: &Params) -> Result<Direction, BadParameter> {
    match params.text("direction").map(str::to_ascii_lowercase) {
        None => Ok(Direction::Backward),
        Some(direction) if direction == "backward" => Ok(Direction::Backward),
        Some(direction) if direction == "forward" => Ok(Direction::Forward),
        Some(direction) => Err(BadParameter::new(
            "direction",
            format!("expected forward or backward, got {direction:?}"),
        )),
    }
}

/// Refuses a parameter that would change the answer.
pub(super) fn not_answered(params: &Params, name: &str) -> Result<(), BadParameter> {
    match params.text(name) {
        Some(_) => Err(BadParameter::new(name, "is not answered by the console")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_in_time_come_in_four_forms() {
        for text in [
            "1767225600",
            "1767225600.0",
            "1767225600000000000",
            "2026-01-01T00:00:00Z",
            "2026-01-01T01:00:00.0+01:00",
        ] {
            assert_eq!(point(text), Some(1_767_225_600 * SECOND), "{text}");
        }
        assert_eq!(point("1767225600.25"), Some(1_767_225_600_250_000_000));
        for text in [
            "-1",
            "now",
            "nan",
            "inf",
            "1e300",
            "2026-01-01",
            "+",
            "1969-01-01T00:00:00Z",
            "99999999999999999999",
            "9999-01-01T00:00:00Z",
        ] {
            assert_eq!(point(text), None, "{text}");
        }
    }

    #[test]
    fn ranges_have_defaults() {
        let range = |query: &str| {
            let params = Params::parse(query).expect("parameters");
            super::range(&params, RANGE_DEFAULT).map(|range| (range.start, range.end))
        };
        let hour = 3_600 * SECOND;
        let (start, end) = range("").expect("a range");
        assert_eq!(end - start, hour);
        assert_eq!(range("end=7200"), Ok((hour, 2 * hour)));
        assert_eq!(range("end=7200&since=30m"), Ok((hour * 3 / 2, 2 * hour)));
        assert_eq!(
            range("start=5&end=7200&since=30m").map(|range| range.0),
            Ok(5 * SECOND)
        );
        let (start, _) = range("since=2h&end=9999999999").expect("an end to come");
        assert!(start <= now_ns() - 2 * hour, "counted from now");
        for bad in [
            "start=2&end=1",
            "start=1&end=1",
            "since=0",
            "since=x",
            "start=x",
        ] {
            assert!(range(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn steps_follow_the_range_when_not_given() {
        let step = |query: &str, seconds: u64| {
            let params = Params::parse(query).expect("parameters");
            super::step(&params, &(0..seconds * SECOND))
        };
        assert_eq!(step("", 60), Ok(SECOND));
        assert_eq!(step("", 3_600), Ok(14 * SECOND));
        assert_eq!(step("step=0.5", 60), Ok(SECOND / 2));
        assert_eq!(step("step=1m", 60), Ok(60 * SECOND));
        for bad in ["step=0", "step=-1", "step=x", "step=nan"] {
            assert!(step(bad, 60).is_err(), "{bad}");
        }
    }
}

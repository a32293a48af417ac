//! Times, steps and limits as Prometheus reads them.

use std::ops::RangeInclusive;
use std::time::Duration;

use chrono::{DateTime, Utc};
use promql::Steps;

use crate::params::{BadParameter, Params};
use slo::duration;

/// The maximum time of a query, without the time that it waits for others; and of a rule, with all queries of its templates.
pub(crate) const MAX_TIME: Duration = Duration::from_secs(10);

/// The most points of a series, as in Prometheus.
pub(super) const MAX_POINTS: usize = 11_000;

/// Milliseconds in both directions from the epoch, a hundred thousand years. Sums of such times never overflow.
const MAX_MS: f64 = 3.2e15;

/// Milliseconds since the epoch.
pub(super) fn now() -> i64 {
    Utc::now().timestamp_millis()
}

/// A point in time: seconds or RFC 3339.
pub(super) fn time(params: &Params, name: &str) -> Result<Option<i64>, BadParameter> {
    let read = |text: &str| {
        point(text).ok_or_else(|| {
            let why = format!("expected seconds or RFC 3339, got {}", shown(text));
            BadParameter::new(name, why)
        })
    };
    params.text(name).map(read).transpose()
}

fn point(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<f64>() {
        let milliseconds = (seconds * 1e3).round();
        let fits = milliseconds.abs() <= MAX_MS;
        return fits.then_some(milliseconds as i64);
    }
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    Some(time.timestamp_millis())
}

/// Seconds or a duration such as `5m`, in milliseconds; more than nothing.
fn length(params: &Params, name: &str) -> Result<Option<i64>, BadParameter> {
    let read = |text: &str| {
        let milliseconds = match text.parse::<f64>() {
            Ok(seconds) => (seconds * 1e3).round(),
            Err(_) => duration::parse_long(text).map_or(f64::NAN, |ns| ns as f64 / 1e6),
        };
        let fits = (1.0..=MAX_MS).contains(&milliseconds);
        let why = || {
            let why = format!(
                "expected seconds or a duration such as 5m, at least a millisecond, got {}",
                shown(text)
            );
            BadParameter::new(name, why)
        };
        fits.then_some(milliseconds as i64).ok_or_else(why)
    };
    params.text(name).map(read).transpose()
}

/// The beginning of a text that may be long.
fn shown(text: &str) -> String {
    let end = text.floor_char_boundary(64);
    let more = if end < text.len() { "…" } else { "" };
    format!("{:?}{more}", &text[..end])
}

/// `start` to `end`; all of time if they are absent.
pub(super) fn range(params: &Params) -> Result<RangeInclusive<i64>, BadParameter> {
    let start = time(params, "start")?.unwrap_or(i64::MIN);
    let end = time(params, "end")?.unwrap_or(i64::MAX);
    in_order(start, end)?;
    Ok(start..=end)
}

fn in_order(start: i64, end: i64) -> Result<(), BadParameter> {
    match end < start {
        true => Err(BadParameter::new("end", "must not be before 'start'")),
        false => Ok(()),
    }
}

/// Points of a range query.
pub(super) fn steps(params: &Params) -> Result<Steps, BadParameter> {
    let missing = |name| move || BadParameter::new(name, "is missing");
    let start_ms = time(params, "start")?.ok_or_else(missing("start"))?;
    let end_ms = time(params, "end")?.ok_or_else(missing("end"))?;
    let step_ms = length(params, "step")?.ok_or_else(missing("step"))?;
    in_order(start_ms, end_ms)?;
    let points = (end_ms - start_ms) / step_ms;
    if points > MAX_POINTS as i64 {
        let why = format!(
            "{points} steps are too many, at most {MAX_POINTS} points per series: ask for a longer one"
        );
        return Err(BadParameter::new("step", why));
    }
    Ok(Steps {
        start_ms,
        end_ms,
        step_ms,
    })
}

/// The maximum number of results; absent or 0 means no limit.
pub(super) fn limit(params: &Params) -> Result<usize, BadParameter> {
    let limit = params.number("limit")?.filter(|limit| *limit > 0);
    Ok(limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    }))
}

/// How old the last sample of a series may be, in milliseconds, if it is given.
pub(super) fn look_back(params: &Params) -> Result<Option<i64>, BadParameter> {
    length(params, "lookback_delta")
}

/// How long the question may take.
pub(super) fn timeout(params: &Params) -> Result<Duration, BadParameter> {
    let wanted = length(params, "timeout")?.and_then(|ms| u64::try_from(ms).ok());
    Ok(wanted.map_or(MAX_TIME, |ms| Duration::from_millis(ms).min(MAX_TIME)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_in_time_are_seconds_or_rfc_3339() {
        for (text, ms) in [
            ("1767225600", 1_767_225_600_000),
            ("1767225600.1234", 1_767_225_600_123),
            ("1.7672256e9", 1_767_225_600_000),
            ("-1.5", -1_500),
            ("2026-01-01T00:00:00Z", 1_767_225_600_000),
            ("2026-01-01T01:00:00.5+01:00", 1_767_225_600_500),
        ] {
            assert_eq!(point(text), Some(ms), "{text}");
        }
        for text in ["now", "NaN", "inf", "-Inf", "1e300", "2026-01-01", "", "1h"] {
            assert_eq!(point(text), None, "{text}");
        }
    }

    #[test]
    fn steps_are_bounded() {
        let steps = |query: &str| steps(&Params::parse(query).expect("parameters"));
        let at = |start_ms, end_ms, step_ms| {
            Ok(Steps {
                start_ms,
                end_ms,
                step_ms,
            })
        };
        assert_eq!(steps("start=0&end=60&step=15s"), at(0, 60_000, 15_000));
        assert_eq!(steps("start=0&end=0&step=0.5"), at(0, 0, 500));
        assert_eq!(steps("start=0&end=11000&step=1"), at(0, 11_000_000, 1_000));
        assert_eq!(steps("start=0&end=1&step=1h30m"), at(0, 1_000, 5_400_000));
        for (query, named) in [
            ("start=0&end=11001&step=1", "'step'"),
            ("start=-3.2e12&end=3.2e12&step=0.001", "'step'"),
            ("start=0&end=60&step=0", "'step'"),
            ("start=0&end=60&step=-1", "'step'"),
            ("start=0&end=60&step=NaN", "'step'"),
            ("start=0&end=60&step=1e300", "'step'"),
            ("start=0&end=60", "'step'"),
            ("start=0&step=1", "'end'"),
            ("end=0&step=1", "'start'"),
            ("start=1&end=0&step=1", "'end'"),
            ("start=NaN&end=0&step=1", "'start'"),
        ] {
            let why = steps(query).expect_err(query).to_string();
            assert!(why.contains(named), "{query}: {why}");
        }
    }

    #[test]
    fn a_question_takes_no_longer_than_it_may() {
        let timeout = |query: &str| timeout(&Params::parse(query).expect("parameters"));
        assert_eq!(timeout(""), Ok(MAX_TIME));
        assert_eq!(timeout("timeout=2m"), Ok(MAX_TIME));
        assert_eq!(timeout("timeout=0.5"), Ok(Duration::from_millis(500)));
        assert!(timeout("timeout=x").is_err() && timeout("timeout=0").is_err());
    }
}

//! The parameters of Jaeger's search and dependency endpoints.

use chrono::{DateTime, Utc};

use crate::params::{BadParameter, Params};
use crate::search::{DurationOf, Query};
use slo::duration;

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1500;
/// Jaeger's default for `/api/dependencies`.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// The search that the parameters of `/api/traces` describe. Without `start`, `lookback` counts back from `end` or from now.
/// Without both, the search covers the whole store, which is younger than Jaeger's default of two days.
pub(super) fn search_query(params: &Params, now: DateTime<Utc>) -> Result<Query, BadParameter> {
    let service = params
        .text("service")
        .ok_or_else(|| BadParameter::new("service", "is required"))?;
    let lookback = params.text("lookback").map(lookback).transpose()?.flatten();
    let end = params.number("end")?.map(nanoseconds);
    let start = params.number("start")?.map(nanoseconds).or_else(|| {
        let now = u64::try_from(now.timestamp_micros()).unwrap_or(0);
        lookback.map(|length| {
            end.unwrap_or_else(|| nanoseconds(now))
                .saturating_sub(length)
        })
    });
    let start_ns = (start.unwrap_or(0), end.unwrap_or(u64::MAX));
    if start_ns.0 > start_ns.1 {
        return Err(BadParameter::new("start", "must not be after 'end'"));
    }
    Ok(Query {
        service: Some(service.to_owned()),
        operation: params.text("operation").map(str::to_owned),
        tags: params.tags()?,
        terms: Vec::new(),
        failed: false,
        start_ns,
        duration_ns: params.duration_range("minDuration", "maxDuration")?,
        duration_of: DurationOf::Span,
        limit: params.count("limit", DEFAULT_LIMIT, MAX_LIMIT)?,
    })
}

fn nanoseconds(microseconds: u64) -> u64 {
    microseconds.saturating_mul(1_000)
}

/// Nanoseconds of `lookback`. Jaeger's UI also writes days and weeks (`2d`, `1w`), and `custom` with its own range.
fn lookback(text: &str) -> Result<Option<u64>, BadParameter> {
    if text == "custom" {
        return Ok(None);
    }
    let scaled = |suffix: char, hours: u64| {
        let count: u64 = text.strip_suffix(suffix)?.parse().ok()?;
        count.checked_mul(hours * 3_600_000_000_000)
    };
    if let Some(length) = scaled('d', 24).or_else(|| scaled('w', 7 * 24)) {
        return Ok(Some(length));
    }
    let length = duration::parse(text).map_err(|why| BadParameter::new("lookback", why))?;
    Ok(Some(length))
}

/// Earliest and latest start of spans for `/api/dependencies`, in nanoseconds; its parameters are milliseconds.
pub(super) fn dependency_window(
    params: &Params,
    now: DateTime<Utc>,
) -> Result<(u64, u64), BadParameter> {
    let now = u64::try_from(now.timestamp_millis()).unwrap_or(0);
    let end = params.number("endTs")?.unwrap_or(now);
    let start = end.saturating_sub(params.number("lookback")?.unwrap_or(DAY_MS));
    // Includes the whole last millisecond, because a client that asks for "now" has truncated its clock.
    Ok((
        start.saturating_mul(1_000_000),
        end.saturating_add(1).saturating_mul(1_000_000),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Result<Query, String> {
        let now = DateTime::from_timestamp(100_000, 0).expect("a time");
        let params = Params::parse(text).map_err(|e| e.to_string())?;
        search_query(&params, now).map_err(|e| e.to_string())
    }

    #[test]
    fn defaults_search_everything() {
        let query = query("service=shop").expect("a query");
        assert_eq!(
            (query.start_ns, query.duration_ns, query.limit),
            ((0, u64::MAX), (0, u64::MAX), 100)
        );
    }

    #[test]
    fn times_are_microseconds_and_lookback_counts_back() {
        assert_eq!(
            query("service=s&start=5&end=7&lookback=1h").map(|q| q.start_ns),
            Ok((5_000, 7_000))
        );
        let second = 1_000_000_000;
        assert_eq!(
            query("service=s&lookback=1h").map(|q| q.start_ns.0),
            Ok(96_400 * second)
        );
        assert_eq!(
            query("service=s&lookback=1d").map(|q| q.start_ns.0),
            Ok(13_600 * second)
        );
        assert_eq!(
            query("service=s&lookback=1w&end=9").map(|q| q.start_ns),
            Ok((0, 9_000))
        );
        assert_eq!(
            query("service=s&lookback=custom").map(|q| q.start_ns.0),
            Ok(0)
        );
    }

    #[test]
    fn each_bad_parameter_is_named() {
        for (text, name) in [
            ("", "service"),
            ("service=s&start=x", "start"),
            ("service=s&start=9&end=8", "start"),
            ("service=s&end=-1", "end"),
            ("service=s&lookback=soon", "lookback"),
            ("service=s&minDuration=5", "minDuration"),
            ("service=s&maxDuration=5x", "maxDuration"),
            ("service=s&minDuration=2s&maxDuration=1s", "maxDuration"),
            ("service=s&limit=0", "limit"),
            ("service=s&tags=5", "tags"),
            ("service=s&tag=5", "tag"),
        ] {
            let why = query(text).expect_err(text);
            assert!(
                why.starts_with(&format!("parameter '{name}'")),
                "{text}: {why}"
            );
        }
    }
}

//! A finished test in numbers: what was counted here, and goose's times with coordinated omission corrected.

use std::collections::BTreeMap;

use goose::metrics::{GooseMetrics, GooseRequestMetricTimingData};
use serde::Serialize;

use crate::args::Args;
use crate::progress::Point;
use crate::thresholds::{self, Verdict};
use crate::truth::{Counts, Series};

/// Everything a report says.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Version of this load test.
    pub version: String,
    /// Who was asked.
    pub target: String,
    /// Profile, users, pauses.
    pub load: Load,
    /// Wall-clock seconds.
    pub duration_seconds: f64,
    /// Requests really sent.
    pub requests: u64,
    /// Those that did not give the user what it asked for: 5xx, unexpected 4xx, no answer.
    pub failed: u64,
    /// Share of them.
    pub error_share: f64,
    /// Requests really sent, a second.
    pub requests_per_second: f64,
    /// All routes together.
    pub times: Times,
    /// Requests that coordinated-omission mitigation added to the corrected times; never sent.
    pub backfilled: u64,
    /// Each method and route.
    pub routes: Vec<Route>,
    /// Requests really sent, by method, route, status and outcome: to be compared with the servers' counters.
    pub counts: Vec<Count>,
    /// Why requests failed.
    pub failures: Vec<FailureCount>,
    /// What was demanded, and what came.
    pub thresholds: Vec<Verdict>,
    /// Every span of this process was delivered: no trace lacks its root.
    pub spans_delivered: bool,
    /// How it went over time.
    pub timeline: Vec<Point>,
}

/// The load that was asked for.
#[derive(Debug, Clone, Serialize)]
pub struct Load {
    /// `steady`, `ramp`, `spike`.
    pub profile: &'static str,
    /// Users at the most.
    pub users: u32,
    /// Shortest pause, ms.
    pub think_min_ms: u64,
    /// Longest pause, ms.
    pub think_max_ms: u64,
}

/// Times as they were, and as an open world would have seen them.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Times {
    /// Of the requests that were sent.
    pub raw: Quantiles,
    /// With the requests back-filled that users would have sent while they were kept waiting.
    pub corrected: Quantiles,
}

/// Milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Quantiles {
    /// Median.
    pub p50_ms: f64,
    /// 90th percentile.
    pub p90_ms: f64,
    /// 95th percentile.
    pub p95_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// Slowest.
    pub max_ms: f64,
}

/// One method and route.
#[derive(Debug, Clone, Serialize)]
pub struct Route {
    /// `GET`, `POST`.
    pub method: String,
    /// Route pattern.
    pub route: String,
    /// Requests really sent.
    pub requests: u64,
    /// Failures among them.
    pub failed: u64,
    /// How long they took.
    pub times: Times,
}

/// A count by series.
#[derive(Debug, Clone, Serialize)]
pub struct Count {
    /// Its labels.
    #[serde(flatten)]
    pub series: Series,
    /// Requests.
    pub count: u64,
}

/// A count of failures.
#[derive(Debug, Clone, Serialize)]
pub struct FailureCount {
    /// `GET`, `POST`.
    pub method: String,
    /// Route pattern.
    pub route: String,
    /// `HTTP 503`, `no answer in time`, …
    pub reason: String,
    /// How often.
    pub count: u64,
}

/// How often each time was seen, in microseconds.
type Distribution = BTreeMap<u64, u64>;

impl Quantiles {
    /// Nearest rank. Goose keeps buckets of 1/64 of a power of two, so a time is at most 1.6 % too low here.
    fn of(times: &Distribution, max_micros: u64) -> Self {
        let total: u64 = times.values().sum();
        let at = |share: f64| {
            let rank = (share * total as f64).ceil().max(1.0) as u64;
            let mut seen = 0;
            let found = times.iter().find(|(_, count)| {
                seen += **count;
                seen >= rank
            });
            found.map_or(0.0, |(micros, _)| *micros as f64 / 1000.0)
        };
        Self {
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p95_ms: at(0.95),
            p99_ms: at(0.99),
            max_ms: max_micros as f64 / 1000.0,
        }
    }
}

#[derive(Default)]
struct Merged {
    times: Distribution,
    max_micros: u64,
    count: u64,
}

impl Merged {
    fn add(&mut self, data: &GooseRequestMetricTimingData) {
        for (micros, count) in &data.times_us {
            *self.times.entry(*micros).or_default() += *count as u64;
        }
        self.max_micros = self.max_micros.max(data.maximum_time_us);
        self.count += data.counter as u64;
    }

    fn quantiles(&self) -> Quantiles {
        Quantiles::of(&self.times, self.max_micros)
    }
}

/// Puts the numbers together.
pub fn summarize(
    args: &Args,
    counts: &Counts,
    goose: &GooseMetrics,
    timeline: Vec<Point>,
    duration_seconds: f64,
    spans_delivered: bool,
) -> Summary {
    let (mut raw, mut corrected) = (Merged::default(), Merged::default());
    let mut routes = Vec::new();
    for request in goose.requests.values() {
        let (mut own_raw, mut own_corrected) = (Merged::default(), Merged::default());
        // Without a stall there is nothing to correct.
        let data = request
            .coordinated_omission_data
            .as_ref()
            .unwrap_or(&request.raw_data);
        for (merged, data) in [
            (&mut own_raw, &request.raw_data),
            (&mut own_corrected, data),
        ] {
            merged.add(data);
        }
        raw.add(&request.raw_data);
        corrected.add(data);
        let method = request.method_label().to_owned();
        let is_this = |of: &str, route: &str| of == method && route == request.path;
        routes.push(Route {
            requests: sum(&counts.requests, |series| {
                is_this(series.method, series.route)
            }),
            failed: sum(&counts.failures, |(of, route, _)| is_this(of, route)),
            route: request.path.clone(),
            times: Times {
                raw: own_raw.quantiles(),
                corrected: own_corrected.quantiles(),
            },
            method,
        });
    }
    routes.sort_by(|a, b| (&a.route, &a.method).cmp(&(&b.route, &b.method)));
    let (requests, failed) = (counts.total(), counts.failed());
    let mut summary = Summary {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        target: args.target.clone(),
        load: Load {
            profile: args.profile.name(),
            users: args.users,
            think_min_ms: args.think_min_ms,
            think_max_ms: args.think_max_ms,
        },
        duration_seconds,
        requests,
        failed,
        error_share: failed as f64 / (requests as f64).max(1.0),
        requests_per_second: requests as f64 / duration_seconds.max(0.001),
        times: Times {
            raw: raw.quantiles(),
            corrected: corrected.quantiles(),
        },
        backfilled: corrected.count.saturating_sub(raw.count),
        routes,
        counts: counted(counts),
        failures: failures(counts),
        thresholds: Vec::new(),
        spans_delivered,
        timeline,
    };
    summary.thresholds = thresholds::judge(args, &summary);
    summary
}

fn sum<K>(of: &BTreeMap<K, u64>, wanted: impl Fn(&K) -> bool) -> u64 {
    of.iter()
        .filter(|(key, _)| wanted(key))
        .map(|(_, count)| count)
        .sum()
}

fn counted(counts: &Counts) -> Vec<Count> {
    let count = |(series, count): (&Series, &u64)| Count {
        series: series.clone(),
        count: *count,
    };
    counts.requests.iter().map(count).collect()
}

fn failures(counts: &Counts) -> Vec<FailureCount> {
    let mut failures: Vec<_> = counts
        .failures
        .iter()
        .map(|((method, route, reason), count)| FailureCount {
            method: (*method).to_owned(),
            route: (*route).to_owned(),
            reason: reason.clone(),
            count: *count,
        })
        .collect();
    failures.sort_by_key(|failure| std::cmp::Reverse(failure.count));
    failures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_rank() {
        let times: Distribution = (1..=100).map(|ms| (ms * 1000, 1)).collect();
        let found = Quantiles::of(&times, 100_500);
        assert_eq!(
            (found.p50_ms, found.p95_ms, found.p99_ms, found.max_ms),
            (50.0, 95.0, 99.0, 100.5)
        );
        let none = Quantiles::of(&Distribution::new(), 0);
        assert_eq!((none.p50_ms, none.max_ms), (0.0, 0.0));
    }
}

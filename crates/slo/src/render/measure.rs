//! The expressions that count requests. They count all services at once; objectives are joined from `slo:objective:ratio`.

use crate::promql::{BY, indented};
use crate::{Definition, Indicator, REQUESTS, Time};

/// Routes and what is promised for them; nothing else of an objective is looked up by this name.
pub(super) const OBJECTIVE: &str = "slo:objective:ratio";

/// Requests and the bad ones among them.
pub(super) enum Measure {
    /// Those that fail are bad.
    Availability,
    /// Of those that do not fail, the ones that take longer than their objective's bound; these are all bounds.
    Latency(Vec<f64>),
}

impl Measure {
    /// One of each indicator.
    pub fn both(definition: &Definition) -> [Self; 2] {
        let objectives = definition.objectives.iter();
        let mut bounds: Vec<f64> = objectives
            .filter_map(|objective| match objective.indicator {
                Indicator::Availability => None,
                Indicator::Latency { seconds } => Some(seconds),
            })
            .collect();
        bounds.sort_by(f64::total_cmp);
        bounds.dedup();
        [Self::Availability, Self::Latency(bounds)]
    }

    /// Value of the label `slo`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Availability => Indicator::Availability.name(),
            Self::Latency(_) => Indicator::Latency { seconds: 0.0 }.name(),
        }
    }

    /// Sum of `rate` or `increase` of the requests that count.
    pub fn all(&self, function: &str, window: Time) -> String {
        match self {
            Self::Availability => sum(BY, function, "_count", "outcome=~\"ok|error\"", window),
            Self::Latency(_) => sum(BY, function, "_count", "outcome=\"ok\"", window),
        }
    }

    /// The same of those that were bad.
    pub fn bad(&self, function: &str, window: Time) -> String {
        match self {
            Self::Availability => sum(BY, function, "_count", "outcome=\"error\"", window),
            Self::Latency(bounds) => format!(
                "{}\n-\n{}",
                self.all(function, window),
                within(bounds, function, window)
            ),
        }
    }

    /// Share of bad requests; nothing without requests, which are neither good nor bad.
    pub fn ratio(&self, window: Time) -> String {
        let all = format!("({} > 0)", self.all("rate", window));
        match self {
            Self::Availability => format!("{}\n/\n{all}", self.bad("rate", window)),
            Self::Latency(bounds) => format!("1 -\n{}\n/\n{all}", within(bounds, "rate", window)),
        }
    }
}

/// Requests within the bound that the route's objective names. While two are known (a new one, and for five minutes the one that was
/// promised before a restart), the larger counts.
fn within(bounds: &[f64], function: &str, window: Time) -> String {
    let values: Vec<String> = bounds.iter().map(|bound| le(*bound)).collect();
    let matcher = format!("outcome=\"ok\",le=~\"{}\"", values.join("|"));
    let buckets = sum(&format!("{BY}, le"), function, "_bucket", &matcher, window);
    let joined = format!(
        "{}\nand on ({BY}, le) {OBJECTIVE}{{slo=\"latency\"}}",
        same_le(bounds, &buckets)
    );
    format!("max by ({BY}) (\n{}\n)", indented(&joined))
}

/// Values of `le` that mean this bound: Prometheus 3 writes `1.0`, Prometheus 2 what the service wrote. A pattern, whose dots may mean
/// anything, since what it finds is joined with the objective's own.
fn le(seconds: f64) -> String {
    match seconds.fract() == 0.0 {
        true => format!("{seconds}|{seconds}.0"),
        false => seconds.to_string(),
    }
}

/// With `le` as the objective names it.
fn same_le(bounds: &[f64], buckets: &str) -> String {
    match bounds.iter().any(|bound| bound.fract() == 0.0) {
        true => {
            format!("label_replace({buckets}, \"le\", \"$1\", \"le\", \"(.+)\\\\.0\")")
        }
        false => buckets.to_owned(),
    }
}

fn sum(by: &str, function: &str, part: &str, outcome: &str, window: Time) -> String {
    format!("sum by ({by}) ({function}({REQUESTS}{part}{{http_route!=\"\",{outcome}}}[{window}]))")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_of_whole_seconds_is_found_however_it_is_written() {
        let text = within(&[0.25, 1.0], "rate", Time::from_seconds(60));
        assert!(text.contains("le=~\"0.25|1|1.0\""), "{text}");
        assert!(text.contains(r#""le", "$1", "le", "(.+)\\.0")"#), "{text}");
        assert!(!within(&[0.25], "rate", Time::from_seconds(60)).contains("label_replace"));
    }
}

//! Scraped counters of requests.

use super::rate;
use crate::{Indicator, Objective, REQUESTS};

/// Prometheus's look-back: a sample stands for a moment so long after it.
const LOOK_BACK_MS: i64 = 300_000;

/// The series vanished from its target, or the target did: Prometheus's staleness marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// What was scraped at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Milliseconds since the epoch.
    pub at_ms: i64,
    /// The counter, or that it is gone.
    pub value: Result<f64, Gone>,
}

/// One counter: requests of a route with an outcome, or those of them within a bound.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub(super) service: String,
    pub(super) route: String,
    outcome: String,
    /// Upper bound of a bucket; none: all of them.
    within: Option<f64>,
    /// Oldest first.
    pub samples: Vec<Sample>,
}

impl Series {
    /// The series of this name and these labels, without samples; `None` if the objectives do not read it.
    pub fn of<'a>(
        name: &str,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Option<Self> {
        let part = name.strip_prefix(REQUESTS)?;
        let (mut service, mut route, mut outcome, mut le) = ("", "", "", "");
        for (name, value) in labels {
            match name {
                "service_name" => service = value,
                "http_route" => route = value,
                "outcome" => outcome = value,
                "le" => le = value,
                _ => {}
            }
        }
        let within = match part {
            "_count" => None,
            "_bucket" => Some(le.parse().ok().filter(|bound: &f64| bound.is_finite())?),
            _ => return None,
        };
        (!service.is_empty() && !route.is_empty()).then(|| Self {
            service: service.to_owned(),
            route: route.to_owned(),
            outcome: outcome.to_owned(),
            within,
            samples: Vec::new(),
        })
    }

    /// Whether an objective is about it.
    pub(crate) fn is_read_by(&self, objective: &Objective) -> bool {
        let is_counted = match (self.within, objective.indicator) {
            (None, _) => self.outcome != "cancelled",
            (Some(bound), Indicator::Latency { seconds }) => {
                bound == seconds && self.outcome == "ok"
            }
            (Some(_), Indicator::Availability) => false,
        };
        is_counted && objective.scope.has(&self.service, &self.route)
    }

    pub(super) fn is_count(&self) -> bool {
        self.within.is_none()
    }

    /// Whether an instant query at this time would see it.
    pub(super) fn exists(&self, at_ms: i64) -> bool {
        let to = self.samples.partition_point(|sample| sample.at_ms <= at_ms);
        let last = self.samples[..to].last();
        last.is_some_and(|last| last.value.is_ok() && last.at_ms > at_ms - LOOK_BACK_MS)
    }
}

/// Which series are summed up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Part {
    /// All but those whose caller went away.
    Answered,
    /// Those that failed.
    Failed,
    /// Those that did not.
    Served,
    /// Those of them that took no longer than this.
    Within(f64),
}

impl Part {
    fn has(self, series: &Series) -> bool {
        let outcome = series.outcome.as_str();
        match self {
            Self::Answered => series.within.is_none() && matches!(outcome, "ok" | "error"),
            Self::Failed => series.within.is_none() && outcome == "error",
            Self::Served => series.within.is_none() && outcome == "ok",
            Self::Within(bound) => series.within == Some(bound) && outcome == "ok",
        }
    }
}

/// `sum(rate(…[range]))` at a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sum<'a> {
    pub series: &'a [&'a Series],
    pub at_ms: i64,
    pub range_ms: i64,
}

impl Sum<'_> {
    pub fn rate(&self, part: Part) -> Option<f64> {
        self.of(part, rate::rate)
    }

    pub fn increase(&self, part: Part) -> Option<f64> {
        self.of(part, rate::increase)
    }

    /// `None` if no series has enough samples. Compensated (Kahan and Neumaier), as Prometheus's is.
    fn of(&self, part: Part, function: fn(&[Sample], i64, i64) -> Option<f64>) -> Option<f64> {
        let (mut sum, mut lost, mut is_empty) = (0.0_f64, 0.0_f64, true);
        for series in self.series.iter().filter(|series| part.has(series)) {
            let Some(value) = function(&series.samples, self.at_ms, self.range_ms) else {
                continue;
            };
            is_empty = false;
            let next = sum + value;
            lost += match sum.abs() >= value.abs() {
                true => (sum - next) + value,
                false => (value - next) + sum,
            };
            sum = next;
        }
        (!is_empty).then_some(sum + lost)
    }
}

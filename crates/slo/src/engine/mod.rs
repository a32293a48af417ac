//! The same arithmetic in process, over counters that were scraped.

mod rate;
mod series;

pub use series::{Gone, Sample, Series};

use std::collections::BTreeMap;

use crate::{Definition, Indicator, Objective, Pair, Profile, Severity};
use series::{Part, Sum};

/// Evaluates the objectives of a definition with the windows of a profile.
#[derive(Debug, Clone, Copy)]
pub struct Engine<'a> {
    definition: &'a Definition,
    profile: &'a Profile,
}

/// One objective of one route at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The service.
    pub service: String,
    /// The route.
    pub route: String,
    /// What is promised, to how many, by whom.
    pub objective: Objective,
    /// One for each pair of windows.
    pub burns: Vec<Burn>,
}

/// How fast a budget burns in a pair of windows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burn {
    /// The pair.
    pub pair: Pair,
    /// Over the long window; `None` without requests.
    pub long: Option<f64>,
    /// Over the short window.
    pub short: Option<f64>,
    /// Bad requests in the long window.
    pub bad_events: Option<f64>,
    /// Whether the alert's condition holds.
    pub is_firing: bool,
}

impl Reading {
    /// Whether an alert fires over the windows of this severity, with which severity it does, and how fast the budget burns.
    pub fn alert(&self, windows: Severity) -> Option<(Severity, f64)> {
        let burning = |burn: &&Burn| burn.is_firing && burn.pair.severity == windows;
        let rate = self.burns.iter().find(burning)?.long?;
        Some((windows.min(self.objective.severity), rate))
    }
}

impl<'a> Engine<'a> {
    /// For these definitions.
    pub fn new(definition: &'a Definition, profile: &'a Profile) -> Self {
        Self {
            definition,
            profile,
        }
    }

    /// Every objective of every route at this time (milliseconds since the epoch), in order of service and route.
    pub fn read(&self, series: &[Series], at_ms: i64) -> Vec<Reading> {
        let mut routes: BTreeMap<(&str, &str), Vec<&Series>> = BTreeMap::new();
        for one in series.iter().filter(|one| !one.route.is_empty()) {
            routes
                .entry((&one.service, &one.route))
                .or_default()
                .push(one);
        }
        let mut readings = Vec::new();
        for ((service, route), series) in routes {
            let mine = |objective: &&Objective| objective.scope.has(service, route);
            for objective in self.definition.objectives.iter().filter(mine) {
                let burn = |pair: &Pair| self.burn(objective, &series, *pair, at_ms);
                readings.push(Reading {
                    service: service.to_owned(),
                    route: route.to_owned(),
                    objective: objective.clone(),
                    burns: self.profile.pairs.iter().map(burn).collect(),
                });
            }
        }
        readings
    }

    fn burn(&self, objective: &Objective, series: &[&Series], pair: Pair, at_ms: i64) -> Burn {
        let sum = |window: crate::Time| Sum {
            series,
            at_ms,
            range_ms: window.millis(),
        };
        let rate = |window| ratio(objective, sum(window)).map(|ratio| ratio / objective.budget());
        let (long, short) = (rate(pair.long), rate(pair.short));
        let bad_events = bad(objective, |part| sum(pair.long).increase(part));
        let then = at_ms - pair.history.millis();
        let burns = |rate: Option<f64>| rate.is_some_and(|rate| rate > pair.burn_rate);
        let is_firing = burns(long)
            && burns(short)
            && bad_events.is_some_and(|number| number >= f64::from(self.profile.min_bad_events))
            && series.iter().any(|one| one.is_count() && one.exists(then));
        Burn {
            pair,
            long,
            short,
            bad_events,
            is_firing,
        }
    }
}

/// Share of bad requests; `None` without requests.
fn ratio(objective: &Objective, sum: Sum<'_>) -> Option<f64> {
    let bad = bad(objective, |part| sum.rate(part))?;
    let all = sum.rate(all(objective)).filter(|all| *all > 0.0)?;
    Some(bad / all)
}

fn all(objective: &Objective) -> Part {
    match objective.indicator {
        Indicator::Availability => Part::Answered,
        Indicator::Latency { .. } => Part::Served,
    }
}

fn bad(objective: &Objective, sum: impl Fn(Part) -> Option<f64>) -> Option<f64> {
    match objective.indicator {
        Indicator::Availability => sum(Part::Failed),
        Indicator::Latency { seconds } => Some(sum(Part::Served)? - sum(Part::Within(seconds))?),
    }
}

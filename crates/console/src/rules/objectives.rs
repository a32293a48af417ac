//! The objectives of all routes and how fast their budgets burn, from what the rules record.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use promql::{Matcher, NAME};
use serde_json::{Value, json};
use slo::{Definition, Indicator, Pair, Profile, Severity};

use super::alert::Alert;
use crate::answer::{Page, Refused};
use crate::series::SeriesStore;

/// The profile whose windows the page shows, as far as the rules record them.
pub(super) const PROFILE: &str = "demo";

/// The repository's definitions, if they are valid; a test of `slo` proves that they are.
static DEFINITION: LazyLock<Option<(Definition, Profile)>> = LazyLock::new(|| {
    let definition = Definition::embedded().ok()?;
    let profile = definition.profile(PROFILE).ok()?.clone();
    Some((definition, profile))
});

/// A service, a route and the name of its objective.
type Key = [String; 3];

const LABELS: [&str; 3] = ["service_name", "http_route", "slo"];

/// All objectives, in order of service, route and indicator, with the windows that the page shows.
pub(super) fn all(
    series: &SeriesStore,
    firing: &[&Alert],
    page: &mut Page,
) -> Result<Vec<Value>, Refused> {
    let Some((definition, profile)) = DEFINITION.as_ref() else {
        return Ok(Vec::new());
    };
    let mut recorded = |name: &str| recorded(series, name, page);
    let targets = recorded("slo:objective:ratio")?;
    let mut windows = Vec::new();
    for pair in profile.pairs(Severity::Page) {
        let long = recorded(&slo::ratio_name(pair.long))?;
        let short = recorded(&slo::ratio_name(pair.short))?;
        windows.push((pair, long, short, recorded(&slo::number_name(pair.long))?));
    }
    let shown = targets.iter().map(|(key, target)| {
        let is_firing = firing.iter().any(|alert| is_about(alert, key));
        let burns: Vec<Value> = windows
            .iter()
            .map(|(pair, long, short, bad)| {
                let rate = |ratios: &BTreeMap<Key, f64>| Some(ratios.get(key)? / (1.0 - target));
                burn(pair, rate(long), rate(short), bad.get(key), is_firing)
            })
            .collect();
        let [service, route, slo] = key;
        json!({
            "service": service,
            "route": route,
            "slo": slo,
            "objective": target,
            "seconds": seconds(definition, key),
            "burns": burns,
        })
    });
    Ok(shown.collect())
}

/// The series that a rule records per route.
fn recorded(
    series: &SeriesStore,
    name: &str,
    page: &mut Page,
) -> Result<BTreeMap<Key, f64>, Refused> {
    let named = Matcher::is(NAME, name);
    let found = series.latest(&[named], &mut |bytes| page.gather(bytes));
    let found = found.ok_or_else(|| page.no_room())?;
    let key = |labels: &crate::series::LabelSet| LABELS.map(|name| labels.get(name).to_owned());
    Ok(found
        .iter()
        .map(|one| (key(&one.labels), one.value))
        .collect())
}

/// `null` where there were no requests.
fn burn(
    pair: &Pair,
    long: Option<f64>,
    short: Option<f64>,
    bad: Option<&f64>,
    is_firing: bool,
) -> Value {
    let burns = |rate: Option<f64>| rate.is_some_and(|rate| rate > pair.burn_rate);
    json!({
        "threshold": pair.burn_rate,
        "long": {"window": pair.long.to_string(), "burn_rate": long, "bad_events": bad},
        "short": {"window": pair.short.to_string(), "burn_rate": short},
        "firing": is_firing && burns(long) && burns(short),
    })
}

/// Whether it is an alert of the windows that are shown.
fn is_about(alert: &Alert, [service, route, slo]: &Key) -> bool {
    let wanted = [("service", service), ("route", route), ("slo", slo)];
    let is_so = |(name, value): (&str, &String)| alert.labels.get(name) == value;
    alert.labels.get("burn") == "fast" && wanted.into_iter().all(is_so)
}

/// The bound of a latency objective.
fn seconds(definition: &Definition, [service, route, slo]: &Key) -> Option<f64> {
    let mut all = definition.objectives.iter();
    let mine = all.find(|one| one.indicator.name() == slo && one.scope.has(service, route));
    match mine?.indicator {
        Indicator::Availability => None,
        Indicator::Latency { seconds } => Some(seconds),
    }
}

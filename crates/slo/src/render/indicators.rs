//! Recording rules of the indicators: objectives, share and number of bad requests, burn rate, and remaining budget.

use super::measure::{Measure, OBJECTIVE};
use crate::promql::{BY, indented, matchers};
use crate::yaml::Rule;
use crate::{Definition, Indicator, Objective, Pair, Profile, REQUESTS, Severity, Time};

/// An objective is of one indicator and one route.
const ONE: &str = "slo, service_name, http_route";

/// Records how fast the budget burns where it does so too fast over both windows of a pair.
pub(super) const EXCEEDED: &str = "slo:burn_rate:exceeded";

/// What windows of one severity need; the fast ones record the objectives too, the slow ones the budget left.
pub(super) fn rules(definition: &Definition, profile: &Profile, severity: Severity) -> Vec<Rule> {
    let mut rules = match severity {
        Severity::Page => objectives(definition, profile),
        Severity::Ticket => Vec::new(),
    };
    for measure in Measure::both(definition) {
        let windows = windows(profile, severity);
        rules.extend(windows.map(|window| ratio(&measure, window)));
        rules.extend(
            profile
                .pairs(severity)
                .map(|pair| number(&measure, pair.long)),
        );
        if severity == Severity::Ticket {
            rules.extend(events(&measure, profile));
        }
    }
    rules.extend(profile.pairs(severity).map(exceeded));
    if severity == Severity::Ticket {
        rules.extend([remaining(profile), covered(profile)]);
    }
    rules
}

/// The windows that this group records, each once: two rules that record one series are at odds.
fn windows(profile: &Profile, severity: Severity) -> impl Iterator<Item = Time> + use<> {
    let of = |severity| {
        let pairs = profile.pairs(severity);
        pairs.flat_map(|pair| [pair.short, pair.long])
    };
    let mut known: Vec<Time> = match severity {
        Severity::Page => Vec::new(),
        Severity::Ticket => of(Severity::Page).collect(),
    };
    let before = known.len();
    for window in of(severity) {
        if !known.contains(&window) {
            known.push(window);
        }
    }
    known.into_iter().skip(before)
}

/// Name of the share of bad requests in a window.
pub fn ratio_name(window: Time) -> String {
    format!("slo:sli_error:ratio_rate{window}")
}

/// Name of the number of bad requests in a window.
pub fn number_name(window: Time) -> String {
    format!("slo:bad_events:increase{window}")
}

/// Which routes there are, and what is promised for each: this is where services and routes are named, and nowhere else.
fn objectives(definition: &Definition, profile: &Profile) -> Vec<Rule> {
    let routes = format!("group by ({BY}) ({REQUESTS}_count{{http_route!=\"\"}})");
    let runbooks = definition.links.runbooks.get_ref().trim_end_matches('/');
    let mut rules = vec![
        Rule::record("slo:route:info", routes),
        // For dashboards, which see an alert's labels and not its annotations.
        Rule::record("slo:links:info", "vector(1)").label("runbooks", runbooks),
    ];
    let all = definition.objectives.iter();
    rules.extend(all.map(|objective| target(objective, profile)));
    rules
}

/// A route that is gone keeps its objective for as long as any alert can still be about it: until the longest short window is empty.
fn target(objective: &Objective, profile: &Profile) -> Rule {
    let scope = matchers(&objective.scope);
    let memory = profile.pairs.iter().map(|pair| pair.short).max();
    let memory = memory.unwrap_or_else(|| profile.memory());
    let expr = format!(
        "last_over_time(slo:route:info{{{scope}}}[{memory}]) * {}",
        objective.target
    );
    let rule = Rule::record(OBJECTIVE, expr)
        .label("slo", objective.indicator.name())
        .label("severity", objective.severity.as_str())
        .label("team", &objective.team);
    match objective.indicator {
        Indicator::Availability => rule,
        Indicator::Latency { seconds } => rule.label("le", seconds.to_string()),
    }
}

fn ratio(measure: &Measure, window: Time) -> Rule {
    Rule::record(ratio_name(window), measure.ratio(window))
        .label("slo", measure.name())
        .label("window", window.to_string())
}

fn number(measure: &Measure, window: Time) -> Rule {
    let expr = match measure {
        Measure::Availability => measure.bad("increase", window),
        // The share is known already, and the buckets are dear.
        Measure::Latency(_) => format!(
            "{}{{slo=\"{}\"}}\n* on ({BY})\n{}",
            ratio_name(window),
            measure.name(),
            measure.all("increase", window)
        ),
    };
    Rule::record(number_name(window), expr)
        .label("slo", measure.name())
        .label("window", window.to_string())
}

/// Both windows of a pair burn: by how much the long one does. Two gates decide whether that begins, and not whether it goes on: a number
/// of bad requests, so that one of them is no alert, and history ([`Pair::history`]). While two objectives of a route are known
/// (a new one, and for five minutes the one that was promised before a restart), the stricter counts.
fn exceeded(pair: &Pair) -> Rule {
    let (long, short, rate) = (
        ratio_name(pair.long),
        ratio_name(pair.short),
        pair.burn_rate,
    );
    let gates = format!(
        "{} >= {}\nand on ({BY})\n{REQUESTS}_count{{http_route!=\"\"}} offset {}\nor on ({ONE})\n{EXCEEDED}{{window=\"{}\"}}",
        number_name(pair.long),
        pair.min_bad_events,
        pair.history,
        pair.long
    );
    let expr = format!(
        "{long}\n/ on ({ONE}) group_left (severity, team)\n(1 - topk by ({ONE}) (1, {OBJECTIVE}))\n> {rate}\n\
         and on ({ONE})\n\
         {short}\n/ on ({ONE})\n(1 - max by ({ONE}) ({OBJECTIVE}))\n> {rate}\n\
         and on ({ONE}) (\n{}\n)",
        indented(&gates)
    );
    Rule::record(EXCEEDED, expr)
        .label("window", pair.long.to_string())
        .label("burn", speed(pair.severity))
}

/// Tells apart two alerts of one objective that differ in nothing else.
pub(super) fn speed(severity: Severity) -> &'static str {
    match severity {
        Severity::Page => "fast",
        Severity::Ticket => "slow",
    }
}

/// Requests and bad ones a second, over two evaluations: what the budget is summed up from.
fn events(measure: &Measure, profile: &Profile) -> [Rule; 2] {
    let step = Time::from_seconds(2 * profile.interval(Severity::Ticket).seconds());
    let record = |name: &str, expr| Rule::record(name, expr).label("slo", measure.name());
    [
        record("slo:events:rate", measure.all("rate", step)),
        record("slo:bad_events:rate", measure.bad("rate", step)),
    ]
}

/// The budget left, 1 at first, below 0 when overspent; weighted by requests.
fn remaining(profile: &Profile) -> Rule {
    let period = profile.period;
    let expr = format!(
        "1 - (\n  sum_over_time(slo:bad_events:rate[{period}])\n  /\n  (sum_over_time(slo:events:rate[{period}]) > 0)\n)\n/ on ({ONE})\n(1 - max by ({ONE}) ({OBJECTIVE}))"
    );
    Rule::record("slo:error_budget:remaining", expr)
}

/// Of how much of the period something was counted, in seconds: less than all of it at first, after a gap, and where less is kept.
fn covered(profile: &Profile) -> Rule {
    let (period, every) = (profile.period, profile.interval(Severity::Ticket).seconds());
    let expr = format!("count_over_time(slo:events:rate[{period}]) * {every}");
    Rule::record("slo:error_budget:covered_seconds", expr)
}

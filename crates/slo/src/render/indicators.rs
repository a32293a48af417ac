//! Recording rules of the indicators: share of bad requests, their number, objective and budget left.

use crate::promql::{BY, all, bad, indented, matchers};
use crate::yaml::Rule;
use crate::{Definition, Indicator, Names, Objective, Profile, REQUESTS, Scope, Severity, Time};

/// What windows of one severity need; the slow ones keep the budget too.
pub(super) fn rules(definition: &Definition, profile: &Profile, severity: Severity) -> Vec<Rule> {
    let mut rules = Vec::new();
    for measure in measures(definition) {
        for pair in profile.pairs(severity) {
            let windows = [pair.short, pair.long].into_iter();
            let new = windows.filter(|window| !is_known(profile, severity, *window));
            rules.extend(new.map(|window| ratio(&measure, window)));
            rules.push(number(&measure, pair.long));
        }
        if severity == Severity::Ticket {
            rules.extend(events(&measure, profile));
        }
    }
    for objective in &definition.objectives {
        rules.push(match severity {
            Severity::Page => target(objective),
            Severity::Ticket => remaining(objective, profile),
        });
    }
    rules
}

/// Whether the faster group records the window already: two rules that record one series are at odds.
fn is_known(profile: &Profile, severity: Severity, window: Time) -> bool {
    let mut pages = profile.pairs(Severity::Page);
    severity == Severity::Ticket && pages.any(|pair| pair.short == window || pair.long == window)
}

/// What is counted: failures are for all services alike, slowness depends on the objective.
fn measures(definition: &Definition) -> Vec<Objective> {
    let mut measures: Vec<Objective> = Vec::new();
    for objective in &definition.objectives {
        let mut measure = objective.clone();
        if measure.indicator == Indicator::Availability {
            let any = || Names::AllBut(Vec::new());
            measure.scope = Scope {
                services: any(),
                routes: any(),
            };
        }
        let is_known = |known: &Objective| {
            known.indicator == measure.indicator && known.scope == measure.scope
        };
        if !measures.iter().any(is_known) {
            measures.push(measure);
        }
    }
    measures
}

/// Name of the share of bad requests in a window.
pub fn ratio_name(window: Time) -> String {
    format!("slo:sli_error:ratio_rate{window}")
}

/// Name of the number of bad requests in a window.
pub fn number_name(window: Time) -> String {
    format!("slo:bad_events:increase{window}")
}

fn of(objective: &Objective, rule: Rule) -> Rule {
    rule.label("slo", objective.indicator.name())
}

/// Nothing without requests: neither good nor bad.
fn ratio(objective: &Objective, window: Time) -> Rule {
    let bad = bad(objective, "rate", window);
    let all = all(objective, "rate", window);
    let expr = format!("{bad}\n/\n({all} > 0)");
    of(objective, Rule::record(ratio_name(window), expr)).label("window", window.to_string())
}

fn number(objective: &Objective, window: Time) -> Rule {
    let expr = bad(objective, "increase", window);
    of(objective, Rule::record(number_name(window), expr)).label("window", window.to_string())
}

fn target(objective: &Objective) -> Rule {
    let scope = matchers(&objective.scope);
    let expr = format!(
        "group by ({BY}) ({REQUESTS}_count{{{scope}}}) * {}",
        objective.target
    );
    of(objective, Rule::record("slo:objective:ratio", expr))
}

/// Requests and bad ones a second, over two evaluations: what the budget is summed up from.
fn events(measure: &Objective, profile: &Profile) -> [Rule; 2] {
    let step = Time::from_seconds(2 * profile.interval(Severity::Ticket).seconds());
    let record = |name: &str, expr| of(measure, Rule::record(name, expr));
    [
        record("slo:events:rate", all(measure, "rate", step)),
        record("slo:bad_events:rate", bad(measure, "rate", step)),
    ]
}

/// The budget left, 1 at first, below 0 when overspent; weighted by requests.
fn remaining(objective: &Objective, profile: &Profile) -> Rule {
    let (slo, scope) = (objective.indicator.name(), matchers(&objective.scope));
    let over = |name: &str| {
        let period = profile.period;
        format!("sum_over_time({name}{{slo=\"{slo}\",{scope}}}[{period}])")
    };
    let expr = format!(
        "1 - (\n{}\n  /\n  ({} > 0)\n) / {}",
        indented(&over("slo:bad_events:rate")),
        over("slo:events:rate"),
        objective.budget()
    );
    of(objective, Rule::record("slo:error_budget:remaining", expr))
}

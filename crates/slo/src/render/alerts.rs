//! Alerts of the objectives and of causes.

use super::indicators::{number_name, ratio_name};
use super::notification::{Notification, labels};
use crate::objective::rounded;
use crate::promql::{BY, indented, matchers};
use crate::yaml::Rule;
use crate::{Cause, Definition, Indicator, Objective, Pair, Profile, REQUESTS, Severity, Time};

/// Burn-rate alerts of the windows of one severity. An objective that only makes tickets makes them from all windows.
pub(super) fn rules(definition: &Definition, profile: &Profile, severity: Severity) -> Vec<Rule> {
    let pairs: Vec<&Pair> = profile.pairs(severity).collect();
    if pairs.is_empty() {
        return Vec::new();
    }
    definition
        .objectives
        .iter()
        .map(|objective| burn(definition, profile, objective, severity, &pairs))
        .collect()
}

fn burn(
    definition: &Definition,
    profile: &Profile,
    objective: &Objective,
    severity: Severity,
    pairs: &[&Pair],
) -> Rule {
    let conditions: Vec<String> = pairs
        .iter()
        .map(|pair| format!("(\n{}\n)", indented(&condition(profile, objective, pair))))
        .collect();
    // One alert for each route, whichever pair it is that burns.
    let any = conditions.join(&format!("\nor on ({BY})\n"));
    let (alert, summary) = match objective.indicator {
        Indicator::Availability => ("AvailabilityBurnRate", "requests fail".to_owned()),
        Indicator::Latency { seconds } => {
            let slow = format!("requests take longer than {seconds} s");
            ("LatencyBurnRate", slow)
        }
    };
    let mut rule = Rule::record(alert, format!("max by ({BY}) (\n{}\n)", indented(&any)));
    rule.kind = "alert";
    rule.labels = labels(
        severity.min(objective.severity),
        &objective.team,
        objective.indicator.name(),
        "{{ $labels.service_name }}",
        "{{ $labels.http_route }}",
    );
    rule.labels.push(("burn", speed(severity).to_owned()));
    let first = pairs[0].long;
    rule.annotations = Notification {
        alert,
        summary: format!("{{{{ $labels.service_name }}}} {{{{ $labels.http_route }}}}: {summary}"),
        description: description(profile, objective, pairs),
        dashboard: "omnitrace-slo?var-service={{ $labels.service_name }}".to_owned(),
        looks_back: first,
        release: true,
    }
    .annotations(definition, profile);
    rule
}

/// Tells apart two alerts of one objective that differ in nothing else.
fn speed(severity: Severity) -> &'static str {
    match severity {
        Severity::Page => "fast",
        Severity::Ticket => "slow",
    }
}

/// One pair of windows burns: by how much. Gated twice: by a number of bad requests, so that one of them is no alert, and by
/// history ([`Pair::history`]).
fn condition(profile: &Profile, objective: &Objective, pair: &Pair) -> String {
    let (slo, scope) = (objective.indicator.name(), matchers(&objective.scope));
    let selector = format!("{{slo=\"{slo}\",{scope}}}");
    let (budget, rate) = (objective.budget(), pair.burn_rate);
    let burns = |window: Time| format!("{}{selector} / {budget} > {rate}", ratio_name(window));
    format!(
        "({})\nand on ({BY}) ({})\nand on ({BY}) ({}{selector} >= {})\nand on ({BY}) ({REQUESTS}_count{{{scope}}} offset {})",
        burns(pair.long),
        burns(pair.short),
        number_name(pair.long),
        profile.min_bad_events,
        pair.history
    )
}

fn description(profile: &Profile, objective: &Objective, pairs: &[&Pair]) -> String {
    let slo = objective.indicator.name();
    let measured = |name: String, format: &str| {
        format!(
            "{{{{ with printf `{name}{{slo=\"{slo}\",service_name=\"%s\",http_route=\"%s\"}}` $labels.service_name $labels.http_route | query }}}}{{{{ . | first | value | {format} }}}}{{{{ else }}}}no{{{{ end }}}}"
        )
    };
    let windows: Vec<String> = pairs
        .iter()
        .map(|pair| {
            let (long, short) = (pair.long, pair.short);
            format!(
                "{} of requests ({} of them) in {long} and {} in {short} (alert above {}%)",
                measured(ratio_name(long), "humanizePercentage"),
                measured(number_name(long), "printf \"%.0f\""),
                measured(ratio_name(short), "humanizePercentage"),
                rounded(objective.budget() * pair.burn_rate * 100.0)
            )
        })
        .collect();
    let promise = match objective.indicator {
        Indicator::Availability => "do not fail".to_owned(),
        Indicator::Latency { seconds } => format!("that do not fail take at most {seconds} s"),
    };
    format!(
        "The error budget burns {{{{ $value | printf \"%.1f\" }}}} times too fast: bad were {}. Objective: {}% of requests {promise}, over {}.",
        windows.join("; "),
        rounded(objective.target * 100.0),
        profile.period
    )
}

/// The alerts of `alerts/causes.toml`, and the one that always fires.
pub(super) fn causes(definition: &Definition, profile: &Profile) -> Vec<Rule> {
    let alert = |cause: &Cause| cause_alert(definition, profile, cause);
    definition.causes.iter().map(alert).collect()
}

fn cause_alert(definition: &Definition, profile: &Profile, cause: &Cause) -> Rule {
    let filled = |text: &str| Cause::filled(text, profile);
    let mut rule = Rule::record(cause.alert.as_str(), filled(&cause.expr));
    rule.kind = "alert";
    rule.lasts = cause.lasts.then(|| profile.cause_for.to_string());
    rule.labels = labels(cause.severity, &cause.team, "none", &cause.service, "none");
    rule.annotations = Notification {
        alert: &cause.alert,
        summary: filled(&cause.summary),
        description: filled(&cause.description),
        dashboard: cause.dashboard.clone(),
        looks_back: profile.first_window(),
        release: cause.release,
    }
    .annotations(definition, profile);
    rule
}

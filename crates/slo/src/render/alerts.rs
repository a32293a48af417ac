//! Alerts of the objectives and of causes.

use super::indicators::{EXCEEDED, number_name, ratio_name, speed};
use super::measure::OBJECTIVE;
use super::notification::{Notification, labels};
use crate::promql::BY;
use crate::yaml::Rule;
use crate::{Cause, CauseKind, Definition, Indicator, Pair, Profile, Severity};

/// Burn-rate alerts of the windows of one severity: one of each indicator, for every route that has an objective. An objective that only
/// makes tickets makes them from all windows.
pub(super) fn rules(definition: &Definition, profile: &Profile, severity: Severity) -> Vec<Rule> {
    let pairs: Vec<&Pair> = profile.pairs(severity).collect();
    if pairs.is_empty() {
        return Vec::new();
    }
    let latency = Indicator::Latency { seconds: 0.0 };
    [Indicator::Availability, latency]
        .map(|indicator| burn(definition, profile, indicator, severity, &pairs))
        .into()
}

fn burn(
    definition: &Definition,
    profile: &Profile,
    indicator: Indicator,
    severity: Severity,
    pairs: &[&Pair],
) -> Rule {
    let (slo, burn) = (indicator.name(), speed(severity));
    let (alert, bad, kind) = match indicator {
        Indicator::Availability => {
            let bad = "requests fail".to_owned();
            ("AvailabilityBurnRate", bad, CauseKind::Errors)
        }
        Indicator::Latency { .. } => {
            let slow = format!("requests take longer than {} s", bound());
            ("LatencyBurnRate", slow, CauseKind::Latency)
        }
    };
    // One alert for each route, whichever pair it is that burns.
    let expr =
        format!("max by ({BY}, severity, team) ({EXCEEDED}{{slo=\"{slo}\",burn=\"{burn}\"}})");
    let mut rule = Rule::record(alert, expr);
    rule.kind = "alert";
    rule.labels = labels(
        severity,
        "{{ $labels.team }}",
        slo,
        "{{ $labels.service_name }}",
        "{{ $labels.http_route }}",
    );
    if severity == Severity::Page {
        rule.labels[0].1 = "{{ $labels.severity }}".to_owned();
    }
    rule.labels.push(("burn", burn.to_owned()));
    rule.annotations = Notification {
        alert,
        summary: format!("{{{{ $labels.service_name }}}} {{{{ $labels.http_route }}}}: {bad}"),
        description: description(profile, indicator, pairs),
        dashboard: "omnitrace-slo?var-service={{ $labels.service_name }}".to_owned(),
        looks_back: pairs[0].long,
        kind,
        first_action: None,
        release: true,
    }
    .annotations(definition, profile);
    rule
}

/// What is recorded of the route that the alert is about; `{}` in the expression stands for it.
fn of_route(expression: &str, slo: &str) -> String {
    let route = format!("{{slo=\"{slo}\",service_name=%q,http_route=%q}}");
    let query = expression.replace("{}", &route);
    format!("printf `{query}` $labels.service_name $labels.http_route | query")
}

/// The bound of the route's latency objective.
fn bound() -> String {
    let objective = of_route(&format!("{OBJECTIVE}{{}}"), "latency");
    format!("{{{{ range {objective} }}}}{{{{ .Labels.le }}}}{{{{ end }}}}")
}

fn description(profile: &Profile, indicator: Indicator, pairs: &[&Pair]) -> String {
    let measured = |expression: String, format: &str| {
        format!(
            "{{{{ with {} }}}}{{{{ . | first | value | {format} }}}}{{{{ else }}}}no{{{{ end }}}}",
            of_route(&expression, indicator.name())
        )
    };
    let share = |expression: String| measured(expression, "humanizePercentage");
    let windows: Vec<String> = pairs
        .iter()
        .map(|pair| {
            let (long, short) = (pair.long, pair.short);
            format!(
                "{} of requests ({} of them) in {long} and {} in {short} (alert above {})",
                share(format!("{}{{}}", ratio_name(long))),
                measured(format!("{}{{}}", number_name(long)), "printf \"%.0f\""),
                share(format!("{}{{}}", ratio_name(short))),
                share(format!("{} * (1 - {OBJECTIVE}{{}})", pair.burn_rate))
            )
        })
        .collect();
    let promise = match indicator {
        Indicator::Availability => "do not fail".to_owned(),
        Indicator::Latency { .. } => format!("that do not fail take at most {} s", bound()),
    };
    format!(
        "The error budget burns {{{{ $value | printf \"%.1f\" }}}} times too fast: bad were {}. Objective: {} of requests {promise}, over {}.",
        windows.join("; "),
        share(format!("{OBJECTIVE}{{}}")),
        profile.period
    )
}

/// The alerts of `alerts/causes.toml`: those that watch what watches, or the others.
pub(super) fn causes(definition: &Definition, profile: &Profile, watches: bool) -> Vec<Rule> {
    let alert = |cause: &Cause| cause_alert(definition, profile, cause);
    let causes = definition.causes.iter();
    causes
        .filter(|cause| cause.watches == watches)
        .map(alert)
        .collect()
}

fn cause_alert(definition: &Definition, profile: &Profile, cause: &Cause) -> Rule {
    let filled = |text: &str| Cause::filled(text, profile);
    let mut rule = Rule::record(cause.alert.as_str(), cause.promql(profile));
    rule.kind = "alert";
    rule.lasts = cause.lasts.then(|| profile.cause_for.to_string());
    rule.labels = labels(cause.severity, &cause.team, "none", &cause.service, "none");
    if let Some(database) = &cause.database {
        rule = rule.label("db_system_name", database);
    }
    rule.annotations = Notification {
        alert: &cause.alert,
        summary: filled(&cause.summary),
        description: filled(&cause.description),
        dashboard: cause.dashboard.clone(),
        looks_back: profile.first_window(),
        kind: cause.kind,
        first_action: cause.first_action,
        release: cause.release,
    }
    .annotations(definition, profile);
    rule
}

//! What shows without any request: services that are gone, probes that fail, and the alert that always fires.

use telemetry::names::process::BUILD_INFO;

use super::notification::{Notification, labels};
use crate::promql::{any_of, quoted};
use crate::yaml::Rule;
use toml::Spanned;

use crate::{Action, CauseKind, Definition, Probe, Profile, Severity};

/// Services that were there, and are expected.
const KNOWN: &str = "service:known:info";
/// How many instances of a service answer.
const INSTANCES: &str = "service:instances:count";
/// How many did all the time that a deployment may take.
const STEADY: &str = "service:instances:steady";
/// How many there should be, where that is declared.
const EXPECTED: &str = "service:instances:expected";

/// Their alerts.
pub(super) fn rules(definition: &Definition, profile: &Profile) -> Vec<Rule> {
    let public = definition.public.keys().map(String::as_str);
    let mut rules = known(definition, profile);
    rules.extend(definition.public.iter().map(|(name, team)| {
        let one = format!("service_name={}", quoted(name));
        service_down(definition, profile, &one, Severity::Page, team)
    }));
    let others = format!("service_name!~{}", any_of(public));
    let team = &definition.default_team;
    rules.push(service_down(
        definition,
        profile,
        &others,
        Severity::Ticket,
        team,
    ));
    rules.push(instances_lost(definition, profile));
    rules.extend(probes(definition, profile));
    rules.push(watchdog(definition, profile));
    rules
}

/// What runs; the load test comes and goes.
fn running(which: &str) -> String {
    format!("{}{{job!=\"loadtest\",{which}}}", BUILD_INFO.name())
}

/// What there was is remembered by the rules themselves: services until their removal is declared, whatever Prometheus missed in a time of
/// its own absence; and of each service how many instances it has, and has had for long enough that a deployment did not add them.
fn known(definition: &Definition, profile: &Profile) -> Vec<Rule> {
    let memory = profile.memory();
    let now = running("service_name!=\"\"");
    let removed = definition.removed.iter().map(String::as_str);
    let expected = match definition.removed.is_empty() {
        true => KNOWN.to_owned(),
        false => format!("{KNOWN}{{service_name!~{}}}", any_of(removed)),
    };
    let steady = profile.steady();
    let mut rules = vec![
        Rule::record(
            KNOWN,
            format!(
                "group by (service_name) ({now})\nor\ngroup by (service_name) (last_over_time({expected}[{memory}]))"
            ),
        ),
        Rule::record(
            INSTANCES,
            format!(
                "count by (service_name) (\n  group by (service_name, instance, service_instance_id) ({now})\n)"
            ),
        ),
        Rule::record(
            STEADY,
            format!("min_over_time({INSTANCES}[{steady}])\nand\n{INSTANCES} offset {steady}"),
        ),
    ];
    rules.extend(definition.instances.iter().map(|(name, count)| {
        Rule::record(EXPECTED, format!("vector({count})")).label("service_name", name)
    }));
    rules
}

/// A discovered target goes with its container, and `up` with it: so what was there and is not any more is down.
fn service_down(
    definition: &Definition,
    profile: &Profile,
    which: &str,
    severity: Severity,
    team: &str,
) -> Rule {
    let expr = format!(
        "{KNOWN}{{{which}}}\nunless on (service_name)\ngroup by (service_name) ({})",
        running(which)
    );
    let mut rule = alert("ServiceDown", expr, Some(profile.outage_for.to_string()));
    let service = "{{ $labels.service_name }}";
    rule.labels = labels(severity, team, "availability", service, "all");
    rule.annotations = Notification {
        alert: "ServiceDown",
        summary: format!("{service} is down"),
        description: format!(
            "No instance of {service} has answered a scrape for {}. It ends when one does, or when its removal is declared (alerts/slo.toml: removed).",
            profile.outage_for
        ),
        dashboard: format!("omnitrace-service?var-service={service}"),
        looks_back: profile.first_window(),
        kind: CauseKind::Down,
        first_action: Some(Action::Restart),
        release: true,
    }
    .annotations(definition, profile);
    rule
}

/// Fewer instances than are declared, or else than there were: what a deployment adds for a while is not missed. Where nothing is declared, the
/// smaller number is what there was when the memory is over.
fn instances_lost(definition: &Definition, profile: &Profile) -> Rule {
    let (service, memory) = ("{{ $labels.service_name }}", profile.memory());
    let before = format!("max_over_time({STEADY}[{memory}])");
    let expr = match definition.instances.is_empty() {
        true => format!("{before} - {INSTANCES} > 0"),
        false => format!("({EXPECTED} or {before}) - {INSTANCES} > 0"),
    };
    let lasts = Some(profile.cause_for.to_string());
    let mut rule = alert("InstancesLost", expr, lasts);
    let team = &definition.default_team;
    rule.labels = labels(Severity::Ticket, team, "none", service, "none");
    rule.annotations = Notification {
        alert: "InstancesLost",
        summary: format!("{service} has fewer instances than before"),
        description: format!(
            "{{{{ $value | printf \"%.0f\" }}}} of the instances that {service} had in the last {memory}, or should have, do not answer a scrape; others do. If fewer are wanted, say how many (alerts/slo.toml: instances)."
        ),
        dashboard: format!("omnitrace-service?var-service={service}"),
        looks_back: profile.first_window(),
        kind: CauseKind::Down,
        first_action: Some(Action::Restart),
        release: true,
    }
    .annotations(definition, profile);
    rule
}

/// One alert for each probe that is named, and one for those that are not: a new one is not silent.
fn probes(definition: &Definition, profile: &Profile) -> Vec<Rule> {
    let named: Vec<&str> = definition
        .probes
        .iter()
        .map(|probe| probe.name.get_ref().as_str())
        .collect();
    let stranger = Probe {
        name: placed(""),
        service: placed("{{ $labels.probe }}"),
        route: placed("{{ $labels.instance }}"),
        severity: Severity::Ticket,
        team: placed(&definition.default_team),
    };
    let others = format!("probe!~{}", any_of(std::iter::once("").chain(named)));
    let mut rules: Vec<Rule> = definition
        .probes
        .iter()
        .map(|probe| {
            probe_failing(
                definition,
                profile,
                probe,
                &format!("probe={}", quoted(probe.name.get_ref())),
            )
        })
        .collect();
    rules.push(probe_failing(definition, profile, &stranger, &others));
    rules
}

/// Every probe of the last `outage_for` failed, and it is not the start-up of the whole: it was asked `startup` ago already, or before a
/// gap that was then; by whichever instance of the probe, since a deployment starts a new one.
fn probe_failing(definition: &Definition, profile: &Profile, probe: &Probe, which: &str) -> Rule {
    let window = profile.outage_for;
    let at_least = (window.seconds() / profile.scrape_interval.seconds()).max(2) - 1;
    let selector = format!("probe_success{{{which}}}");
    let memory = profile.memory();
    let expr = format!(
        "max by (probe, instance) (\n  max_over_time({selector}[{window}]) == 0\n  and count_over_time({selector}[{window}]) >= {at_least}\n  and on (probe) last_over_time({selector}[{memory}] offset {})\n)",
        profile.startup
    );
    let mut rule = alert("ProbeFailing", expr, None);
    let Probe { severity, team, .. } = probe;
    rule.labels = labels(
        *severity,
        team.get_ref(),
        "availability",
        probe.service.get_ref(),
        probe.route.get_ref(),
    );
    rule.annotations = Notification {
        alert: "ProbeFailing",
        summary: format!("{} {} does not answer the probe from outside", probe.service.get_ref(), probe.route.get_ref()),
        description: format!(
            "All probes {{{{ $labels.probe }}}} ({{{{ $labels.instance }}}}) in the last {window} failed{{{{ with printf `probe_http_status_code{{probe=%q}}` $labels.probe | query }}}} (status {{{{ . | first | value }}}}, 0 is no answer){{{{ end }}}}."
        ),
        dashboard: format!("omnitrace-service?var-service={}", probe.service.get_ref()),
        looks_back: profile.first_window(),
        kind: CauseKind::Errors,
        first_action: None,
        release: true,
    }
    .annotations(definition, profile);
    rule
}

/// Its silence is the alarm: a receiver outside expects it.
fn watchdog(definition: &Definition, profile: &Profile) -> Rule {
    let mut rule = alert("Watchdog", "vector(1)".to_owned(), None);
    rule.labels = labels(
        Severity::Ticket,
        &definition.default_team,
        "none",
        "prometheus",
        "none",
    );
    rule.labels[0].1 = "none".to_owned();
    rule.annotations = Notification {
        alert: "Watchdog",
        summary: "The alerting works".to_owned(),
        description: "Always fires. A receiver outside raises the alarm when this stops arriving: then Prometheus, Alertmanager or the way between them is broken.".to_owned(),
        dashboard: "omnitrace-pipeline".to_owned(),
        looks_back: profile.first_window(),
        kind: CauseKind::Telemetry,
        first_action: None,
        release: false,
    }
    .annotations(definition, profile);
    rule
}

/// As if it had stood in the file.
fn placed(text: &str) -> Spanned<String> {
    Spanned::new(0..0, text.to_owned())
}

fn alert(name: &str, expr: String, lasts: Option<String>) -> Rule {
    let mut rule = Rule::record(name, expr);
    rule.kind = "alert";
    rule.lasts = lasts;
    rule
}

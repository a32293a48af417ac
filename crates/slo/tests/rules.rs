//! What is rendered: the committed files, what every alert carries, and what no rule may read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use slo::Definition;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn rendered() -> Vec<(String, String)> {
    let definition = Definition::embedded().unwrap_or_else(|error| panic!("{error}"));
    let render = |profile| slo::rules(&definition, profile);
    definition
        .profiles
        .iter()
        .map(|(name, profile)| (name.clone(), render(profile)))
        .collect()
}

/// The alerts of a file, each with its lines.
fn alerts(rules: &str) -> Vec<(&str, &str)> {
    let alerts: Vec<_> = rules
        .split("\n      - ")
        .filter_map(|rule| rule.strip_prefix("alert: ")?.split_once('\n'))
        .collect();
    assert!(alerts.len() > 20, "{} alerts", alerts.len());
    alerts
}

/// Value of a label or annotation that stands on one line.
fn value<'a>(rule: &'a str, key: &str) -> &'a str {
    rule.lines()
        .find_map(|line| line.strip_prefix(&format!("          {key}: ")))
        .unwrap_or_default()
        .trim_matches('\'')
}

/// A service that nobody has heard of has the alerts of any service: only what `slo.toml` names is treated apart.
#[test]
fn no_rule_is_for_a_list_of_services() {
    let matcher = |rest: &'static str| {
        let (operator, value) = rest.split_once('"')?;
        let value = value.split('"').next();
        value.filter(|_| ["=", "!=", "=~", "!~"].contains(&operator))
    };
    for (_, rules) in rendered() {
        let rules: &str = rules.leak();
        let named: BTreeSet<&str> = rules.split("service_name").filter_map(matcher).collect();
        assert_eq!(named, BTreeSet::from(["", "gateway"]));
        assert!(
            !rules.contains("\"%s\""),
            "a label's quotes would end the string"
        );
        assert!(rules.contains("service_name!~\"gateway\""), "all others");
    }
}

#[test]
fn the_committed_rules_are_what_the_definitions_say() {
    for (name, rules) in rendered() {
        let path = root().join(format!("alerts/rules/{name}.yml"));
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == rules,
            "{} is stale: run `omnitrace rules` and commit the result",
            path.display()
        );
    }
    let count = std::fs::read_dir(root().join("alerts/rules"))
        .unwrap()
        .count();
    assert_eq!(count, rendered().len(), "a file of no profile");
}

#[test]
fn every_alert_says_who_where_and_what_next() {
    for (_, rules) in rendered() {
        for (alert, rule) in alerts(&rules) {
            for label in ["severity", "team", "slo", "service", "route"] {
                assert_ne!(value(rule, label), "", "{alert} has no label {label}");
            }
            let severity = value(rule, "severity");
            let is_known = matches!(severity, "page" | "ticket" | "{{ $labels.severity }}");
            assert!(is_known || alert == "Watchdog", "{alert}: {severity}");
            for annotation in ["summary", "description", "dashboard_url", "runbook_url"] {
                assert_ne!(value(rule, annotation), "", "{alert} has no {annotation}");
            }
            let kind = slo::CauseKind::named(value(rule, "kind"));
            let is_known = kind.is_some_and(|kind| kind != slo::CauseKind::Unknown);
            assert!(is_known, "{alert}: {kind:?}");
            let dashboard = value(rule, "dashboard_url");
            assert!(
                dashboard.starts_with("http://localhost:3000/d/omnitrace-"),
                "{alert}: {dashboard}"
            );
            assert!(
                dashboard.contains("from={{") && dashboard.ends_with("&to=now"),
                "{alert}: {dashboard}"
            );
            let runbook = root().join(value(rule, "runbook_url"));
            let text = std::fs::read_to_string(&runbook).unwrap_or_default();
            for heading in ["## Meaning", "## Impact", "## Confirm", "## Mitigate"] {
                assert!(
                    text.contains(heading),
                    "{}: no {heading:?}",
                    runbook.display()
                );
            }
        }
    }
}

/// Who is woken opens them on a telephone: one table makes all of them addresses.
#[test]
fn every_link_is_absolute_when_the_links_are() {
    let text = slo::embedded::OBJECTIVES
        .replace("http://localhost:3000", "https://grafana.example")
        .replace("\"docs/runbooks\"", "\"https://wiki.example/runbooks/\"");
    let definition = Definition::parse(("slo.toml", &text), ("causes.toml", slo::embedded::CAUSES));
    let definition = definition.unwrap();
    for profile in definition.profiles.values() {
        for (alert, rule) in alerts(&slo::rules(&definition, profile)) {
            let board = value(rule, "dashboard_url");
            assert!(board.starts_with("https://grafana.example/d/"), "{board}");
            let runbook = format!("https://wiki.example/runbooks/{alert}.md");
            assert_eq!(value(rule, "runbook_url"), runbook);
        }
    }
}

#[test]
fn every_runbook_is_of_an_alert() {
    let rules = rendered().remove(0).1;
    let alerts: BTreeSet<&str> = alerts(&rules).into_iter().map(|(alert, _)| alert).collect();
    for entry in std::fs::read_dir(root().join("docs/runbooks")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(
            name == "README" || alerts.contains(name),
            "{name}.md is of no alert"
        );
    }
}

#[test]
fn no_rule_reads_the_answer_key_or_span_metrics() {
    for (_, rules) in rendered() {
        for forbidden in [
            "fault_active",
            "traces_span_metrics",
            "traces_service_graph",
        ] {
            assert!(!rules.contains(forbidden), "{forbidden}");
        }
        assert!(rules.contains("outcome=~\"ok|error\""));
    }
}

/// The same alerts in both profiles, and pages only about what users call: those alerts that say so, and those about objectives that do.
#[test]
fn only_public_services_page() {
    let mut names = Vec::new();
    for (_, rules) in rendered() {
        let mut paging = 0;
        for rule in rules.split("\n      - ").skip(1) {
            let is_public = rule.contains("\"gateway\"") || rule.contains("\"gateway_");
            if value(rule, "severity") == "page" {
                assert!(is_public && !rule.contains("!~\"gateway"), "pages:\n{rule}");
                paging += 1;
            }
        }
        assert!(paging > 8, "{paging}");
        let alerts = alerts(&rules);
        names.push(
            alerts
                .iter()
                .map(|(alert, _)| (*alert).to_owned())
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(names[0], names[1]);
}

/// Routes and what is promised for them stand in the objectives only: one rule serves any number of them.
#[test]
fn the_number_of_burn_rate_alerts_does_not_depend_on_the_number_of_routes() {
    let table = "\n[[service]]\nname = \"new\"\n[[service.route]]\npath = \"/a\"\nlatency = { percent = 95.0, seconds = 1.0 }\n";
    let text = slo::embedded::OBJECTIVES.replacen(
        "\n# Requests from outside",
        &format!("{table}\n# Requests from outside"),
        1,
    );
    let more =
        Definition::parse(("slo.toml", &text), ("causes.toml", slo::embedded::CAUSES)).unwrap();
    for (name, before) in rendered() {
        let after = slo::rules(&more, more.profile(&name).unwrap());
        let count = |rules: &str, kind: &str| rules.matches(kind).count();
        for (kind, times) in [
            ("alert: AvailabilityBurnRate", 2),
            ("alert: LatencyBurnRate", 2),
            ("record: slo:burn_rate:exceeded", 5),
            ("record: slo:route:info", 1),
        ] {
            assert_eq!(
                (count(&before, kind), count(&after, kind)),
                (times, times),
                "{kind}"
            );
        }
        let rules =
            |text: &str| count(text, "\n      - ") - count(text, "record: slo:objective:ratio");
        assert_eq!(rules(&before), rules(&after));
        assert!(
            after.contains("le: '1'") && after.contains("label_replace("),
            "a bound of whole seconds"
        );
    }
}

/// Two rules that record one series are at odds: each window is recorded once for each indicator, whoever needs it.
#[test]
fn no_series_is_recorded_twice() {
    for (_, rules) in rendered() {
        let mut known = BTreeSet::new();
        for rule in rules
            .split("\n      - ")
            .filter(|rule| rule.starts_with("record: slo:"))
        {
            let name = rule.lines().next().unwrap();
            if name == "record: slo:objective:ratio" {
                continue; // Of different routes.
            }
            let labels = ["slo", "window"].map(|label| value(rule, label));
            assert!(known.insert((name, labels)), "{name} {labels:?}");
        }
        assert!(known.len() > 20, "{}", known.len());
    }
}

/// A link to a dashboard that is not there, or with a variable that it lacks, shows something else without a word.
#[test]
fn every_dashboard_that_is_linked_exists_and_has_the_variables() {
    let boards: Vec<serde_json::Value> = std::fs::read_dir(root().join("dashboards"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == "json"))
        .map(|path| serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
        .collect();
    for (alert, rule) in alerts(&rendered().remove(0).1) {
        let url = value(rule, "dashboard_url");
        let (uid, query) = url.split_once("/d/").unwrap().1.split_once('?').unwrap();
        let board = boards.iter().find(|board| board["uid"] == uid);
        let board = board.unwrap_or_else(|| panic!("{alert}: no dashboard {uid}"));
        for variable in query
            .split('&')
            .filter_map(|pair| pair.strip_prefix("var-"))
        {
            let name = variable.split_once('=').unwrap().0;
            let known = board["templating"]["list"].as_array().unwrap();
            assert!(
                known.iter().any(|one| one["name"] == name),
                "{alert}: {uid} has no ${name}"
            );
        }
    }
}

//! The alerting rules before Prometheus's own judge: `just test-stack` (needs promtool).

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::run_tool;

fn alerts(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../alerts")
        .join(below)
}

/// Every YAML file of a directory; none is an error.
fn files(directory: &str) -> Vec<String> {
    let mut files: Vec<String> = std::fs::read_dir(alerts(directory))
        .unwrap_or_else(|error| panic!("alerts/{directory}: {error}"))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == "yml"))
        .map(|path| path.display().to_string())
        .collect();
    assert!(!files.is_empty(), "no file in alerts/{directory}");
    files.sort();
    files
}

#[test]
#[ignore = "needs promtool: just test-stack"]
fn prometheus_takes_the_rules() {
    for file in files("rules") {
        // Not its lint for duplicates: one name is recorded for many objectives, with other selectors.
        let (is_good, said) = run_tool("promtool", &["check", "rules", "--lint=none", &file]);
        assert!(is_good, "{file}: {said}");
    }
}

#[test]
#[ignore = "needs promtool: just test-stack"]
fn every_alert_fires_when_it_should_and_not_before() {
    for file in files("tests") {
        let (is_good, said) = run_tool("promtool", &["test", "rules", &file]);
        assert!(is_good, "{file}: {said}");
    }
}

/// Holds a test of promtool's against the demo profile's rules of other objectives than those that are committed.
#[track_caller]
fn holds(change: (&str, &str), input: &[(&str, &str)], expectations: &Value) {
    let objectives = std::fs::read_to_string(alerts("slo.toml")).expect("slo.toml");
    let causes = std::fs::read_to_string(alerts("causes.toml")).expect("causes.toml");
    assert!(objectives.contains(change.0), "{}", change.0);
    let declared = objectives.replacen(change.0, change.1, 1);
    let definition = slo::Definition::parse(("slo.toml", &declared), ("causes.toml", &causes));
    let definition = definition.expect("accepted");
    let directory = tempfile::tempdir().expect("a directory");
    let profile = definition.profile("demo").expect("a profile");
    let rules = slo::rules(&definition, profile);
    std::fs::write(directory.path().join("rules.yml"), rules).expect("a file");
    let input = input.iter();
    let input: Vec<Value> = input
        .map(|(series, values)| json!({"series": series, "values": values}))
        .collect();
    let test = json!({
        "rule_files": ["rules.yml"],
        "evaluation_interval": "5s",
        "tests": [{"interval": "5s", "input_series": input, "promql_expr_test": expectations}],
    });
    let file = directory.path().join("test.yml");
    std::fs::write(&file, test.to_string()).expect("a file");
    let (is_good, said) = run_tool("promtool", &["test", "rules", file.to_str().expect("text")]);
    assert!(is_good, "{said}");
}

/// What the rules remember of services that are gone: one is expected, of the other the removal is declared.
#[test]
#[ignore = "needs promtool: just test-stack"]
fn a_service_whose_removal_is_declared_is_expected_no_more() {
    holds(
        ("removed = []", "removed = [\"re.moved\"]"),
        &[
            ("service:known:info{service_name=\"re.moved\"}", "1x6"),
            ("service:known:info{service_name=\"re-moved\"}", "1x6"),
        ],
        &json!([{
            "expr": "count by (service) (ALERTS{alertname=\"ServiceDown\",alertstate=\"firing\"})",
            "eval_time": "600s",
            "exp_samples": [{"labels": "{service=\"re-moved\"}", "value": 1}],
        }]),
    );
}

/// One of two instances is taken away; of a third service there should be two, and never were. Only what nobody has declared, or what is less
/// than that, is missed.
#[test]
#[ignore = "needs promtool: just test-stack"]
fn fewer_instances_are_missed_unless_so_many_are_enough() {
    let declared = "[instances]\nscaled = 1\n\"never.two\" = 2";
    let instance = |service: &str, id: u8| {
        format!(
            "build_info{{job=\"services\",service_name=\"{service}\",service_instance_id=\"{id}\"}}"
        )
    };
    let ends = "1x60 stale";
    let input = [
        (instance("scaled", 1), "1x200"),
        (instance("scaled", 2), ends),
        (instance("unscaled", 3), "1x200"),
        (instance("unscaled", 4), ends),
        (instance("never.two", 5), "1x200"),
    ];
    let input = input
        .each_ref()
        .map(|(series, values)| (series.as_str(), *values));
    let expr = "count by (service) (ALERTS{alertname=\"InstancesLost\",alertstate=\"firing\"})";
    let one = |service: &str| json!({"labels": format!("{{service={service:?}}}"), "value": 1});
    holds(
        ("[instances]", declared),
        &input,
        &json!([
            {"expr": expr, "eval_time": "20s"},
            {"expr": expr, "eval_time": "300s", "exp_samples": [one("never.two")]},
            {"expr": expr, "eval_time": "400s", "exp_samples": [one("never.two"), one("unscaled")]},
        ]),
    );
}

/// Names that are allowed and look dangerous to YAML, PromQL and templates.
#[test]
#[ignore = "needs promtool: just test-stack"]
fn prometheus_takes_the_rules_of_every_definition_that_is_accepted() {
    let objectives = std::fs::read_to_string(alerts("slo.toml")).expect("slo.toml");
    let causes = std::fs::read_to_string(alerts("causes.toml")).expect("causes.toml");
    let directory = tempfile::tempdir().expect("a directory");
    let names = [
        "a: b # c",
        "- x",
        "*a",
        "&a",
        "!t",
        "%TAG",
        "|-",
        ">",
        "@x",
        "[a]",
        "{a}",
        "{a}}",
        "a|b",
        "$1",
        "${x}",
        "^a$",
        "null",
        "true",
        "1.5",
        "~",
        "é 漢字",
        "a,b=c",
        "(",
        "?x=1&y",
        "\u{feff}a",
        " a",
        "a ",
        "...",
        "---",
    ];
    let places = [
        "team = \"platform\"",
        "name = \"gateway\"",
        "path = \"/api/orders\"",
        "name = \"gateway_data\"",
        "route = \"/api/data\"",
        "grafana = \"http://localhost:3000\"",
        "runbooks = \"docs/runbooks\"",
    ];
    let mut taken = 0;
    for (index, name) in names.iter().enumerate() {
        let mut text = objectives.clone();
        for place in places {
            let key = place.split(' ').next().expect("a key");
            let changed = text.replacen(place, &format!("{key} = {name:?}"), 1);
            let sources = (
                ("slo.toml", changed.as_str()),
                ("causes.toml", causes.as_str()),
            );
            if slo::Definition::parse(sources.0, sources.1).is_ok() {
                text = changed;
            }
        }
        let definition = slo::Definition::parse(("slo.toml", &text), ("causes.toml", &causes))
            .expect("accepted");
        taken += usize::from(text != objectives);
        let profile = definition.profile("demo").expect("a profile");
        let path = directory.path().join(format!("{index}.yml"));
        std::fs::write(&path, slo::rules(&definition, profile)).expect("a file");
        let (is_good, said) = run_tool(
            "promtool",
            &["check", "rules", "--lint=none", &path.display().to_string()],
        );
        assert!(is_good, "{name:?}: {said}");
    }
    assert!(taken > 10, "{taken}");
}

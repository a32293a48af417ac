//! `alerts/tests` shows every alert in three states: silent before, firing, and silent again when the trouble is over. That the expectations
//! hold is promtool's to say (`stack_rules`).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use slo::duration::parse_long;

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../alerts")
        .join(name)
}

fn parsed(directory_name: &str) -> Vec<Value> {
    let files = std::fs::read_dir(directory(directory_name)).unwrap();
    files
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .map(|text| serde_saphyr::from_str(&text).unwrap())
        .collect()
}

fn items<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value[name].as_array().into_iter().flatten()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// The names of all alerts, of the rules that are committed.
fn alerts() -> BTreeSet<String> {
    let files = parsed("rules");
    let groups = files.iter().flat_map(|file| items(file, "groups"));
    let rules = groups.flat_map(|group| items(group, "rules"));
    let named = rules.map(|rule| text(rule, "alert").to_owned());
    named.filter(|name| !name.is_empty()).collect()
}

/// Whether an expectation says of this alert that it fires, or that it does not. It says nothing where it asks for others.
fn fires(expectation: &Value, alert: &str) -> Option<bool> {
    let expr = text(expectation, "expr");
    if !expr.contains("(ALERTS") || expr.contains("burn=") && !alert.ends_with("BurnRate") {
        return None;
    }
    let mut samples = items(expectation, "exp_samples").map(|sample| text(sample, "labels"));
    let named = format!("alertname=\"{alert}\"");
    match expr.contains("alertname=\"") {
        true => expr.contains(&named).then(|| samples.next().is_some()),
        false => Some(samples.any(|labels| labels.contains(&named))),
    }
}

/// Whether it is silent, fires, and is silent, one after the other, in this test.
fn comes_and_goes(test: &Value, alert: &str) -> bool {
    let expectations = items(test, "promql_expr_test");
    let mut states: Vec<(u64, bool)> = expectations
        .filter_map(|one| {
            let at = parse_long(text(one, "eval_time")).unwrap();
            Some((at, fires(one, alert)?))
        })
        .collect();
    states.sort_unstable();
    let mut states: Vec<bool> = states.into_iter().map(|(_, fires)| fires).collect();
    states.dedup();
    states.windows(3).any(|three| three == [false, true, false])
}

#[test]
fn every_alert_has_a_test_in_which_it_is_silent_fires_and_ends() {
    let files = parsed("tests");
    let tests: Vec<&Value> = files.iter().flat_map(|file| items(file, "tests")).collect();
    assert!(tests.len() > 50, "{} tests", tests.len());
    let is_shown = |alert: &String| tests.iter().any(|test| comes_and_goes(test, alert));
    let mut missing: Vec<String> = alerts()
        .into_iter()
        .filter(|alert| !is_shown(alert))
        .collect();
    // It always fires: a test of its own says that it does with nothing to look at.
    missing.retain(|alert| alert != "Watchdog");
    assert_eq!(missing, Vec::<String>::new(), "alerts/tests");
}

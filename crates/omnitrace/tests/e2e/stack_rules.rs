//! The alerting rules before Prometheus's own judge: `just test-stack` (needs promtool).

use std::path::{Path, PathBuf};

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

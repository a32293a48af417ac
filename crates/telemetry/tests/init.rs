//! What `init` does once per process.

use std::fs;
use std::sync::LazyLock;

use telemetry::{ServiceInfo, Settings, Telemetry};

telemetry::metrics! {
    /// In no list that `init` is given.
    FORGOTTEN: Counter = "forgotten_total", unit "{thing}";
}

/// Nothing is exported.
static TELEMETRY: LazyLock<Telemetry> = LazyLock::new(|| {
    let settings = settings(&[("OTEL_SDK_DISABLED", "true")]);
    telemetry::init(info(), &settings, &[]).expect("the first of this process")
});

fn info() -> ServiceInfo {
    ServiceInfo {
        name: "init-test".to_owned(),
        version: "0".to_owned(),
    }
}

fn settings(variables: &[(&str, &str)]) -> Settings {
    let value = |name: &str| variables.iter().find(|(known, _)| *known == name);
    Settings::from_lookup(&|name| value(name).map(|(_, text)| (*text).to_owned()))
        .expect("constant settings")
}

/// `log_records_total` of the level ERROR.
fn errors() -> String {
    let text = TELEMETRY.metrics().render(None).body;
    let mut lines = text.lines();
    let line = lines
        .find(|line| line.starts_with("log_records_total{") && line.contains("level=\"ERROR\""));
    let (_, count) = line
        .and_then(|line| line.rsplit_once(' '))
        .expect("a count");
    count.to_owned()
}

#[test]
fn a_metric_that_was_not_handed_over_is_logged_once() {
    assert_eq!(errors(), "0");
    FORGOTTEN.increment(1);
    FORGOTTEN.with(()).increment(1);
    assert_eq!(errors(), "1");
    assert_eq!(METRICS.len(), 1);
}

#[test]
fn the_second_start_is_refused_before_it_starts_anything() {
    LazyLock::force(&TELEMETRY);
    let without_metrics = settings(&[("OTEL_METRICS_EXPORTER", "none")]);
    let second = telemetry::init(info(), &without_metrics, &[]).err();
    let second = second.expect("one per process").to_string();
    assert!(second.contains("call init once"), "{second}");
    for task in fs::read_dir("/proc/self/task").expect("the threads") {
        let name = fs::read_to_string(task.expect("a thread").path().join("comm"));
        // One that has ended meanwhile has none.
        let name = name.unwrap_or_default();
        assert!(!name.starts_with("export-"), "{name}");
    }
}

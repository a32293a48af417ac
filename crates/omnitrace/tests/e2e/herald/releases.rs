//! Whether to roll back: herald says what Prometheus's recording rules say, and goes by their thresholds until they say something.

use serde_json::{Value, json};

use super::{Herald, alert, arrived};
use crate::catalogue::evaluated::{asked, assert_evaluated};
use crate::harness::Capture;

/// A Prometheus that knows two versions of data, the second for five minutes, and what its rules recorded of it.
fn prometheus(rules: &'static [(&'static str, Value)]) -> Capture {
    Capture::answering_each(move |target| {
        let url = url::Url::parse(&format!("http://prometheus{target}")).expect("a URL");
        let query = url.query_pairs().find(|(name, _)| name == "query");
        let query = query
            .map(|(_, query)| query.into_owned())
            .unwrap_or_default();
        let result = match rules.iter().find(|(rule, _)| query.starts_with(rule)) {
            Some((_, result)) => result.clone(),
            None if query.contains("build_info") => two_versions(),
            None => json!([]),
        };
        json!({"status": "success", "data": {"result": result}})
    })
}

fn two_versions() -> Value {
    let now = chrono::Utc::now().timestamp();
    let seen = |version: &str, from: i64, to: i64| {
        let times: Vec<_> = (now - from..=now - to)
            .step_by(15)
            .map(|time| json!([time, "1"]))
            .collect();
        json!({"metric": {"service_name": "data", "service_version": version}, "values": times})
    };
    json!([seen("0.1.0", 900, 315), seen("0.2.0", 300, 0)])
}

/// What herald says about the release of data.
async fn change(rules: &'static [(&'static str, Value)]) -> (Value, Value, Vec<String>) {
    let state = tempfile::tempdir().unwrap();
    let (webhook, prometheus) = (Capture::answering(&json!({})), prometheus(rules));
    let settings = [
        ("HERALD_WEBHOOK_URL", webhook.url()),
        ("PROMETHEUS_URL", prometheus.url()),
    ];
    let settings = settings.each_ref().map(|(name, url)| (*name, url.as_str()));
    let mut herald = Herald::start(state.path(), &settings).await;
    herald.accepted(&alert("LatencyBurnRate", "firing")).await;
    let mut body = arrived(&webhook, 1).await.remove(0).json();
    assert!(herald.child.terminate().await.success());
    let change = body["evidence"]["releases"]["changes"][0].take();
    let requests = prometheus.take();
    assert_evaluated(asked(&requests), 10);
    let asked = requests.into_iter().map(|request| request.target);
    (
        change["roll_back"].clone(),
        change["reason"].clone(),
        asked.collect(),
    )
}

const SERIES: &str = r#"{"service_name":"data","service_version":"0.2.0","previous_version":"0.1.0","reason":"latency"}"#;

#[tokio::test]
async fn what_the_rules_advise_herald_advises() {
    static RULES: std::sync::LazyLock<[(&str, Value); 2]> = std::sync::LazyLock::new(|| {
        let series: Value = serde_json::from_str(SERIES).expect("JSON");
        [
            // From 40 ms to 61 ms.
            (
                "release:rollback:advised{",
                json!([{"metric": series, "value": [0, "1.525"]}]),
            ),
            (
                "release:rollback:judged{",
                json!([{"metric": series, "value": [0, "1"]}]),
            ),
        ]
    });
    let (roll_back, reason, asked) = change(&*RULES).await;
    assert_eq!(roll_back, "advised", "{reason} {asked:#?}");
    assert_eq!(reason, "its p95 is 1.5 times as long as before");

    let (roll_back, reason, _) = change(&RULES[1..]).await;
    assert_eq!(roll_back, "not_advised", "{reason}");
}

#[tokio::test]
async fn a_page_that_comes_before_the_rules_have_recorded_a_release_advises_by_their_thresholds() {
    const BEFORE: &str = r#"histogram_quantile(0.95, sum by (le) (rate(http_server_request_duration_seconds_bucket{service_name="data", service_version="0.1.0"}"#;
    const NOW: &str = r#"histogram_quantile(0.95, sum by (le) (rate(http_server_request_duration_seconds_bucket{service_name="data", service_version="0.2.0"}"#;
    static FIGURES: std::sync::LazyLock<[(&str, Value); 3]> = std::sync::LazyLock::new(|| {
        let is = |value: &str| json!([{"metric": {}, "value": [0, value]}]);
        [
            (BEFORE, is("0.07")),
            (NOW, is("2.7")),
            ("sum (increase(", is("87")),
        ]
    });
    let (roll_back, reason, asked) = change(&*FIGURES).await;
    assert_eq!(roll_back, "advised", "{reason} {asked:#?}");
    assert_eq!(reason, "its p95 is 38.6 times as long as before");
}

#[tokio::test]
async fn without_figures_herald_does_not_guess() {
    let (roll_back, reason, _) = change(&[]).await;
    assert_eq!(roll_back, "unclear");
    assert_eq!(reason, "too few requests to compare");
}

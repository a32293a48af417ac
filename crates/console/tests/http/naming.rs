//! What metrics and their labels are called, sent or scraped: nothing that differs becomes one series.

use serde_json::{Value, json};

use crate::harness::Running;
use crate::payload::START;
use crate::prometheus::data;
use crate::scraping::{Behaviour, Target};

/// `name{label=value,…} value` of all series with a label.
fn shown(answer: &Value) -> Vec<String> {
    let series = answer.as_array().expect("a list");
    let labels = |series: &Value| {
        let pairs = series["labels"].as_object().expect("labels").iter();
        let own =
            pairs.filter(|(name, _)| !["service_name", "job", "instance"].contains(&name.as_str()));
        let texts = own.map(|(name, value)| format!("{name}={}", value.as_str().expect("a text")));
        texts.collect::<Vec<_>>().join(",")
    };
    series
        .iter()
        .map(|series| {
            let name = series["name"].as_str().expect("a name");
            format!("{name}{{{}}} {}", labels(series), series["value"])
        })
        .collect()
}

#[tokio::test]
async fn metrics_of_two_scopes_units_and_labels_stay_apart() {
    let console = Running::start();
    let gauge = |name: &str, unit: &str, attributes: Value| json!({"name": name, "unit": unit, "gauge": {"dataPoints": [{"asInt": 1, "attributes": attributes}]}});
    let attribute = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let calls = |scope: &str, calls: u8| {
        let sum = json!({"isMonotonic": true, "aggregationTemporality": 2, "dataPoints": [{"asInt": calls}]});
        json!({"scope": {"name": scope, "version": "2"}, "metrics": [{"name": "lib.calls", "sum": sum}]})
    };
    let others = json!({"metrics": [
        gauge("util", "1", json!([])),
        gauge("io", "By/s", json!([])),
        gauge("clash", "", json!([attribute("a_b", "2"), attribute("a.b", "1"), attribute("c", "")])),
        {"name": "h", "histogram": {"aggregationTemporality": 2, "dataPoints": [{"count": "5", "sum": 10.0}]}},
    ]});
    let sent = json!({"resourceMetrics": [{
        "resource": {"attributes": [attribute("service.name", "shop")]},
        "scopeMetrics": [calls("one", 3), calls("two", 40), others],
    }]});
    console.take_metrics(&sent).await;
    assert_eq!(
        shown(&console.json("/api/metrics?label=service_name=shop").await),
        [
            "clash{a_b=1;2} 1.0",
            "h_bucket{le=+Inf} 5.0",
            "h_count{} 5.0",
            "h_sum{} 10.0",
            "io_bytes_per_second{} 1.0",
            "lib_calls_total{otel_scope_name=one,otel_scope_version=2} 3.0",
            "lib_calls_total{otel_scope_name=two,otel_scope_version=2} 40.0",
            "util_ratio{} 1.0",
        ]
    );
}

#[tokio::test]
async fn a_page_with_quoted_names_and_empty_labels_is_read() {
    let page = "# TYPE a counter\na_total{n=\"1\",instance=\"\",x=\"\"} 5 # {\"net.http\"=\"abc\"} 1.0\n\
                {\"http.requests\",\"net.host\"=\"h\"} 7 # broken\n# EOF\n";
    let target = Target::start(Behaviour::Answers(page.to_owned())).await;
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("targets.json");
    let list = json!([{"targets": [target.address], "labels": {"service_name": "shop"}}]);
    std::fs::write(&file, list.to_string()).expect("a file");
    let console = Running::scraping(file);
    console
        .until("/api/targets", |answer| answer["targets"][0]["up"] == true)
        .await;
    let mut series = shown(&console.json("/api/metrics?label=service_name=shop").await);
    series.retain(|series| !series.starts_with("up{") && !series.starts_with("scrape_"));
    assert_eq!(
        series,
        ["a_total{n=1} 5.0", "http.requests{net.host=h} 7.0"]
    );
}

#[tokio::test]
async fn a_sender_is_described_by_target_info() {
    let console = Running::start();
    let attribute = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let large = "x".repeat(5_000);
    let resource = json!([
        attribute("service.name", "shop"),
        attribute("service.instance.id", "shop-1"),
        attribute("telemetry.sdk.language", "python"),
        attribute("process.command_args", &large),
        attribute("host.id", ""),
        attribute("a_b", "2"),
        attribute("a.b", "1"),
    ]);
    let sent = |points: Value| {
        let metric = json!({"name": "carts", "gauge": {"dataPoints": points}});
        json!({"resourceMetrics": [{"resource": {"attributes": resource}, "scopeMetrics": [{"metrics": [metric]}]}]})
    };
    let all = "/api/metrics?label=service_name=shop";
    console.take_metrics(&sent(json!([]))).await;
    assert_eq!(shown(&console.json(all).await), [] as [String; 0]);
    // Twice, as a client does that has not heard the answer.
    let point = json!({"asInt": 3, "timeUnixNano": START.to_string()});
    for _ in 0..2 {
        console.take_metrics(&sent(json!([point]))).await;
    }
    assert_eq!(
        shown(&console.json(all).await),
        [
            "carts{} 3.0",
            "target_info{a_b=1;2,telemetry_sdk_language=python} 1.0"
        ]
    );
    let joined =
        "carts * on (service_name, instance) group_left (telemetry_sdk_language) target_info";
    let at = (START / 1_000_000_000 + 1).to_string();
    let found = data(&console, "query", &[("query", joined), ("time", &at)]).await;
    let series = &found["result"][0]["metric"];
    assert_eq!(series["telemetry_sdk_language"], "python", "{found}");
}

//! What is not taken is told to its sender, item by item.

use serde_json::{Value, json};

use crate::harness::Running;
use crate::payload::metrics;

/// How many data points of a request are rejected, and why.
async fn rejected(console: &Running, metric: Value) -> (u64, String) {
    let (count, why) = console.send_metrics(&metrics("shop", vec![metric])).await;
    (count.try_into().expect("a count"), why)
}

/// The same in both encodings.
async fn rejected_in_both(console: &Running, metric: Value) -> (u64, String) {
    let request = metrics("shop", vec![metric.clone()]);
    let answer = console.send_json("/v1/metrics", &request).await.json();
    let told = &answer["partialSuccess"];
    let count = told["rejectedDataPoints"].as_str().unwrap_or("0").parse();
    let why = told["errorMessage"].as_str().unwrap_or_default().to_owned();
    let as_json = (count.expect("a count"), why);
    assert_eq!(as_json, rejected(console, metric).await);
    as_json
}

fn attributes(count: usize) -> Value {
    let one = |i| json!({"key": format!("k{i}"), "value": {"stringValue": "v"}});
    (0..count).map(one).collect()
}

#[tokio::test]
async fn points_that_are_too_large_to_keep_are_rejected_and_not_cut() {
    let console = Running::start();
    let summary = |quantiles: usize| {
        let all: Vec<Value> = (0..quantiles)
            .map(|i| json!({"quantile": i as f64 / 1_000.0, "value": 1.0}))
            .collect();
        json!({"name": "s", "summary": {"dataPoints": [{"quantileValues": all}]}})
    };
    let gauge =
        |name: &str, points: Vec<Value>| json!({"name": name, "gauge": {"dataPoints": points}});
    let point = |labels: usize| json!({"attributes": attributes(labels), "asInt": 1});
    for (metric, count, word) in [
        (summary(512), 0, ""),
        (summary(513), 1, "512 quantiles"),
        (gauge("g", vec![point(128)]), 0, ""),
        (gauge("g", vec![point(129), point(1)]), 1, "more than 128"),
        (
            gauge(&"n".repeat(1_025), vec![point(1); 3]),
            3,
            "1024 bytes",
        ),
    ] {
        let (rejected, why) = rejected_in_both(&console, metric).await;
        assert_eq!(rejected, count, "{why}");
        assert!(why.contains(word), "{why}");
    }
    let found = console.json("/api/metrics?name=s").await;
    assert_eq!(found.as_array().map(Vec::len), Some(512), "the first only");
    let found = console.json("/api/metrics?name=g").await;
    assert_eq!(found.as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn data_points_without_room_are_counted_not_their_samples() {
    let console = Running::with_memory(8 << 20);
    let point = |i: usize| {
        json!({
            "attributes": [{"key": "i", "value": {"intValue": i.to_string()}}],
            "explicitBounds": (0..50).map(f64::from).collect::<Vec<_>>(),
            "bucketCounts": vec!["1"; 51],
            "count": "51",
            "sum": 1.0,
        })
    };
    let points: Vec<Value> = (0..200).map(point).collect();
    let metric =
        json!({"name": "h", "histogram": {"aggregationTemporality": 2, "dataPoints": points}});
    let (rejected, why) = rejected(&console, metric).await;
    assert!((100..200).contains(&rejected), "{rejected} {why}");
    assert!(why.contains("no_room"), "{why}");
    let kept = console.json("/api/metrics?name=h_count").await;
    let whole = kept.as_array().map_or(0, Vec::len) as u64;
    assert_eq!(whole, 200 - rejected, "what is counted as taken is there");
    let stats = console.json("/api/stats").await;
    assert_eq!(stats["rejected_data_points"], rejected);
    assert!(
        stats["dropped_samples"].as_u64() > Some(50 * rejected),
        "{stats}"
    );
}

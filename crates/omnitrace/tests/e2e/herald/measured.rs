//! What herald measures.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Herald, alert};

#[tokio::test]
async fn its_metrics_are_those_that_are_declared() {
    let state = tempfile::tempdir().unwrap();
    let mut herald = Herald::start(state.path(), &[]).await;
    // With no target, the log is the target.
    herald.accepted(&alert("ServiceDown", "firing")).await;
    herald
        .until(
            "herald_notifications_total",
            &[("target", "log"), ("outcome", "delivered")],
            1.0,
        )
        .await;
    let logged = herald.child.json_lines();
    let line = logged
        .iter()
        .find(|line| line.get("notification").is_some())
        .expect("the notification's line");
    let notification: Value = serde_json::from_str(line["notification"].as_str().unwrap()).unwrap();
    assert_eq!(
        notification["evidence"]["missing"]
            .as_array()
            .unwrap()
            .len(),
        3
    );

    let text = herald
        .client
        .get(format!("{}/metrics", herald.url))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let declared = crate::declared::of("herald");
    let declared: BTreeSet<(&str, &str)> = declared
        .iter()
        // This herald exports nothing, so nothing waits for it.
        .filter(|metric| !metric.name.starts_with("otel_sdk_"))
        .filter(|metric| !metric.name.ends_with("_export_bytes_total"))
        .map(|metric| (metric.name, metric.help))
        .collect();
    let exposed: BTreeSet<(&str, &str)> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# HELP ")?.split_once(' '))
        .collect();
    assert_eq!(exposed, declared);
    assert!(text.contains("service_name=\"herald\""));
    assert!(herald.child.terminate().await.success());
}

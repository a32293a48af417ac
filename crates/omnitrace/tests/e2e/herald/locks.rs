//! A lock is named as a lock.

use serde_json::json;

use super::{Herald, alert, arrived};
use crate::harness::Capture;

#[tokio::test]
async fn who_waited_for_whom_is_evidence() {
    let state = tempfile::tempdir().unwrap();
    let webhook = Capture::answering(&json!({}));
    let slack = Capture::answering(&json!("ok"));
    // What Prometheus makes of data's metric; its answer to every other question has the same labels.
    let prometheus = Capture::answering(
        &json!({"status": "success", "data": {"resultType": "vector", "result": [
            {"metric": {"service_name": "data", "db_operation_name": "INSERT", "db_collection_name": "orders",
                        "lock_holder": "<!channel> nightly export"}, "value": [0, "8"]},
            {"metric": {"service_name": "data", "db_operation_name": "UPDATE", "db_collection_name": "items",
                        "lock_holder": "omnitrace-data"}, "value": [0, "11"]},
        ]}}),
    );
    let settings = [
        ("HERALD_WEBHOOK_URL", webhook.url()),
        ("HERALD_SLACK_WEBHOOK_URL", slack.url()),
        ("PROMETHEUS_URL", prometheus.url()),
    ];
    let settings = settings.each_ref().map(|(name, url)| (*name, url.as_str()));
    let mut herald = Herald::start(state.path(), &settings).await;
    herald.accepted(&alert("LatencyBurnRate", "firing")).await;

    let body = arrived(&webhook, 1).await.remove(0).json();
    assert_eq!(
        body["evidence"]["locks"],
        json!([
            {"service": "data", "statement": "UPDATE items", "holder": "omnitrace-data", "waiting": 11},
            {"service": "data", "statement": "INSERT orders", "holder": "<!channel> nightly export", "waiting": 8},
        ])
    );
    let message = arrived(&slack, 1).await.remove(0).json().to_string();
    for part in [
        "*Locks in the database*",
        "11 × UPDATE items of data waited for omnitrace-data",
        "8 × INSERT orders of data waited for &lt;!channel&gt; nightly export",
    ] {
        assert!(message.contains(part), "{part} in {message}");
    }
    let asked = prometheus.take();
    let lock = |request: &crate::harness::Captured| {
        request.target.contains("db_client_lock_waiting_statements")
    };
    assert_eq!(asked.iter().filter(|request| lock(request)).count(), 1);
    assert!(herald.child.terminate().await.success());
}

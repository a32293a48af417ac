//! A start with many notifications that wait, and backends that are slow or silent.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use chrono::Utc;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Herald, alert, arrived, queued};
use crate::harness::{Capture, HANG};

const GROUPS: usize = 200;

/// What Loki takes for an answer.
const ANSWER: Duration = Duration::from_secs(1);

/// Were evidence gathered within a delivery, of which there are four at a time, it could not take less than this.
const ONE_AFTER_THE_OTHER: Duration = ANSWER.saturating_mul(GROUPS as u32 / 4);

/// A history of groups that fired and ended, each in a minute of its own, so that none shares another's evidence.
fn fill(state: &Path) {
    let [first] = queued(state, "queue", "webhook").try_into().unwrap();
    let stored: Value = serde_json::from_slice(&std::fs::read(&first).unwrap()).unwrap();
    std::fs::remove_file(&first).unwrap();
    for status in ["firing", "resolved"] {
        for group in 0..GROUPS {
            let at = json!(Utc::now() - chrono::TimeDelta::minutes(group as i64));
            let mut stored = stored.clone();
            stored["accepted"] = at.clone();
            let payload = &mut stored["payload"];
            payload["groupKey"] = json!(format!("group {group}"));
            payload["status"] = json!(status);
            payload["alerts"][0]["startsAt"] = at;
            let name = format!("{}.json", Uuid::now_v7());
            std::fs::write(first.with_file_name(name), stored.to_string()).unwrap();
        }
    }
}

#[tokio::test]
async fn after_a_restart_two_hundred_groups_do_not_wait_for_each_others_evidence() {
    let state = tempfile::tempdir().unwrap();
    let webhook = Capture::answering(&json!({}));
    webhook.answer_with(503);
    let line = json!({"stream": {"service_name": "downstream"}, "values": [["1764115200000000000", "it failed"]]});
    let loki = Capture::answering(&json!({"data": {"result": [line]}}));
    let jaeger = Capture::answering(&json!({}));
    let urls = [&webhook, &loki, &jaeger].map(Capture::url);
    let settings = [
        ("HERALD_WEBHOOK_URL", urls[0].as_str()),
        ("LOKI_URL", &urls[1]),
        ("JAEGER_URL", &urls[2]),
        // Loki is given 24 questions at a time: of 32 some wait for a second turn, on a busy machine for longer.
        ("HERALD_EVIDENCE_TIMEOUT", "10s"),
    ];
    let mut herald = Herald::start(state.path(), &settings).await;
    herald.accepted(&alert("ServiceDown", "firing")).await;
    herald.kill().await;
    fill(state.path());
    webhook.take();
    webhook.answer_with(200);
    loki.answer_after(ANSWER);
    jaeger.answer_with(HANG);

    let start = Instant::now();
    let mut herald = Herald::start(state.path(), &settings).await;
    let got = arrived(&webhook, 2 * GROUPS).await;
    let took = start.elapsed();
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for request in got {
        let body = request.json();
        let (group, status) = (body["group_key"].as_str(), body["status"].as_str());
        let (group, status) = (group.unwrap().to_owned(), status.unwrap().to_owned());
        if status == "firing" {
            let evidence = &body["evidence"];
            assert_eq!(
                evidence["log_lines"][0]["text"], "it failed",
                "{evidence:#}"
            );
            let missing = evidence["missing"].as_array().unwrap().iter();
            let missing: Vec<_> = missing.map(|missing| &missing["backend"]).collect();
            assert_eq!(missing, ["prometheus", "jaeger"], "{evidence:#}");
        }
        groups.entry(group).or_default().push(status);
    }
    assert_eq!(groups.len(), GROUPS);
    for (group, statuses) in groups {
        assert_eq!(statuses, ["firing", "resolved"], "{group}");
    }
    assert!(took < ONE_AFTER_THE_OTHER, "{took:?}");
    assert!(herald.child.terminate().await.success());
}

//! Answers that take long to work on when each thing in them is compared with every other.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Herald, alert, arrived, queued};
use crate::harness::{Capture, HANG, eventually};

const SERVICES: usize = 100;
const SPANS: usize = 14_000;
const LINES: usize = 90_000;

/// Every service calls every other, and every call fails.
fn mesh() -> Value {
    let pairs = (0..SERVICES).flat_map(|caller| (0..SERVICES).map(move |callee| (caller, callee)));
    let series = pairs.filter(|(caller, callee)| caller != callee).map(|(caller, callee)| {
        json!({"metric": {"service_name": format!("s{caller}"), "service_peer_name": format!("s{callee}")}, "value": [0, "0.5"]})
    });
    json!({"data": {"result": series.collect::<Vec<_>>()}})
}

/// Each span is the child of the one before, and all have failed.
fn chain() -> Value {
    let spans = (1..=SPANS).map(|id| {
        let parent = (id - 1).to_string();
        json!({"spanID": id.to_string(), "operationName": format!("op {id}"), "references": [{"spanID": parent}],
               "duration": 9, "tags": [{"key": "error", "value": true}]})
    });
    json!({"data": [{"traceID": "ab", "spans": spans.collect::<Vec<_>>()}]})
}

/// A long error, which belongs to every line.
fn lines() -> Value {
    let values: Vec<_> = (0..LINES).map(|_| ["1", ""]).collect();
    let stream = json!({"service_name": "data", "error": "a@b ".repeat(225_000)});
    json!({"data": {"result": [{"stream": stream, "values": values}]}})
}

#[tokio::test]
async fn the_heaviest_answers_become_small_evidence_and_hold_up_no_end() {
    let none = json!({"data": {"result": []}});
    let mesh = mesh();
    let prometheus = Capture::answering_each(move |target| {
        if target.contains("query_exemplars") {
            json!({"data": []})
        } else if target.contains("http_client") {
            mesh.clone()
        } else {
            none.clone()
        }
    });
    let (jaeger, loki) = (Capture::answering(&chain()), Capture::answering(&lines()));
    let webhook = Capture::answering(&json!({}));
    let state = tempfile::tempdir().unwrap();
    let urls = [&webhook, &prometheus, &jaeger, &loki].map(Capture::url);
    let settings = [
        ("HERALD_WEBHOOK_URL", urls[0].as_str()),
        ("PROMETHEUS_URL", &urls[1]),
        ("JAEGER_URL", &urls[2]),
        ("LOKI_URL", &urls[3]),
        // A debug build on a busy machine reads slowly. Comparing all with all takes minutes.
        ("HERALD_EVIDENCE_TIMEOUT", "30s"),
    ];
    let mut herald = Herald::start(state.path(), &settings).await;
    let mut firing = alert("AvailabilityBurnRate", "firing");
    firing["commonLabels"]["service"] = json!("s0");
    herald.accepted(&firing).await;
    let request = arrived(&webhook, 1).await.remove(0);
    let evidence = &request.json()["evidence"];
    assert_eq!(evidence["missing"], json!([]), "{evidence:#}");
    assert!(evidence.to_string().len() <= 64 << 10);
    assert_eq!(evidence["traces"][0]["failed_at"], format!("op {SPANS}"));
    assert_eq!(evidence["log_lines"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        evidence["dependencies"]["failing"]["hops"][0]["caller"],
        "s0"
    );

    // Asked to end in the midst of it.
    prometheus.take();
    firing["groupKey"] = json!("another");
    firing["alerts"][0]["startsAt"] = json!("2026-01-01T00:00:00Z");
    herald.accepted(&firing).await;
    eventually("it asks", async || {
        (!prometheus.take().is_empty()).then_some(())
    })
    .await;
    let start = Instant::now();
    assert!(herald.child.terminate().await.success());
    let took = start.elapsed();
    // Half of what the evidence may take: 5 s for what is being sent, 5 s for telemetry, 5 s for a busy machine.
    assert!(took < Duration::from_secs(15), "{took:?}");
}

#[tokio::test]
async fn the_end_waits_for_what_is_being_sent_and_not_for_evidence() {
    let state = tempfile::tempdir().unwrap();
    let (webhook, backend) = (
        Capture::answering(&json!({})),
        Capture::answering(&json!({})),
    );
    backend.answer_with(HANG);
    // Less than the end gives it, and long enough for what comes before the end is asked for.
    webhook.answer_after(Duration::from_secs(3));
    let urls = [&webhook, &backend].map(Capture::url);
    let settings = [
        ("HERALD_WEBHOOK_URL", urls[0].as_str()),
        ("PROMETHEUS_URL", &urls[1]),
        ("JAEGER_URL", &urls[1]),
        ("LOKI_URL", &urls[1]),
        // Less than the 5 s of the end: a delivery that waited for it would be seen.
        ("HERALD_EVIDENCE_TIMEOUT", "4s"),
    ];
    let mut herald = Herald::start(state.path(), &settings).await;
    // The end of an alert needs no evidence.
    let sent = herald.accepted(&alert("Over", "resolved")).await;
    let request = arrived(&webhook, 1).await.remove(0);
    assert_eq!(request.header("idempotency-key"), Some(sent));
    // Last: until their evidence is given up, the end has to be asked for.
    let mut waiting = Vec::new();
    for name in ["ServiceDown", "ProbeFailing"] {
        waiting.push(herald.accepted(&alert(name, "firing")).await);
    }
    eventually("it asks", async || {
        (!backend.take().is_empty()).then_some(())
    })
    .await;
    assert!(herald.child.terminate().await.success());
    assert_eq!(webhook.take().len(), 0, "the backends still hang");
    let names = queued(state.path(), "queue", "webhook");
    let names = names.iter().filter_map(|path| path.file_stem()?.to_str());
    let mut kept: Vec<String> = names.map(str::to_owned).collect();
    kept.sort();
    assert_eq!(kept, waiting, "what was being sent has arrived");

    backend.answer_with(200);
    let mut herald = Herald::start(state.path(), &settings).await;
    let again = arrived(&webhook, 2).await;
    let mut again: Vec<_> = again
        .iter()
        .filter_map(|request| request.header("idempotency-key"))
        .collect();
    again.sort();
    assert_eq!(again, waiting, "nothing is lost");
    assert!(herald.child.terminate().await.success());
}

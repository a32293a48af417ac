//! The budget.

use console::Settings;
use serde_json::{Value, json};

use crate::harness::{Running, settings};
use crate::payload::{log, logs, span, trace_id, traces};

const BUDGET: u64 = 8 << 20;

async fn number(console: &Running, name: &str) -> u64 {
    let stats = console.json("/api/stats").await;
    stats[name]
        .as_u64()
        .unwrap_or_else(|| panic!("{name} in {stats}"))
}

#[tokio::test]
async fn the_oldest_whole_traces_make_room() {
    // What rules record takes bytes, too: none does here.
    let directory = tempfile::tempdir().expect("a directory");
    let rules_file = directory.path().join("rules.yml");
    std::fs::write(&rules_file, "groups: []").expect("a file");
    let console = Running::with(Settings {
        memory_bytes: BUDGET,
        rules_file: Some(rules_file),
        ..settings()
    });
    let name = "n".repeat(1_000);
    let mut sent = 1;
    while number(&console, "evicted_traces").await < 100 {
        let spans = (0..50).flat_map(|i| {
            [
                span(sent + i, 1, None, &name),
                span(sent + i, 2, Some(1), &name),
            ]
        });
        console
            .take("/v1/traces", &traces("shop", spans.collect()))
            .await;
        console
            .take(
                "/v1/logs",
                &logs("shop", vec![log(9, &name, Some((sent, 1)))]),
            )
            .await;
        sent += 50;
        assert!(number(&console, "bytes").await <= BUDGET / 8 * 5);
        assert!(sent < 100_000, "nothing is ever evicted");
    }
    assert_eq!(
        console
            .get(&format!("/api/console/traces/{}", trace_id(1)))
            .await
            .status,
        404
    );
    let newest = console
        .json(&format!("/api/console/traces/{}", trace_id(sent - 1)))
        .await;
    assert_eq!(
        (newest["rows"].as_array().map(Vec::len), &newest["complete"]),
        (Some(2), &true.into())
    );
    let kept = number(&console, "traces").await;
    assert_eq!(
        number(&console, "spans").await,
        2 * kept,
        "only whole traces go"
    );
    assert_eq!(
        console.json("/api/logs?trace_id=00").await["logs"],
        serde_json::json!([])
    );
}

#[tokio::test]
async fn one_giant_trace_leaves_room_for_others() {
    let console = Running::with_memory(BUDGET);
    console
        .take(
            "/v1/traces",
            &traces("shop", vec![span(1, 1, None, "small")]),
        )
        .await;
    let mut told = 0;
    for batch in 0..10 {
        let spans = (0..1_000).map(|i| span(2, batch * 1_000 + i + 1, None, &"g".repeat(900)));
        let body = traces("shop", spans.collect());
        let reply = console.send_json("/v1/traces", &body).await.json();
        let rejected = reply["partialSuccess"]["rejectedSpans"].as_str();
        told += rejected.map_or(0, |count| count.parse().expect("a number"));
    }
    assert_eq!(console.row(&trace_id(1)).await["name"], "small");
    let giant = console.json("/api/console/traces/2").await;
    let (kept, dropped) = (
        giant["span_count"].as_u64(),
        giant["dropped_spans"].as_u64(),
    );
    assert_eq!(
        kept.zip(dropped).map(|(kept, dropped)| kept + dropped),
        Some(10_000)
    );
    assert!(
        kept > Some(100) && dropped > Some(100),
        "{kept:?} {dropped:?}"
    );
    assert_eq!(giant["complete"], false);
    assert_eq!(Some(number(&console, "dropped_spans").await), dropped);
    assert_eq!(Some(told), dropped, "its sender is told");
    assert_eq!(number(&console, "rejected_spans").await, told);
    assert!(number(&console, "bytes").await <= BUDGET / 8 * 5);
}

#[tokio::test]
async fn lines_without_a_trace_do_not_push_traces_out() {
    let console = Running::with_memory(BUDGET);
    console
        .take(
            "/v1/traces",
            &traces("shop", vec![span(1, 1, None, "kept")]),
        )
        .await;
    for batch in 0..20 {
        let records = (0..1_000).map(|i| log(9, &format!("{batch} {i} {}", "l".repeat(500)), None));
        console
            .take("/v1/logs", &logs("shop", records.collect()))
            .await;
    }
    assert_eq!(console.row(&trace_id(1)).await["name"], "kept");
    assert!(number(&console, "bytes").await <= BUDGET / 8 * 5);
    let logs = number(&console, "logs").await;
    assert!((100..20_000).contains(&logs), "{logs}");
    let newest = console.json("/api/logs?limit=1").await["logs"][0]["body"].clone();
    assert!(
        newest
            .as_str()
            .is_some_and(|body| body.starts_with("19 999 ")),
        "{newest}"
    );
}

#[tokio::test]
async fn the_first_span_too_many_is_told_to_its_sender() {
    let console = Running::start();
    for batch in 0..10 {
        let spans = (1..=1_000).map(|i| span(1, batch * 1_000 + i, None, "op"));
        console
            .take("/v1/traces", &traces("shop", spans.collect()))
            .await;
    }
    let one_more = traces("shop", vec![span(1, 10_001, None, "op")]);
    let reply = console.send_json("/v1/traces", &one_more).await;
    let told = &reply.json()["partialSuccess"];
    assert_eq!(
        (reply.status.as_u16(), &told["rejectedSpans"]),
        (200, &"1".into())
    );
    let why = told["errorMessage"].as_str().unwrap_or_default();
    assert!(why.contains("10000 spans"), "{why}");
    let page = console.get("/metrics").await.text();
    let counted = "console_rejected_items_total{signal=\"traces\",reason=\"trace_full\"} 1";
    assert!(page.contains(counted), "{page}");
}

/// Sends so many gauges; returns whether there was room for all of them.
async fn gauges(console: &Running, service: &str, instance: usize, count: usize) -> bool {
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let instance = text("service.instance.id", &instance.to_string());
    let resource = json!({"attributes": [text("service.name", service), instance]});
    let point = |i: usize| json!({"attributes": [text("i", &i.to_string())], "asInt": 1});
    let points: Vec<Value> = (0..count).map(point).collect();
    let metrics = json!([{"name": "g", "gauge": {"dataPoints": points}}]);
    let body = json!({"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": metrics}]}]});
    console.send_metrics(&body).await.0 == 0
}

#[tokio::test]
async fn a_sender_gets_no_more_by_many_instances() {
    let console = Running::with_memory(BUDGET);
    let mut taken = 0;
    for instance in 0..40 {
        taken += u32::from(gauges(&console, "loud", instance, 50).await);
    }
    assert!((1..40).contains(&taken), "{taken} of 40 instances");
    assert!(gauges(&console, "quiet", 1, 50).await, "half is for others");
}

#[tokio::test]
async fn a_flood_of_names_counts_as_one_sender() {
    let console = Running::with_memory(BUDGET);
    for known in 0..32 {
        assert!(gauges(&console, &format!("known{known}"), 1, 1).await);
    }
    let mut taken = 0;
    for name in 0..40 {
        taken += u32::from(gauges(&console, &format!("flood{name}"), 1, 50).await);
    }
    assert!((1..40).contains(&taken), "{taken} of 40 names");
    assert!(
        gauges(&console, "known7", 1, 50).await,
        "half is for others"
    );
}

/// Sends traces until `more` others have been pushed out; returns the number of the next one.
async fn flood(console: &Running, mut next: u128, more: u64) -> u128 {
    let name = "n".repeat(1_000);
    let end = number(console, "evicted_traces").await + more;
    while number(console, "evicted_traces").await < end {
        let spans = (0..50).map(|i| span(next + i, 1, None, &name));
        let body = traces("shop", spans.collect());
        console.take("/v1/traces", &body).await;
        next += 50;
        assert!(next < 100_000, "nothing is ever pushed out");
    }
    next
}

async fn status(console: &Running, path: &str, trace: u128) -> u16 {
    let reply = console.get(&format!("{path}{}", trace_id(trace))).await;
    reply.status.into()
}

#[tokio::test]
async fn traces_that_were_read_by_id_stay_until_200_others_were_read() {
    let console = Running::with_memory(BUDGET);
    let first = span(1, 1, None, "linked");
    let body = traces("shop", vec![first, span(2, 1, None, "unread")]);
    console.take("/v1/traces", &body).await;
    // As herald does for the traces of a notification.
    assert_eq!(status(&console, "/api/traces?traceID=", 1).await, 200);
    let next = flood(&console, 3, 500).await;
    assert_eq!(console.row(&trace_id(1)).await["name"], "linked");
    let page = "/api/console/traces/";
    assert_eq!(status(&console, page, 2).await, 404, "nobody had read it");
    for read in next - 200..next {
        assert_eq!(status(&console, page, read).await, 200, "{read}");
    }
    assert_eq!(status(&console, page, 1).await, 404);
}

#[tokio::test]
async fn traces_that_were_read_take_a_quarter_of_the_memory_at_most() {
    let console = Running::with_memory(BUDGET);
    let page = "/api/console/traces/";
    for trace in 1..=10 {
        let spans = (1..=300).map(|id| span(trace, id, None, &"g".repeat(900)));
        let body = traces("shop", spans.collect());
        console.take("/v1/traces", &body).await;
        assert_eq!(status(&console, page, trace).await, 200);
    }
    flood(&console, 1_000, 3_000).await;
    let mut here = Vec::new();
    for trace in 1..=10 {
        if status(&console, page, trace).await == 200 {
            here.push(trace);
        }
    }
    assert!(here.contains(&10), "the last one that was read: {here:?}");
    assert!(here.len() <= 5, "{here:?}");
}

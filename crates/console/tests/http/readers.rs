//! What one reader asks for, however large, is answered or refused, and holds nobody up.

use serde_json::{Value, json};

use crate::harness::Running;
use crate::payload::{span, span_id, trace_id, traces};

const MIB: u64 = 1 << 20;

/// Services that all call each other.
const SERVICES: u64 = 40;

/// Attributes, events and links that take far more as text than in memory, or much in memory.
fn shapes() -> Vec<Value> {
    let control = "\u{1}".repeat(1_000);
    let many =
        |count: usize, item: &dyn Fn(usize) -> Value| (0..count).map(item).collect::<Value>();
    let nothing = |i: usize| json!({"key": format!("{i}"), "value": {"boolValue": true}});
    let nested =
        json!({"kvlistValue": {"values": [{"key": control, "value": {"stringValue": control}}]}});
    vec![
        json!({"name": "t".repeat(900)}),
        json!({"attributes": many(100, &nothing), "events": many(100, &|i| json!({"name": format!("{i}")}))}),
        json!({"name": control, "status": {"code": 2, "message": control}, "attributes": [{"key": "a", "value": nested}]}),
        json!({"links": many(100, &|i| json!({"traceId": trace_id(77), "spanId": span_id(i as u64 + 1)}))}),
    ]
}

/// Sends spans of one trace until the console takes no more; answers how many it took.
async fn fill(console: &Running, trace: u128, shape: &Value) -> u64 {
    let mut sent = 0;
    while sent < 10_000 {
        let spans = (1..=100).map(|i| {
            let mut span = span(trace, sent + i, (sent > 0).then_some(1), "op");
            for (key, value) in shape.as_object().expect("an object") {
                span[key] = value.clone();
            }
            span
        });
        let body = traces(&format!("shop {}", sent / 500), spans.collect());
        let reply = console.send_json("/v1/traces", &body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        if let Some(refused) = reply.json()["partialSuccess"]["rejectedSpans"].as_str() {
            return sent + 100 - refused.parse::<u64>().expect("a number");
        }
        sent += 100;
    }
    sent
}

#[tokio::test]
async fn the_largest_trace_that_is_kept_can_be_read() {
    let shapes = shapes();
    // At the default the smaller ones would take minutes to send.
    for (memory, shapes) in [(8 * MIB, &shapes[..]), (256 * MIB, &shapes[2..3])] {
        for (number, shape) in (1..).zip(shapes) {
            let console = Running::with_memory(memory);
            let kept = fill(&console, number, shape).await;
            assert!(kept > 20, "shape {number} of {memory}: {kept}");
            let id = trace_id(number);
            for path in ["traces", "console/traces"] {
                let reply = console.get(&format!("/api/{path}/{id}")).await;
                let status = reply.status;
                assert_eq!(
                    status, 200,
                    "shape {number} of {memory} at {path}: {kept} spans"
                );
            }
            // Parsing all of it would take far longer.
            let found = console.get("/api/traces?service=shop%200").await.text();
            let spans = found.matches("\"operationName\":").count();
            assert_eq!(spans, kept as usize);
        }
    }
}

#[tokio::test]
async fn names_are_all_there_or_refused() {
    let console = Running::with_memory(8 * MIB);
    // More than are looked up at a time.
    let names: Vec<String> = (0..160)
        .map(|i| format!("{i:03}{}", "n".repeat(1_000)))
        .collect();
    for (i, name) in (1..).zip(&names) {
        let mut client = span(1, 2 * i + 1, None, name);
        client["kind"] = 3.into();
        let spans = vec![span(1, 2 * i, None, name), client];
        console
            .take("/v1/traces", &traces(name, vec![span(1, 1, None, "op")]))
            .await;
        console.take("/v1/traces", &traces("shop", spans)).await;
    }
    let mut services = names.clone();
    services.push("shop".into());
    let listed = console.json("/api/services").await;
    assert!(listed["data"] == json!(services) && listed["total"] == 161);
    assert!(console.json("/api/services/shop/operations").await["data"] == json!(names));
    let servers = console
        .json("/api/operations?service=shop&spanKind=server")
        .await;
    let shown: Vec<&str> = servers["data"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|operation| operation["name"].as_str())
        .collect();
    assert!(shown == names);
    // Each is six times as long as text: more than all answers may take.
    for first in [0, 250, 500, 750] {
        let spans = (first..first + 250).map(|i| {
            let name = format!("{i:03}{}", "\u{1}".repeat(1_000));
            span(1_000 + i, 1, None, &name)
        });
        console
            .take("/v1/traces", &traces("loud", spans.collect()))
            .await;
    }
    for path in ["services/loud/operations", "operations?service=loud"] {
        let reply = console.get(&format!("/api/{path}")).await;
        let (status, after) = (reply.status.as_u16(), reply.header("retry-after"));
        assert_eq!((status, after), (503, "1"), "{path}");
        assert!(
            reply.text().contains("no room for the answer"),
            "{}",
            reply.text()
        );
    }
}

#[tokio::test]
async fn edges_are_charged_while_they_are_counted() {
    let console = Running::with_memory(8 * MIB);
    let name = |i: u64| format!("{i:03}{}", "s".repeat(1_000));
    let to = |i: u64| json!({"traceId": trace_id(i.into()), "spanId": span_id(1)});
    for i in 1..=SERVICES {
        let mut called = span(i.into(), 1, None, "op");
        called["links"] = (1..=SERVICES).map(to).collect();
        console
            .take("/v1/traces", &traces(&name(i), vec![called]))
            .await;
    }
    let path = "/api/dependencies?endTs=4000000000000&lookback=4000000000000";
    let reply = console.get(path).await;
    assert_eq!(reply.status, 503, "names of edges: counted and written");
    let stats = console.json("/api/stats").await;
    assert_eq!(
        (&stats["under_way_bytes"], &stats["traces"]),
        (&json!(0), &json!(SERVICES))
    );
    let one = console
        .get(&format!("{path}&service={}", name(5)))
        .await
        .json();
    let edges = one["data"].as_array().map(Vec::len);
    assert_eq!(edges, Some(2 * (SERVICES as usize - 1)));
}

#[tokio::test]
async fn a_broad_search_ends_where_answers_have_no_room() {
    let console = Running::with_memory(8 * MIB);
    let text = json!([{"key": "text", "value": {"stringValue": "t".repeat(16_000)}}]);
    for first in [1, 101, 201] {
        let spans = (first..first + 100).map(|i| {
            let mut span = span(i, 1, None, "long");
            span["attributes"] = text.clone();
            span
        });
        console
            .take("/v1/traces", &traces("shop", spans.collect()))
            .await;
    }
    let answer = console.json("/api/traces?service=shop&limit=1500").await;
    let found = answer["data"].as_array().expect("traces");
    assert!((100..280).contains(&found.len()), "{}", found.len());
    let why = found.last().expect("one")["warnings"][0].as_str();
    assert!(why.is_some_and(|why| why.contains("bytes: ask for less at once")));
}

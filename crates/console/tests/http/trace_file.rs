//! A trace as a file, and back.

use serde_json::{Value, json};

use crate::harness::Running;
use crate::payload::{MS, START, span, span_id, trace_id};

fn attribute(key: &str, value: Value) -> Value {
    json!({"key": key, "value": value})
}

/// All that a span can say.
fn rich() -> Value {
    let many: Vec<Value> = (0..140)
        .map(|n| attribute(&format!("key.{n}"), json!({"intValue": n.to_string()})))
        .collect();
    let mut rich = span(7, 2, Some(1), "GET /a \"b\" <c>");
    rich["kind"] = json!(3);
    rich["traceState"] = json!("a=b");
    rich["flags"] = json!(0x301);
    rich["status"] = json!({"code": 2, "message": "it failed"});
    rich["attributes"] = json!([
        attribute("text", json!({"stringValue": "größe\n"})),
        attribute("whole", json!({"intValue": "-9007199254740993"})),
        attribute("double", json!({"doubleValue": 1.0})),
        attribute("flag", json!({"boolValue": true})),
        attribute("nothing", json!({})),
        attribute(
            "list",
            json!({"arrayValue": {"values": [{"stringValue": "a"}, {"intValue": "1"}, {"arrayValue": {"values": []}}]}})
        ),
        attribute(
            "map",
            json!({"kvlistValue": {"values": [attribute("k", json!({"doubleValue": 0.5}))]}})
        ),
        attribute("password", json!({"stringValue": "hunter2"})),
        // Named as what is counted here, and more than the protocol's field can hold.
        attribute(
            "otel.dropped_events_count",
            json!({"intValue": "5000000000"})
        ),
        attribute("long", json!({"stringValue": "x".repeat(20_000)})),
    ]);
    rich["droppedAttributesCount"] = json!(3);
    rich["droppedLinksCount"] = json!(2);
    rich["events"] =
        json!([{"timeUnixNano": (START + 5).to_string(), "name": "retry", "attributes": many}]);
    rich["links"] = json!([{"traceId": trace_id(9), "spanId": span_id(9), "traceState": "c=d", "flags": 1, "attributes": [attribute("otel.dropped_events_count", json!({"intValue": "7"}))]}]);
    rich
}

fn sent() -> Value {
    let resource = |service: &str| json!({"attributes": [attribute("service.name", json!({"stringValue": service})), attribute("host.name", json!({"stringValue": "h"}))]});
    let scope = json!({"name": "lib", "version": "1.2", "attributes": [attribute("s", json!({"boolValue": false}))]});
    let mut root = span(7, 1, None, "root");
    root["endTimeUnixNano"] = json!((START + 40 * MS).to_string());
    json!({"resourceSpans": [
        {"resource": resource("gateway"), "scopeSpans": [{"scope": {"name": "test"}, "spans": [root]}, {"scope": scope, "spans": [rich()]}]},
        {"resource": resource("data"), "scopeSpans": [{"spans": [span(7, 3, Some(2), "SELECT")]}]},
    ]})
}

#[tokio::test]
async fn a_trace_that_is_downloaded_and_opened_elsewhere_is_the_same() {
    let (one, other) = (Running::start(), Running::start());
    one.take("/v1/traces", &sent()).await;
    let id = trace_id(7);
    let reply = one.get(&format!("/api/traces/{id}/otlp")).await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("content-type")),
        (200, "application/json")
    );
    assert_eq!(
        reply.header("content-disposition"),
        format!("attachment; filename=\"trace-{id}.json\"")
    );
    assert!(!reply.text().contains("hunter2"));
    let span = &reply.json()["resourceSpans"][0]["scopeSpans"][1]["spans"][0];
    for (at, value) in [
        ("/traceState", json!("a=b")),
        ("/flags", json!(0x301)),
        ("/links/0/traceState", json!("c=d")),
        ("/links/0/flags", json!(1)),
    ] {
        assert_eq!(span.pointer(at), Some(&value), "{at}");
    }
    let streamed = one.json(&format!("/api/v3/traces/{id}")).await;
    assert_eq!(streamed, json!({"result": reply.json()}));
    other.take("/v1/traces", &reply.json()).await;
    for path in [
        format!("/api/traces/{id}"),
        format!("/api/console/traces/{id}"),
        format!("/api/traces/{id}/otlp"),
    ] {
        assert_eq!(one.json(&path).await, other.json(&path).await, "{path}");
    }
    let list = other.json(&format!("/api/traces/{id}")).await;
    assert_eq!(list["data"][0]["spans"].as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn what_is_no_trace_is_no_file() {
    let console = Running::start();
    for (id, status) in [
        (trace_id(8), 404),
        ("xyz".to_owned(), 400),
        ("a%22b".to_owned(), 400),
    ] {
        let reply = console.get(&format!("/api/traces/{id}/otlp")).await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("content-disposition")),
            (status, ""),
            "{id}"
        );
        assert_eq!(reply.header("content-type"), "application/problem+json");
    }
}

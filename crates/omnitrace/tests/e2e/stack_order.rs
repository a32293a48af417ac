//! One order through the standard stack: from service to service, to its delivery and back, from a metric's exemplar to
//! its trace, from the trace to its log lines and back.
//!
//! Ignored by default, since a plain Rust machine lacks the programs: `just test-stack` runs what is named `stack_…`.

use serde_json::{Value, json};

use crate::harness::{NativeStack, eventually, jaeger_services, jaeger_tag, list};

fn names(trace: &Value) -> Vec<String> {
    let mut names: Vec<String> = list(&trace["spans"])
        .iter()
        .zip(jaeger_services(trace))
        .map(|(span, service)| {
            format!("{service} {}", span["operationName"].as_str().unwrap_or(""))
        })
        .collect();
    names.sort();
    names
}

fn span_with(trace: &Value, name: &str) -> Value {
    list(&trace["spans"])
        .into_iter()
        .find(|span| span["operationName"] == name)
        .unwrap_or_else(|| panic!("no span {name:?} in {:#?}", names(trace)))
}

#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh: just test-stack"]
async fn one_order_is_followed_through_every_backend() {
    let native = NativeStack::start().await;
    let sku = native.stack.sku().await;
    let order = native.stack.order(&sku, 1).await.expect(201);
    let trace_id = order.trace_id();

    // The waterfall: as exported, so stored.
    let trace = eventually("the whole order in Jaeger", async || {
        let trace = native.jaeger_trace(&trace_id).await?;
        (names(&trace).len() == crate::traces::ORDER.lines().count()).then_some(trace)
    })
    .await;
    for span in [
        "gateway POST /api/orders",
        "gateway POST /orders",
        "data POST /orders",
        "data INSERT orders",
        "data COMMIT",
        "data POST /payments",
        "downstream POST /payments",
    ] {
        assert!(
            names(&trace).iter().any(|name| name == span),
            "{span}: {:#?}",
            names(&trace)
        );
    }
    assert_eq!(
        jaeger_tag(&span_with(&trace, "INSERT orders"), "db.system.name").as_deref(),
        Some("postgresql")
    );

    delivery_both_ways(&native, &trace_id).await;
    logs_both_ways(&native, &trace_id).await;
    exemplar_to_trace(&native).await;
}

/// The delivery is found from the order by message id, and the order from the delivery by its link.
async fn delivery_both_ways(native: &NativeStack, order: &str) {
    let links_to_order = |trace: &Value| {
        let references = list(&span_with(trace, "send order-events")["references"]);
        references
            .iter()
            .any(|reference| reference["traceID"] == order)
    };
    let sent = json!({"messaging.destination.name": "order-events"});
    let delivery = eventually("the delivery in Jaeger", async || {
        let found = native.jaeger_search("data", &sent, 100).await;
        found.into_iter().find(|trace| {
            names(trace).len() == crate::traces::DELIVERY.lines().count() && links_to_order(trace)
        })
    })
    .await;
    let producer = span_with(&delivery, "send order-events");
    let message = jaeger_tag(&producer, "messaging.message.id").expect("a message id");
    let consumer = span_with(&delivery, "process order-events");
    assert_eq!(
        jaeger_tag(&consumer, "messaging.message.id").as_deref(),
        Some(message.as_str())
    );
    // Jaeger cannot follow a link backwards: the message id is how one gets from either side to the other.
    let by_message = json!({"messaging.message.id": message});
    for service in ["data", "downstream"] {
        let found = native.jaeger_search(service, &by_message, 10).await;
        assert_eq!(found.len(), 1, "{service}");
        assert_eq!(found[0]["traceID"], delivery["traceID"], "{service}");
    }
}

/// From a trace id to log lines of every service, and from a line back to its trace.
async fn logs_both_ways(native: &NativeStack, trace_id: &str) {
    for service in ["gateway", "data", "downstream"] {
        let query = format!("{{service_name=\"{service}\"}} | trace_id=\"{trace_id}\"");
        let lines = eventually(&format!("a log line: {query}"), async || {
            let lines = native.loki_query(&query).await;
            (!lines.is_empty()).then_some(lines)
        })
        .await;
        for (labels, line) in lines {
            assert_eq!(labels["trace_id"], trace_id, "{line}");
            let span = labels["span_id"].as_str().unwrap_or_default();
            let trace = native.traced_over(trace_id, &[service]).await;
            assert!(
                list(&trace["spans"])
                    .iter()
                    .any(|known| known["spanID"] == span),
                "the line's span {span} is in its trace: {line}"
            );
            assert!(labels["service_version"].is_string(), "{labels}");
        }
    }
}

/// Every exemplar that Prometheus has of the gateway's latency names a trace that Jaeger has.
async fn exemplar_to_trace(native: &NativeStack) {
    let metric = "http_server_request_duration_seconds_bucket{service_name=\"gateway\"}";
    let exemplars = eventually("an exemplar in Prometheus", async || {
        native.stack.get_data().await.expect(200);
        let found = native.exemplars(metric).await;
        (!found.is_empty()).then_some(found)
    })
    .await;
    for exemplar in exemplars {
        let trace_id = exemplar["labels"]["trace_id"].as_str().expect("a trace id");
        let trace = native.traced_over(trace_id, &["gateway"]).await;
        let span = exemplar["labels"]["span_id"].as_str().expect("a span id");
        let named = list(&trace["spans"])
            .into_iter()
            .find(|known| known["spanID"] == span)
            .expect("the exemplar's span");
        assert_eq!(
            jaeger_tag(&named, "omnitrace.exemplar").as_deref(),
            Some("true")
        );
    }
}

//! A thousand requests at once: every trace complete, no span lost, none in another's trace.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use reqwest::Method;
use serde_json::json;

use crate::harness::{Span, Stack, complete, tree};
use crate::traces::{DATA, ORDER, delivery_of};

const REQUESTS: usize = 1000;
const CONCURRENCY: usize = 32;

const READ: &str = "\
gateway Server GET /api/orders/{id}
  gateway Client GET /orders/{id}
    data Server GET /orders/{id}
      data Internal acquire connection
      data Client SELECT orders";

const LIST: &str = "\
gateway Server GET /api/orders
  gateway Client GET /orders
    data Server GET /orders
      data Internal acquire connection
      data Client SELECT orders";

/// What one caller did, and what came back.
struct Done {
    number: usize,
    kind: &'static str,
    status: u16,
    trace_id: String,
}

/// Status and tree that each kind of request must have.
fn wanted(kind: &str) -> (u16, &'static str) {
    match kind {
        "data" => (200, DATA),
        "order" => (201, ORDER),
        "read" => (200, READ),
        "list" => (200, LIST),
        "health" => (200, "gateway Server GET /health"),
        "unknown path" => (404, "gateway Server GET"),
        "unknown order" => (404, READ),
        "invalid" => (422, "gateway Server POST /api/orders"),
        other => panic!("{other}"),
    }
}

async fn one(stack: Arc<Stack>, number: usize, sku: String, order: String) -> Done {
    let kinds = [
        "data",
        "order",
        "read",
        "list",
        "health",
        "unknown path",
        "unknown order",
        "invalid",
    ];
    let kind = kinds[number % kinds.len()];
    let unknown = uuid::Uuid::now_v7();
    let (method, path) = match kind {
        "data" => (Method::GET, "/api/data".to_owned()),
        "order" | "invalid" => (Method::POST, "/api/orders".to_owned()),
        "read" => (Method::GET, format!("/api/orders/{order}")),
        "list" => (Method::GET, "/api/orders?limit=2".to_owned()),
        "health" => (Method::GET, "/health".to_owned()),
        "unknown path" => (Method::GET, format!("/no/such/{number}")),
        _ => (Method::GET, format!("/api/orders/{unknown}")),
    };
    // The caller's name travels to the server span: what ties a trace to its request.
    let mut request = stack
        .request(method, &path)
        .header("user-agent", format!("caller-{number}"));
    if kind == "order" {
        request =
            request.json(&json!({"sku": sku, "quantity": 1, "customer_email": "ada@example.com"}));
    } else if kind == "invalid" {
        request =
            request.json(&json!({"sku": sku, "quantity": 0, "customer_email": "ada@example.com"}));
    }
    let reply = stack.send(request).await;
    Done {
        number,
        kind,
        status: reply.status,
        trace_id: reply.trace_id(),
    }
}

#[tokio::test]
async fn a_thousand_requests_at_once_give_a_thousand_complete_traces() {
    let stack = Stack::builder()
        .env_all("OTEL_BSP_MAX_QUEUE_SIZE", "100000")
        // Enough connections that nobody waits so long as to be turned away.
        .env("data", "OMNITRACE_POOL_SIZE", "32")
        .start()
        .await;
    let sku = stack.sku().await;
    let order = stack.order(&sku, 1).await.expect(201).json()["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let stack = Arc::new(stack);

    let requests = stream::iter(0..REQUESTS)
        .map(|number| tokio::spawn(one(Arc::clone(&stack), number, sku.clone(), order.clone())))
        .buffer_unordered(CONCURRENCY);
    let done: Vec<Done> = requests
        .map(|joined| joined.expect("a request"))
        .collect()
        .await;
    // On a machine that is busy with other things a request may be turned away. Its trace is complete all the same.
    let as_wanted = |done: &&Done| done.status == wanted(done.kind).0;
    assert!(done.iter().filter(as_wanted).count() >= REQUESTS / 2);
    for order in done
        .iter()
        .filter(|done| done.kind == "order")
        .filter(as_wanted)
    {
        delivery_of(&stack.receiver, &order.trace_id).await;
    }

    for service in ["gateway", "data", "downstream"] {
        let dropped = [("error_type", "queue_full")];
        let scrape = stack.scrape(service).await;
        assert_eq!(
            scrape.value("otel_sdk_processor_span_processed_total", &dropped),
            Some(0.0),
            "{service}"
        );
    }
    let stack = Arc::into_inner(stack).expect("all requests are over");
    let receiver = stack.stop().await;
    let mut traces: BTreeMap<String, Vec<Span>> = BTreeMap::new();
    for span in receiver.spans() {
        traces.entry(span.trace_id.clone()).or_default().push(span);
    }
    let ids: BTreeSet<&str> = done.iter().map(|done| done.trace_id.as_str()).collect();
    assert_eq!(ids.len(), REQUESTS, "each request has a trace of its own");
    for one in &done {
        let (number, kind, (status, wanted)) = (one.number, one.kind, wanted(one.kind));
        let spans = traces.remove(&one.trace_id).unwrap_or_default();
        complete(&spans);
        if one.status == status {
            assert_eq!(tree(&spans), wanted, "{kind} {number}");
        } else {
            assert!(
                matches!(one.status, 503 | 504),
                "{kind} {number}: {}",
                one.status
            );
        }
        let callers: Vec<String> = spans
            .iter()
            .map(|span| span.text("user_agent.original"))
            .filter(|caller| !caller.is_empty())
            .collect();
        assert_eq!(callers, [format!("caller-{number}")], "{kind} {number}");
    }
    // What is left: the two requests before, and the deliveries.
    traces.values().for_each(|spans| complete(spans));
}

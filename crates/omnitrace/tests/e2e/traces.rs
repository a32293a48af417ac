//! What a trace looks like, span by span.

use serde_json::{Value, json};

use crate::harness::{Kind, LogRecord, Receiver, Span, Stack, Status, traceparent, tree};

/// A placed order.
///
/// No time is unexplained: waiting for a connection, `BEGIN`, each statement and `COMMIT` have spans of their own.
/// That is what the trees hold; how long a gap between two spans is depends on the machine and is not asserted.
pub const ORDER: &str = "\
gateway Server POST /api/orders
  gateway Client POST /orders
    data Server POST /orders
      data Internal acquire connection
      data Client BEGIN
      data Client INSERT orders
      data Client UPDATE items
      data Client COMMIT
      data Client POST /payments
        downstream Server POST /payments
      data Internal acquire connection
      data Client BEGIN
      data Client UPDATE orders
      data Client INSERT outbox
      data Client COMMIT";

/// The delivery of its event.
pub const DELIVERY: &str = "\
data Producer send order-events
  data Client POST /events/orders
    downstream Server POST /events/orders
      downstream Consumer process order-events
  data Internal acquire connection
  data Client UPDATE outbox";

/// `GET /api/data`.
pub const DATA: &str = "\
gateway Server GET /api/data
  gateway Client GET /items/quote
    data Server GET /items/quote
      data Internal acquire connection
      data Client SELECT items
      data Client GET /quotes/{sku}
        downstream Server GET /quotes/{sku}";

/// The delivery's trace that links to `order`, complete.
pub async fn delivery_of(receiver: &Receiver, order: &str) -> Vec<Span> {
    let links = |span: &&Span| span.links.iter().any(|link| link.trace_id == order);
    receiver
        .wait_for_span("the delivery's trace", |spans| {
            // At least once: one that failed comes again, as another trace.
            spans.iter().filter(links).find_map(|root| {
                let of_trace = |span: &&Span| span.trace_id == root.trace_id;
                let mut trace: Vec<Span> = spans.iter().filter(of_trace).cloned().collect();
                trace.sort_by_key(|span| span.start_ns);
                (tree(&trace) == DELIVERY).then_some(trace)
            })
        })
        .await
}

/// The first span of a service with this name.
#[track_caller]
pub fn of<'a>(spans: &'a [Span], service: &str, name: &str) -> &'a Span {
    let mut found = spans
        .iter()
        .filter(|span| span.service == service && span.name == name);
    let first = found.next();
    first.unwrap_or_else(|| panic!("no span {name:?} of {service} in\n{}", tree(spans)))
}

#[tokio::test]
async fn an_order_is_one_tree_and_its_delivery_another() {
    let stack = Stack::start().await;
    let reply = stack.get_data().await.expect(200);
    let data = stack
        .trace_over(&reply.trace_id(), &["gateway", "data", "downstream"])
        .await;
    assert_eq!(tree(&data), DATA);

    let sku = reply.json()["sku"].as_str().expect("a sku").to_owned();
    let order = stack.order(&sku, 1).await.expect(201).trace_id();
    let spans = stack
        .trace_over(&order, &["gateway", "data", "downstream"])
        .await;
    assert_eq!(tree(&spans), ORDER);

    let delivery = delivery_of(&stack.receiver, &order).await;
    assert_eq!(tree(&delivery), DELIVERY);
    let producer = of(&delivery, "data", "send order-events");
    let links: Vec<_> = producer
        .links
        .iter()
        .map(|link| (&link.trace_id, &link.span_id))
        .collect();
    let cause = of(&spans, "data", "POST /orders");
    assert_eq!(
        links,
        [(&order, &cause.span_id)],
        "linked to the order's span in data"
    );
    // What the collector's tail sampling needs to decide about both at once.
    for span in &delivery {
        assert_eq!(span.trace_state, format!("omnitrace={order}"), "{span:#?}");
    }
    let consumer = of(&delivery, "downstream", "process order-events");
    let id = producer.text("messaging.message.id");
    assert!(!id.is_empty());
    assert_eq!(consumer.text("messaging.message.id"), id);

    let receiver = stack.stop().await;
    // Exactly one tree: nothing came later, and no other trace mentions the order.
    assert_eq!(tree(&receiver.trace(&order)), ORDER);
    let linked = receiver
        .spans()
        .iter()
        .filter(|span| !span.links.is_empty())
        .count();
    assert_eq!(linked, 1);
    for span in receiver.spans() {
        assert_ne!(span.status, Status::Error, "{span:#?}");
        assert_eq!(span.status_message, "", "{span:#?}");
        assert!(
            span.events.is_empty(),
            "log records are not sent twice: {span:#?}"
        );
        assert!(span.end_ns >= span.start_ns);
        is_from(&span.resource, &span.service);
    }
    inside_parents(&receiver.spans());
}

/// Who sent it, on every signal.
#[track_caller]
fn is_from(resource: &std::collections::BTreeMap<String, Value>, service: &str) {
    assert!(
        ["gateway", "data", "downstream"].contains(&service),
        "{service}"
    );
    assert_eq!(resource["service.version"], env!("OMNITRACE_BUILD"));
    assert!(
        resource["service.instance.id"]
            .as_str()
            .is_some_and(|id| id.len() == 36)
    );
    assert_eq!(resource["telemetry.sdk.language"], "rust");
    assert_eq!(resource["telemetry.sdk.name"], "omnitrace");
}

/// A child lies within its parent's time, so that no waterfall shows a bar outside its request.
fn inside_parents(spans: &[Span]) {
    for span in spans {
        let Some(parent) = spans
            .iter()
            .find(|other| other.span_id == span.parent_span_id)
        else {
            continue;
        };
        // Services on one machine share one clock.
        assert!(
            parent.start_ns <= span.start_ns && span.end_ns <= parent.end_ns,
            "{} {} sticks out of {} {}",
            span.service,
            span.name,
            parent.service,
            parent.name
        );
    }
}

#[tokio::test]
async fn failures_are_on_the_spans_that_failed() {
    let stack = Stack::start().await;
    let sku = stack.sku().await;
    stack
        .fault_set("downstream", "errors", json!({"status": 500}))
        .await
        .expect(200);
    let failed = stack.order(&sku, 1).await.expect(503).trace_id();
    stack.fault_clear("downstream", "errors").await.expect(200);
    let unknown = stack.order("no-such-thing", 1).await.expect(404).trace_id();
    let invalid = stack.order(&sku, 0).await.expect(422).trace_id();
    let receiver = stack.stop().await;

    let failed = receiver.trace(&failed);
    for (service, name, error_type) in [
        ("gateway", "POST /api/orders", "503"),
        ("gateway", "POST /orders", "503"),
        ("data", "POST /orders", "503"),
        ("data", "POST /payments", "500"),
        ("downstream", "POST /payments", "500"),
    ] {
        let span = of(&failed, service, name);
        assert_eq!(
            (span.status, span.text("error.type").as_str()),
            (Status::Error, error_type),
            "{span:#?}"
        );
    }
    // What the caller got wrong is no error of the server; the client span says that its call gave nothing.
    let unknown = receiver.trace(&unknown);
    for (kind, status, error_type) in [
        (Kind::Server, Status::Unset, ""),
        (Kind::Client, Status::Error, "404"),
    ] {
        let span = unknown
            .iter()
            .find(|span| span.service == "gateway" && span.kind == kind)
            .expect("a span");
        assert_eq!(
            (span.status, span.text("error.type").as_str()),
            (status, error_type),
            "{span:#?}"
        );
    }
    let invalid = receiver.trace(&invalid);
    assert_eq!(tree(&invalid), "gateway Server POST /api/orders");
    assert_eq!(
        (invalid[0].status, invalid[0].text("error.type").as_str()),
        (Status::Unset, "")
    );
    // The place of an error is named in every service's log.
    for service in ["gateway", "data", "downstream"] {
        let is_error =
            |record: &&LogRecord| record.service == service && record.severity == "ERROR";
        let logs = receiver.logs();
        let record = logs
            .iter()
            .find(is_error)
            .unwrap_or_else(|| panic!("no error of {service}"));
        assert!(
            record.text("code.file.path").ends_with(".rs"),
            "{record:#?}"
        );
    }
}

#[tokio::test]
async fn at_ratio_0_nothing_is_exported_but_all_is_counted() {
    let stack = Stack::builder()
        .env_all("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
        .env_all("OTEL_TRACES_SAMPLER_ARG", "0")
        .start()
        .await;
    let sku = stack.sku().await;
    stack.order(&sku, 1).await.expect(201);
    let delivered = [
        ("http_route", "/events/orders"),
        ("http_response_status_code", "200"),
    ];
    let count = "http_server_request_duration_seconds_count";
    stack
        .wait_for_metric("downstream", count, &delivered, |value| value == 1.0)
        .await;
    assert!(stack.receiver.spans().is_empty());

    // A caller that samples is followed, and the delivery follows the order.
    let (parent, trace_id) = traceparent(true);
    let body = json!({"sku": sku, "quantity": 1, "customer_email": "ada@example.com"});
    let request = stack
        .request(reqwest::Method::POST, "/api/orders")
        .json(&body);
    stack
        .send(request.header("traceparent", parent))
        .await
        .expect(201);
    stack
        .wait_for_metric("downstream", count, &delivered, |value| value == 2.0)
        .await;
    let delivery = delivery_of(&stack.receiver, &trace_id).await;
    let placed = [
        ("http_route", "/api/orders"),
        ("http_response_status_code", "201"),
    ];
    assert_eq!(
        stack.scrape("gateway").await.value(count, &placed),
        Some(2.0)
    );

    let receiver = stack.stop().await;
    assert_eq!(
        tree(&receiver.trace(&trace_id)).matches('\n').count(),
        ORDER.matches('\n').count()
    );
    let strangers: Vec<Span> = receiver
        .spans()
        .into_iter()
        .filter(|span| span.trace_id != trace_id && span.trace_id != delivery[0].trace_id)
        .collect();
    assert!(strangers.is_empty(), "{strangers:#?}");
}

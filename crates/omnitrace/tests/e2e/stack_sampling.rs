//! Tail sampling as in production: errors, slow traces and exemplars are kept, a tenth of the rest, and an order shares
//! the fate of its delivery. What is counted is counted before it.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use crate::harness::{NativeStack, Stack, eventually, jaeger_tag, list};

const ORDERS: usize = 1000;
const FAILING: usize = 20;
const SLOW: usize = 20;
const CONCURRENCY: usize = 8;

#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh: just test-stack"]
async fn errors_slow_traces_and_exemplars_are_kept_and_a_tenth_of_the_rest() {
    let native = NativeStack::builder()
        .overlay("production.yaml")
        .without(&[
            "loki",
            "alertmanager",
            "blackbox",
            "probe",
            "postgres-exporter",
        ])
        .start()
        .await;
    let sku = native.stack.sku().await;
    let failing = with_fault(
        &native.stack,
        &sku,
        FAILING,
        "errors",
        json!({"status": 500}),
    )
    .await;
    let slow = with_fault(&native.stack, &sku, SLOW, "latency", json!({"ms": 1200})).await;
    let rest = orders(&native.stack, &sku, ORDERS - FAILING - SLOW).await;

    // Every order is settled and every event delivered, those that failed at first by the sweeper.
    let mut books = native.stack.database.books().await;
    books.settled(&sku).await;
    assert_eq!(books.delivered().await.len(), ORDERS);
    counted_before_sampling(&native).await;
    native.wait_for_decisions().await;

    let kept = Kept::read(&native).await;
    for (what, orders) in [("failing", &failing), ("slow", &slow)] {
        let missing: Vec<&String> = orders
            .iter()
            .filter(|id| !kept.orders.contains_key(*id))
            .collect();
        assert!(missing.is_empty(), "{what}, dropped: {missing:?}");
    }
    every_exemplar_is_kept(&native, &kept).await;
    order_and_delivery_share_a_fate(&kept);
    a_tenth(&kept, &rest);
}

async fn with_fault(
    stack: &Stack,
    sku: &str,
    count: usize,
    fault: &str,
    parameters: Value,
) -> Vec<String> {
    stack
        .fault_set("downstream", fault, parameters)
        .await
        .expect(200);
    let done = orders(stack, sku, count).await;
    stack.fault_clear("downstream", fault).await.expect(200);
    done
}

/// Places orders; returns their trace ids.
async fn orders(stack: &Stack, sku: &str, count: usize) -> Vec<String> {
    stream::iter(0..count)
        .map(async |_| stack.order(sku, 1).await.trace_id())
        .buffer_unordered(CONCURRENCY)
        .collect()
        .await
}

/// Span metrics see all, the orders that sampling drops too.
async fn counted_before_sampling(native: &NativeStack) {
    let calls = "traces_span_metrics_calls_total{service_name=\"gateway\", span_kind=\"SPAN_KIND_SERVER\", span_name=\"POST /api/orders\"}";
    let count = eventually("every order in the span metrics", async || {
        let count = native.prometheus_sum(calls).await;
        (count >= ORDERS as f64).then_some(count)
    })
    .await;
    assert_eq!(count, ORDERS as f64);
}

/// What Jaeger has.
pub(crate) struct Kept {
    /// Order traces by id.
    pub(crate) orders: BTreeMap<String, Value>,
    /// Delivery traces by the id of the order that they link to.
    pub(crate) deliveries: BTreeMap<String, Value>,
}

impl Kept {
    pub(crate) async fn read(native: &NativeStack) -> Self {
        let id = |trace: &Value| trace["traceID"].as_str().unwrap_or_default().to_owned();
        let orders = native
            .jaeger_search("gateway", &json!({"http.route": "/api/orders"}), 5000)
            .await;
        let deliveries = native
            .jaeger_search("data", &json!({"messaging.operation.type": "send"}), 5000)
            .await;
        Self {
            orders: orders
                .into_iter()
                .map(|trace| (id(&trace), trace))
                .collect(),
            deliveries: deliveries
                .into_iter()
                .map(|trace| (order_of(&trace), trace))
                .collect(),
        }
    }

    fn has_exemplar(&self, order: &str) -> bool {
        [self.orders.get(order), self.deliveries.get(order)]
            .into_iter()
            .flatten()
            .flat_map(|trace| list(&trace["spans"]))
            .any(|span| jaeger_tag(&span, "omnitrace.exemplar").is_some())
    }

    /// The machine may be slow for other reasons than the fault: order and delivery count as one.
    fn is_slow(&self, order: &str) -> bool {
        let spans: Vec<Value> = [self.orders.get(order), self.deliveries.get(order)]
            .into_iter()
            .flatten()
            .flat_map(|trace| list(&trace["spans"]))
            .collect();
        let start = |span: &Value| span["startTime"].as_u64().unwrap_or_default();
        let end = |span: &Value| start(span) + span["duration"].as_u64().unwrap_or_default();
        let first = spans.iter().map(start).min().unwrap_or_default();
        let last = spans.iter().map(end).max().unwrap_or_default();
        last - first >= 1_000_000
    }
}

fn order_of(delivery: &Value) -> String {
    let own = &delivery["traceID"];
    list(&delivery["spans"])
        .iter()
        .flat_map(|span| list(&span["references"]))
        .find(|reference| reference["traceID"] != *own)
        .and_then(|link| link["traceID"].as_str().map(str::to_owned))
        .unwrap_or_else(|| panic!("a delivery without a link: {own}"))
}

async fn every_exemplar_is_kept(native: &NativeStack, kept: &Kept) {
    let known: BTreeSet<&str> = kept
        .orders
        .keys()
        .map(String::as_str)
        .chain(
            kept.deliveries
                .values()
                .filter_map(|trace| trace["traceID"].as_str()),
        )
        .collect();
    let exemplars = native
        .exemplars("{__name__=~\"(http_server|http_client|db_client).*_bucket\"}")
        .await;
    assert!(exemplars.len() > 10, "{}", exemplars.len());
    for exemplar in exemplars {
        let trace_id = exemplar["labels"]["trace_id"].as_str().expect("a trace id");
        // Other routes than the orders' are looked up one by one.
        let there = known.contains(trace_id) || native.jaeger_trace(trace_id).await.is_some();
        assert!(
            there,
            "an exemplar names a trace that was dropped: {exemplar}"
        );
    }
}

fn order_and_delivery_share_a_fate(kept: &Kept) {
    let ids =
        |traces: &BTreeMap<String, Value>| traces.keys().cloned().collect::<BTreeSet<String>>();
    let (orders, delivered) = (ids(&kept.orders), ids(&kept.deliveries));
    let undelivered: Vec<&String> = orders.difference(&delivered).collect();
    let unordered: Vec<&String> = delivered.difference(&orders).collect();
    assert!(
        undelivered.is_empty() && unordered.is_empty(),
        "orders without their delivery: {undelivered:?}, deliveries without their order: {unordered:?}"
    );
}

/// 10 % of the orders that nothing else keeps. The bounds are four standard deviations of the binomial distribution.
fn a_tenth(kept: &Kept, rest: &[String]) {
    let special = |id: &&String| kept.has_exemplar(id) || kept.is_slow(id);
    let ordinary: Vec<&String> = rest
        .iter()
        .filter(|id| kept.orders.contains_key(*id))
        .filter(|id| !special(id))
        .collect();
    let special = rest.iter().filter(special).count();
    let candidates = (rest.len() - special) as f64;
    let (mean, deviation) = (candidates * 0.1, (candidates * 0.1 * 0.9).sqrt());
    let found = ordinary.len() as f64;
    assert!(
        (found - mean).abs() <= 4.0 * deviation,
        "{found} of {candidates} kept, {special} more for a reason"
    );
}

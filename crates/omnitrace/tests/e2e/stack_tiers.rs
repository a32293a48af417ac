//! Collectors in two tiers under load: one instance of the second is killed, one is added. What is lost is what waited in
//! the one that was killed; decisions are alike, and traces whole, but for those that were under way at that moment.
//!
//! What must hold, and for which traces not, stands in docs/PIPELINE.md, "Two tiers".

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Reply, Signal, Tiers, eventually, jaeger_services, jaeger_tag, list};
use crate::stack_metrics::send_some;
use crate::stack_outages::{Load, MEANWHILE, Order, SERVICES, exported, spans_in_jaeger};
use crate::stack_sampling::Kept;
use crate::stack_watchers::evaluated;

/// Before a change of membership a trace may be cut, if it began this shortly before it: a decision waits for 10 s, and
/// its spans need a while to get there.
const UNDER_WAY: Duration = Duration::from_secs(15);

const ACCEPTED: &str = "otelcol_receiver_accepted_spans_total";
const JAEGER: [(&str, &str); 1] = [("exporter", "otlp_grpc/jaeger")];

/// A counter of an instance; 0 when it has not counted anything yet.
async fn value(tiers: &Tiers, instance: u8, name: &str, labels: &[(&str, &str)]) -> f64 {
    let scrape = tiers.scrape(instance).await;
    scrape.value(name, labels).unwrap_or(0.0)
}

async fn accepted(tiers: &Tiers, instance: u8) -> f64 {
    value(tiers, instance, ACCEPTED, &[]).await
}

async fn until_decided(tiers: &Tiers, instances: &[u8], traces: f64) {
    let decided = "otelcol_processor_tail_sampling_global_count_traces_sampled_total";
    for instance in instances {
        eventually(&format!("{instance} has decided {traces}"), async || {
            (value(tiers, *instance, decided, &[]).await >= traces).then_some(())
        })
        .await;
    }
}

/// Kills an instance at a moment at which it is known how many spans it has taken, and how many of them wait for their
/// decision: where every trace is kept, those that have not come out of it.
async fn kill_counted(tiers: &mut Tiers, instance: u8) -> (f64, f64) {
    tiers.signal_first(Signal::SIGSTOP);
    let (mut before, mut same) = (None, 0);
    let (taken, waiting) = eventually("nothing more arrives", async || {
        let scrape = tiers.scrape(instance).await;
        let taken = scrape.value(ACCEPTED, &[])?;
        let decided = [("processor", "transform/split")];
        let decided = scrape.value("otelcol_processor_incoming_items_total", &decided)?;
        same = if before == Some(taken) { same + 1 } else { 0 };
        before = Some(taken);
        (same >= 20).then_some((taken, taken - decided))
    })
    .await;
    tiers.kill(instance).await;
    tiers.signal_first(Signal::SIGCONT);
    (taken, waiting)
}

/// Waits until everything that was accepted has gone the whole way: every trace is decided, every queue is empty.
async fn drained(tiers: &Tiers, instances: &[u8]) {
    eventually("the first tier has sent all", async || {
        let scrape = tiers.scrape(1).await;
        let sent = scrape.value("otelcol_exporter_sent_spans_total", &[])?;
        (scrape.value(ACCEPTED, &[])? == sent).then_some(())
    })
    .await;
    for instance in instances {
        eventually(&format!("{instance} keeps nothing back"), async || {
            let scrape = tiers.scrape(*instance).await;
            let waiting = "otelcol_processor_tail_sampling_sampling_traces_on_memory";
            let waiting = scrape.value(waiting, &[]).unwrap_or(0.0);
            let queued = scrape.value("otelcol_exporter_queue_size", &JAEGER)?;
            (waiting + queued == 0.0).then_some(())
        })
        .await;
    }
    eventually("Jaeger has stored all", async || {
        let scrape = tiers.native.scrape_part("jaeger:8888").await;
        let stored = scrape.value("otelcol_exporter_sent_spans_total", &[])?;
        (scrape.value(ACCEPTED, &[])? == stored).then_some(())
    })
    .await;
}

/// Whether one span is at the top, every other's parent is there, and every answered call has the span of who answered.
fn is_whole(trace: &Value) -> bool {
    let spans = list(&trace["spans"]);
    let ids: BTreeSet<&str> = spans
        .iter()
        .filter_map(|span| span["spanID"].as_str())
        .collect();
    let parent = |span: &Value| {
        let references = list(&span["references"]);
        let child_of = references.iter().find(|reference| {
            reference["refType"] == "CHILD_OF" && reference["traceID"] == span["traceID"]
        });
        child_of.and_then(|reference| reference["spanID"].as_str().map(str::to_owned))
    };
    let parents: Vec<Option<String>> = spans.iter().map(parent).collect();
    let tops = parents.iter().filter(|parent| parent.is_none()).count();
    let known = parents
        .iter()
        .flatten()
        .all(|parent| ids.contains(parent.as_str()));
    let answered = spans.iter().all(|span| {
        let is_call = jaeger_tag(span, "span.kind").as_deref() == Some("client")
            && jaeger_tag(span, "http.response.status_code").is_some();
        let id = span["spanID"].as_str().map(str::to_owned);
        !is_call || parents.contains(&id)
    });
    tops == 1 && known && answered
}

/// What became of an order and its delivery.
#[derive(Debug, PartialEq, Clone, Copy)]
enum Fate {
    Kept,
    Dropped,
    /// Only one of them is there, or not all of it.
    Cut,
}

fn fate(kept: &Kept, order: &Order) -> Fate {
    match (
        kept.orders.get(&order.trace),
        kept.deliveries.get(&order.trace),
    ) {
        (None, None) => Fate::Dropped,
        (Some(placed), Some(delivered)) if is_whole(placed) && is_whole(delivered) => {
            let services = jaeger_services(placed);
            let all = SERVICES
                .iter()
                .all(|name| services.iter().any(|seen| seen == name));
            if all { Fate::Kept } else { Fate::Cut }
        }
        _ => Fate::Cut,
    }
}

fn was_under_way(order: &Order, changes: &[Instant]) -> bool {
    let mut changes = changes.iter();
    changes.any(|at| order.began <= *at && at.duration_since(order.began) < UNDER_WAY)
}

#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh: just test-stack"]
async fn a_killed_instance_loses_what_waited_in_it_and_nothing_else_is_lost() {
    let mut tiers = Tiers::start(100).await;
    let sku = tiers.native.stack.sku().await;
    counts_add_up(&tiers, &sku).await;
    let load = Load::start(tiers.native.stack.url("gateway"), sku.clone());
    until_decided(&tiers, &[2, 3], 100.0).await;
    seen_for_a_window(&tiers).await;

    let (taken, waited) = kill_counted(&mut tiers, 3).await;
    let killed = Instant::now();
    load.more(MEANWHILE).await;
    let gone = tiers.lead_to(&[2]).await;
    load.more(MEANWHILE).await;
    told_of_the_killed(&tiers).await;
    tiers.add(4).await;
    let joined = tiers.lead_to(&[2, 4]).await;
    until_decided(&tiers, &[4], 10.0).await;
    load.more(MEANWHILE).await;
    let orders = load.stop().await.orders;

    let mut books = tiers.native.stack.database.books().await;
    books.settled(&sku).await;
    books.delivered().await;
    let spans = exported(&tiers.native, "span").await;
    let sent_by_first = accepted(&tiers, 1).await;
    let twice = taken + accepted(&tiers, 2).await + accepted(&tiers, 4).await - sent_by_first;
    // Its disk is back, and what it had decided; no name leads to it.
    tiers.add(3).await;
    drained(&tiers, &[2, 3, 4]).await;
    let lost = spans - spans_in_jaeger(&tiers.native).await;
    eprintln!(
        "{spans} spans exported, {lost} lost of the {waited} that waited in the killed instance, {twice} sent twice; \
         balanced over the others {gone:?} after the name had changed, and {joined:?} after one was added"
    );
    assert!(lost > 0, "nothing waited: this shows nothing");
    assert!(lost as f64 <= waited, "{lost} lost, only {waited} waited");

    let kept = Kept::read(&tiers.native).await;
    let cut = orders
        .iter()
        .filter(|order| fate(&kept, order) != Fate::Kept);
    let (under_way, others): (Vec<&Order>, Vec<&Order>) =
        cut.partition(|order| was_under_way(order, &[killed]));
    assert_eq!(others, [] as [&Order; 0], "of {} orders", orders.len());
    eprintln!(
        "{} of {} orders are not whole",
        under_way.len(),
        orders.len()
    );
    for failed in ["send_failed", "enqueue_failed"] {
        let name = format!("otelcol_exporter_{failed}_spans_total");
        assert_eq!(value(&tiers, 1, &name, &[]).await, 0.0, "{name}");
    }
    let dropping = "max_over_time(ALERTS{alertname=\"CollectorDropping\"}[10m])";
    assert_eq!(
        tiers.native.prometheus_query(dropping).await,
        [] as [Value; 0]
    );
}

/// Several instances count what one would, and metrics of one process are at one of them.
async fn counts_add_up(tiers: &Tiers, sku: &str) {
    let native = &tiers.native;
    for _ in 0..MEANWHILE {
        native.stack.order(sku, 1).await.expect(201);
    }
    native.stack.database.books().await.delivered().await;
    let sum = async |expression: &str| native.prometheus_sum(&format!("sum({expression})")).await;
    let calls = "traces_span_metrics_calls_total";
    let orders = format!(
        "{calls}{{service_name=\"gateway\",span_kind=\"SPAN_KIND_SERVER\",span_name=\"POST /api/orders\"}}"
    );
    eventually("every order in the span metrics", async || {
        (sum(&orders).await >= MEANWHILE as f64).then_some(())
    })
    .await;
    assert_eq!(sum(&orders).await, MEANWHILE as f64);
    // Deliveries, too, whose spans have the order's trace id at that moment.
    for (caller, callee) in [("gateway", "data"), ("data", "downstream")] {
        let graph = format!(
            "traces_service_graph_request_total{{client=\"{caller}\",server=\"{callee}\"}}"
        );
        let answered =
            format!("{calls}{{service_name=\"{callee}\",span_kind=\"SPAN_KIND_SERVER\"}}");
        eventually(
            &format!("{caller}'s calls of {callee} in the graph"),
            async || {
                let (graph, answered) = (sum(&graph).await, sum(&answered).await);
                (graph == answered && graph >= MEANWHILE as f64).then_some(())
            },
        )
        .await;
    }
    for instance in [2, 3] {
        assert!(
            accepted(tiers, instance).await > 0.0,
            "{instance} got nothing"
        );
    }
    send_some(native).await;
    let carts = "shop_carts_total{service_instance_id=\"carts-1\"}";
    eventually("every cart is counted", async || {
        (sum(carts).await == 2.0).then_some(())
    })
    .await;
    assert_eq!(native.prometheus_query(carts).await.len(), 1);
}

/// Prometheus has scraped the first tier for as long as the alert looks back: a first failure is counted from then on only.
async fn seen_for_a_window(tiers: &Tiers) {
    let seen = "up{job=\"otel-collector-tier1\"} offset 1m == 1";
    eventually("the first tier was there a minute ago", async || {
        (!tiers.native.prometheus_query(seen).await.is_empty()).then_some(())
    })
    .await;
}

/// The alert fires, and Prometheus knows how many traces waited when it last asked. No rule fails on several collectors.
async fn told_of_the_killed(tiers: &Tiers) {
    let native = &tiers.native;
    let firing = "ALERTS{alertname=\"CollectorUnreachable\",alertstate=\"firing\"}";
    eventually("CollectorUnreachable fires", async || {
        (!native.prometheus_query(firing).await.is_empty()).then_some(())
    })
    .await;
    let waited = "last_over_time(otelcol_processor_tail_sampling_sampling_traces_on_memory[10m]) unless on (instance) up == 1";
    let waited = native.prometheus_sum(waited).await;
    eprintln!("{waited} traces waited in it when it was last scraped");
    assert!(waited > 0.0);
    let rules = evaluated(native).await;
    let failing: Vec<&Value> = rules.iter().filter(|rule| rule["health"] != "ok").collect();
    assert_eq!(failing, [] as [&Value; 0]);
}

#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh: just test-stack"]
async fn an_order_and_its_delivery_share_a_fate_while_instances_come_and_go() {
    let mut tiers = Tiers::start(10).await;
    let sku = tiers.native.stack.sku().await;
    let mut probed = probes(&tiers, &sku).await;
    let (gateway, start) = (tiers.native.stack.url("gateway"), Instant::now());
    let loads = [(); 3].map(|()| Load::start(gateway.clone(), sku.clone()));
    until_decided(&tiers, &[2, 3], 200.0).await;
    eventually("orders that nothing can cut any more", async || {
        (start.elapsed() > 2 * UNDER_WAY).then_some(())
    })
    .await;
    tiers.kill(3).await;
    let killed = Instant::now();
    loads[0].more(MEANWHILE).await;
    tiers.lead_to(&[2]).await;
    tiers.add(4).await;
    tiers.lead_to(&[2, 4]).await;
    let added = Instant::now();
    probed.extend(probes(&tiers, &sku).await);
    until_decided(&tiers, &[4], 100.0).await;
    let mut orders = Vec::new();
    for load in loads {
        orders.extend(load.stop().await.orders);
    }
    let mut books = tiers.native.stack.database.books().await;
    books.settled(&sku).await;
    books.delivered().await;
    exported(&tiers.native, "span").await;
    drained(&tiers, &[2, 4]).await;

    let kept = Kept::read(&tiers.native).await;
    let (under_way, others): (Vec<&Order>, Vec<&Order>) = orders
        .iter()
        .partition(|order| was_under_way(order, &[killed, added]));
    let fated = |orders: &[&Order], wanted: Fate| -> Vec<String> {
        let fated = orders.iter().filter(|order| fate(&kept, order) == wanted);
        fated.map(|order| format!("{order:?}")).collect()
    };
    let cut = fated(&others, Fate::Cut);
    assert_eq!(cut, [] as [String; 0], "killed {killed:?}, added {added:?}");
    let (many_kept, many_dropped) = (
        fated(&others, Fate::Kept).len(),
        fated(&others, Fate::Dropped).len(),
    );
    eprintln!(
        "of {} orders {many_kept} are kept with their delivery, {many_dropped} dropped; of {} more, under way at a change, {} are cut",
        others.len(),
        under_way.len(),
        fated(&under_way, Fate::Cut).len()
    );
    assert!(many_kept > 20 && many_dropped > 20);
    let probed: Vec<&Order> = probed.iter().collect();
    assert_eq!(fated(&probed, Fate::Kept).len(), probed.len());
}

/// Orders that are always kept, since gateway's span says who asks. Nothing in their deliveries does.
async fn probes(tiers: &Tiers, sku: &str) -> Vec<Order> {
    let url = tiers.native.stack.url("gateway") + "/api/orders";
    let body = json!({"sku": sku, "quantity": 1, "customer_email": "ada@example.com"});
    let mut orders = Vec::new();
    for _ in 0..20 {
        let began = Instant::now();
        let request = tiers.native.stack.client.post(&url).json(&body);
        let request = request.header("user-agent", "omnitrace-doctor/0");
        let reply = Reply::read(request.send().await.expect("an answer")).await;
        let trace = reply.expect(201).trace_id();
        orders.push(Order { trace, began });
    }
    orders
}

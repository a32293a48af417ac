//! Faults of the pipeline: each backend is killed and started again under load. No request fails, and what was accepted
//! arrives: every span and log record that the services count as exported is in Jaeger and VictoriaLogs afterwards (the
//! console, which stands in for Loki, keeps nothing over a restart).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{NativeStack, Reply, eventually, http, list};

const SERVICES: [&str; 3] = ["gateway", "data", "downstream"];
/// Requests that must be answered while a part is away.
const MEANWHILE: usize = 60;

/// Orders and reads until it is told to stop.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<Done>,
}

/// What a [`Load`] was answered.
#[derive(Default)]
pub(crate) struct Done {
    pub(crate) answered: usize,
    /// What was not answered as it should be.
    pub(crate) failed: Vec<String>,
    pub(crate) orders: Vec<Order>,
}

/// An order that was placed.
#[derive(Debug, PartialEq)]
pub(crate) struct Order {
    pub(crate) trace: String,
    pub(crate) began: Instant,
}

impl Load {
    pub(crate) fn start(gateway: String, sku: String) -> Self {
        let (stop, answered) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let task = tokio::spawn(Self::run(
            gateway,
            sku,
            Arc::clone(&stop),
            Arc::clone(&answered),
        ));
        Self {
            stop,
            answered,
            task,
        }
    }

    async fn run(
        gateway: String,
        sku: String,
        stop: Arc<AtomicBool>,
        answered: Arc<AtomicUsize>,
    ) -> Done {
        let client = http();
        let order = json!({"sku": sku, "quantity": 1, "customer_email": "ada@example.com"});
        let mut done = Done::default();
        while !stop.load(Ordering::Relaxed) {
            let requests = [
                client.post(format!("{gateway}/api/orders")).json(&order),
                client.get(format!("{gateway}/api/data")),
            ];
            for request in requests {
                let began = Instant::now();
                match request.send().await {
                    Ok(answer) => {
                        let reply = Reply::read(answer).await;
                        match reply.status {
                            200 => {}
                            201 => done.orders.push(Order {
                                trace: reply.trace_id(),
                                began,
                            }),
                            _ => done.failed.push(format!("{reply:?}")),
                        }
                    }
                    Err(error) => done.failed.push(error.to_string()),
                }
                done.answered = answered.fetch_add(1, Ordering::Relaxed) + 1;
            }
            // A pace, not a wait: enough that a part's absence spans many requests, few enough for two busy cores.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        done
    }

    pub(crate) async fn more(&self, count: usize) {
        let target = self.answered.load(Ordering::Relaxed) + count;
        eventually("requests are answered", async || {
            (self.answered.load(Ordering::Relaxed) >= target).then_some(())
        })
        .await;
    }

    /// Ends it; no request may have failed.
    pub(crate) async fn stop(self) -> Done {
        self.stop.store(true, Ordering::Relaxed);
        let done = self.task.await.expect("the load");
        let (answered, failed) = (done.answered, &done.failed);
        assert!(
            failed.is_empty(),
            "{} of {answered} failed: {:#?}",
            failed.len(),
            &failed[..failed.len().min(5)]
        );
        done
    }
}

#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh: just test-stack"]
async fn each_backend_is_killed_under_load_and_nothing_accepted_is_lost() {
    let mut native = NativeStack::builder()
        .victorialogs()
        .without(&["alertmanager", "blackbox", "probe", "postgres-exporter"])
        .start()
        .await;
    let sku = native.stack.sku().await;
    let load = Load::start(native.stack.url("gateway"), sku.clone());
    load.more(MEANWHILE).await;
    for part in ["jaeger", "loki", "victorialogs", "prometheus", "collector"] {
        match part {
            "victorialogs" => native.kill_victorialogs().await,
            _ => native.kill(part).await,
        }
        load.more(MEANWHILE).await;
        native.restart(part).await;
        load.more(MEANWHILE).await;
    }
    let answered = load.stop().await.answered;
    let mut books = native.stack.database.books().await;
    books.settled(&sku).await;
    books.delivered().await;

    let spans = exported(&native, "span").await;
    let stored = eventually("every exported span in Jaeger", async || {
        let stored = spans_in_jaeger(&native).await;
        (stored >= spans).then_some(stored)
    })
    .await;
    // A span that was sent twice, because the answer to the first time was lost, is one span all the same.
    assert_eq!(stored, spans, "spans");

    let records = exported(&native, "log").await;
    let stored = eventually("every exported log record in VictoriaLogs", async || {
        let stored = stored_records(&native).await;
        (stored >= records).then_some(stored)
    })
    .await;
    assert_eq!(stored, records, "log records");
    eventually(
        "every request in Prometheus, after its restart too",
        async || {
            let count = native
                .prometheus_sum(
                    "http_server_request_duration_seconds_count{service_name=\"gateway\"}",
                )
                .await;
            (count >= answered as f64).then_some(())
        },
    )
    .await;
    eprintln!("{answered} requests, {spans} spans and {records} log records: none lost");
}

/// What the services say was accepted, once nothing waits any more; nothing may have been dropped.
pub(crate) async fn exported(native: &NativeStack, signal: &str) -> usize {
    let mut accepted = 0;
    for service in SERVICES {
        let processed = format!("otel_sdk_processor_{signal}_processed_total");
        let exported = format!("otel_sdk_exporter_{signal}_exported_total");
        accepted += eventually(
            &format!("{service} has exported every {signal}"),
            async || {
                let scrape = native.stack.scrape(service).await;
                let all = scrape.value(&processed, &[]).unwrap_or(0.0);
                let sent = scrape
                    .value(&exported, &[("error_type", "")])
                    .unwrap_or(0.0);
                let ended = scrape.value(&exported, &[]).unwrap_or(0.0);
                (all == ended).then(|| {
                    assert_eq!(sent, ended, "{service} dropped some: {}", scrape.text);
                    sent as usize
                })
            },
        )
        .await;
    }
    accepted
}

pub(crate) async fn spans_in_jaeger(native: &NativeStack) -> usize {
    let mut ids = BTreeSet::new();
    for service in SERVICES {
        for trace in native.jaeger_search(service, &json!({}), 20_000).await {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            ids.extend(
                list(&trace["spans"])
                    .iter()
                    .map(|span| (text(&span["traceID"]), text(&span["spanID"]))),
            );
        }
    }
    ids.len()
}

/// A record that was sent twice, because the answer to the first time was lost, is one record all the same.
async fn stored_records(native: &NativeStack) -> usize {
    let mut records = BTreeSet::new();
    for service in SERVICES {
        records.extend(native.stored_logs(service).await);
    }
    records.len()
}

//! The console is killed under load: no request notices, what is lost is counted, memory stays bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::harness::{Child, Scrape, Signal, Stack, eventually, http, omnitrace};

const CALLERS: usize = 8;
/// More spans than the queues hold: a request makes about ten in data alone.
const REQUESTS_AFTER: usize = 1500;
/// What a service may grow by while it has nowhere to send to: two full queues and change.
const GROWTH_BYTES: f64 = 48.0 * 1024.0 * 1024.0;

async fn scrape(admin: &str) -> Scrape {
    let text = http()
        .get(format!("{admin}/metrics"))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    Scrape::parse("", text)
}

fn dropped(scrape: &Scrape) -> f64 {
    [
        "otel_sdk_processor_span_processed_total",
        "otel_sdk_exporter_span_exported_total",
    ]
    .iter()
    .flat_map(|name| scrape.matching(name, &[]))
    .filter(|sample| !sample.labels["error_type"].is_empty())
    .map(|sample| sample.value)
    .sum()
}

fn resident(scrape: &Scrape) -> f64 {
    scrape
        .value("process_resident_memory_bytes", &[])
        .expect("resident memory")
}

#[tokio::test]
async fn the_console_dies_under_load_and_no_request_notices() {
    // `up` ends when a child dies, so the console is one of the test's own.
    let mut console = Child::spawn("console", omnitrace(["console", "--listen", "127.0.0.1:0"]));
    let otlp = format!("http://{}", console.listening().await.http_addr);
    let stack = Stack::builder()
        .env_all("OTEL_EXPORTER_OTLP_ENDPOINT", &otlp)
        // Give up soon, so that the test sees batches being dropped, not only waiting.
        .env_all("OTEL_BSP_EXPORT_TIMEOUT", "1000")
        .env_all("OTEL_BSP_MAX_QUEUE_SIZE", "512")
        .start()
        .await;
    let (done, failed, stop) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (client, url) = (
                stack.client.clone(),
                format!("{}/api/data", stack.url("gateway")),
            );
            let (done, failed, stop) = (Arc::clone(&done), Arc::clone(&failed), Arc::clone(&stop));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let answer = client.get(&url).send().await;
                    if !answer.is_ok_and(|answer| answer.status() == 200) {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    eventually("some load", async || {
        (done.load(Ordering::Relaxed) >= 100).then_some(())
    })
    .await;
    let before = scrape(&stack.admin_url("data")).await;

    console.signal(Signal::SIGKILL);
    console.wait().await;
    let at_kill = done.load(Ordering::Relaxed);
    eventually("load without the console", async || {
        (done.load(Ordering::Relaxed) >= at_kill + REQUESTS_AFTER).then_some(())
    })
    .await;
    for service in ["gateway", "data", "downstream"] {
        let admin = stack.admin_url(service);
        eventually(&format!("{service} counts what it drops"), async || {
            (dropped(&scrape(&admin).await) > 0.0).then_some(())
        })
        .await;
    }
    let after = scrape(&stack.admin_url("data")).await;
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }

    assert_eq!(
        failed.load(Ordering::Relaxed),
        0,
        "of {} requests",
        done.load(Ordering::Relaxed)
    );
    let gateway = scrape(&stack.admin_url("gateway")).await;
    let errors = gateway.value(
        "http_server_request_duration_seconds_count",
        &[("outcome", "error")],
    );
    assert_eq!(errors, Some(0.0), "the gateway's own count");
    let queued = after
        .value("otel_sdk_processor_span_queue_size", &[])
        .unwrap();
    assert!(queued <= 512.0, "the queue keeps its bound: {queued}");
    let growth = resident(&after) - resident(&before);
    assert!(growth < GROWTH_BYTES, "grew by {growth} bytes");
}

//! A collector that asks for too much, answers too much, or sends elsewhere: the service keeps its own measure.

use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};

use crate::exporting::{EXPORTED, gateway, healthy_requests, of_traces, spans};
use crate::harness::{Receiver, Signal, Stack, eventually};

/// Waits for so many requests with spans; the pauses between them.
async fn pauses(stack: &Stack, attempts: usize) -> Vec<Duration> {
    let deliveries = eventually(&format!("{attempts} attempts"), async || {
        let deliveries = of_traces(&stack.receiver);
        (deliveries.len() >= attempts).then_some(deliveries)
    })
    .await;
    let pairs = deliveries.windows(2);
    pairs.map(|pair| pair[1].at - pair[0].at).collect()
}

async fn everything_arrives(stack: &Stack, count: f64) {
    stack
        .wait_for_metric("gateway", EXPORTED, &[("error_type", "")], |sent| {
            sent == count
        })
        .await;
    assert_eq!(spans(stack, EXPORTED, "http").await, 0.0, "nothing is lost");
}

#[tokio::test]
async fn come_back_at_once_makes_no_loop() {
    let stack = gateway().start().await;
    stack.receiver.retry_after(Some(0));
    stack.receiver.refuse_with(Some(429));
    healthy_requests(&stack, 20).await;
    let pauses = pauses(&stack, 4).await;
    for (pause, least) in pauses.iter().zip([250, 500, 1000]) {
        assert!(*pause >= Duration::from_millis(least), "{pauses:?}");
    }
    stack.receiver.refuse_with(None);
    everything_arrives(&stack, 20.0).await;
    stack.stop().await;
}

#[tokio::test]
async fn a_date_to_come_back_at_is_understood() {
    let stack = gateway().start().await;
    // Dates have no fractions: at least two seconds from now.
    let then = Utc::now() + TimeDelta::seconds(3);
    let then = then.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    stack.receiver.refuse_saying("retry-after", then);
    stack.receiver.refuse_with(Some(503));
    let asked = Instant::now();
    healthy_requests(&stack, 20).await;
    pauses(&stack, 2).await;
    let second = of_traces(&stack.receiver)[1].at - asked;
    assert!(second >= Duration::from_secs(2), "{second:?}");
    stack.receiver.refuse_with(None);
    everything_arrives(&stack, 20.0).await;
    stack.stop().await;
}

#[tokio::test]
async fn an_hour_to_wait_is_not_waited_for_by_asking_and_not_at_the_exit() {
    let mut stack = gateway()
        .env("gateway", "OTEL_BSP_EXPORT_TIMEOUT", "200")
        .env("gateway", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8")
        .start()
        .await;
    stack.receiver.retry_after(Some(3600));
    stack.receiver.refuse_with(Some(503));
    healthy_requests(&stack, 40).await;
    pauses(&stack, 1).await;
    // The next batches are full, their time would be up long ago, and other signals go their own way.
    healthy_requests(&stack, 40).await;
    assert_eq!(
        spans(&stack, EXPORTED, "http").await,
        0.0,
        "nothing is given up"
    );
    let start = Instant::now();
    assert_eq!(stack.kill("gateway", Signal::SIGTERM).await, 0);
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "{:?}",
        start.elapsed()
    );
    let output = stack.output("gateway");
    assert!(
        output.contains("some telemetry could not be delivered"),
        "{output}"
    );
    assert_eq!(of_traces(&stack.receiver).len(), 1, "asked once");
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off_and_costs_no_memory() {
    let stack = gateway().start().await;
    let rss = async || {
        let scrape = stack.scrape("gateway").await;
        scrape
            .value("process_resident_memory_bytes", &[])
            .expect("measured")
    };
    let before = rss().await;
    stack.receiver.answer_without_end();
    healthy_requests(&stack, 20).await;
    // The status said that the batch was taken.
    everything_arrives(&stack, 20.0).await;
    let grown = rss().await - before;
    assert!(grown < 64.0 * 1024.0 * 1024.0, "{grown} bytes");
    stack.stop().await;
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let elsewhere = Receiver::start();
    let stack = gateway()
        .env(
            "gateway",
            "OTEL_EXPORTER_OTLP_HEADERS",
            "x-api-key=swordfish",
        )
        .start()
        .await;
    for (status, count) in [(301, 20.0), (302, 40.0), (307, 60.0), (308, 80.0)] {
        let location = elsewhere.url() + "/v1/traces";
        stack.receiver.refuse_saying("location", location);
        stack.receiver.refuse_with(Some(status));
        healthy_requests(&stack, 20).await;
        stack
            .wait_for_metric("gateway", EXPORTED, &[("error_type", "http")], |lost| {
                lost == count
            })
            .await;
    }
    stack.stop().await;
    let went = elsewhere.deliveries();
    assert!(went.is_empty(), "{went:?}");
}

#[tokio::test]
async fn what_it_rejects_is_counted_and_never_more_than_it_was_sent() {
    let stack = gateway().start().await;
    for (rejects, lost, sent) in [(1, 1.0, 0.0), (-5, 1.0, 1.0), (i64::MAX, 2.0, 1.0)] {
        stack.receiver.reject(rejects);
        healthy_requests(&stack, 1).await;
        stack
            .wait_for_metric("gateway", EXPORTED, &[], |ended| ended == lost + sent)
            .await;
        assert_eq!(spans(&stack, EXPORTED, "rejected").await, lost, "{rejects}");
        assert_eq!(spans(&stack, EXPORTED, "").await, sent, "{rejects}");
    }
    stack.stop().await;
}

//! A collector that is dead, slow or refusing: requests do not notice, losses are counted, nothing else is lost.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use serde_json::json;

use crate::harness::{
    Delivery, Receiver, Reply, Signal, Stack, StackBuilder, Status, complete, eventually,
    omnitrace, tree,
};
use crate::traces::ORDER;

const PROCESSED: &str = "otel_sdk_processor_span_processed_total";
pub const EXPORTED: &str = "otel_sdk_exporter_span_exported_total";
const QUEUE: &str = "otel_sdk_processor_span_queue_size";

/// A gateway that needs nobody for `GET /health`.
pub fn gateway() -> StackBuilder {
    Stack::builder().only(&["gateway"])
}

/// An address where nobody listens.
fn closed() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("http://{}", listener.local_addr().expect("its address"))
}

/// Requests at concurrency 8; all of them must succeed. Returns their trace ids.
pub async fn healthy_requests(stack: &Stack, count: usize) -> Vec<String> {
    let requests = (0..count).map(|_| async { stack.get("/health").await.expect(200).trace_id() });
    stream::iter(requests).buffer_unordered(8).collect().await
}

pub async fn spans(stack: &Stack, metric: &str, error_type: &str) -> f64 {
    let scrape = stack.scrape("gateway").await;
    scrape
        .value(metric, &[("error_type", error_type)])
        .unwrap_or(0.0)
}

pub fn of_traces(receiver: &Receiver) -> Vec<Delivery> {
    let deliveries = receiver.deliveries().into_iter();
    deliveries
        .filter(|delivery| delivery.path == "/v1/traces")
        .collect()
}

#[tokio::test]
async fn a_dead_collector_costs_spans_and_not_requests() {
    let stack = gateway()
        .env("gateway", "OTEL_EXPORTER_OTLP_ENDPOINT", &closed())
        .env("gateway", "OTEL_BSP_MAX_QUEUE_SIZE", "64")
        .env("gateway", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "16")
        .env("gateway", "OTEL_BSP_EXPORT_TIMEOUT", "300")
        .start()
        .await;

    healthy_requests(&stack, 300).await;

    let scrape = stack.scrape("gateway").await;
    let full = scrape
        .value(PROCESSED, &[("error_type", "queue_full")])
        .expect("counted");
    assert_eq!(
        scrape.value(PROCESSED, &[]),
        Some(300.0),
        "each span is either queued or counted as dropped"
    );
    assert!(full >= 100.0, "{full} dropped at the queue");
    assert!(scrape.value(QUEUE, &[]) <= Some(64.0));
    assert_eq!(
        scrape.value("otel_sdk_processor_span_queue_capacity", &[]),
        Some(64.0)
    );
    // Every span that was queued is given up in the end, and counted once.
    let connection = [("error_type", "connection")];
    stack
        .wait_for_metric("gateway", EXPORTED, &connection, |lost| {
            lost == 300.0 - full
        })
        .await;
    assert_eq!(spans(&stack, EXPORTED, "").await, 0.0);
    stack.stop().await;
}

#[tokio::test]
async fn a_dead_collector_does_not_hold_up_the_exit() {
    let mut stack = gateway()
        .env("gateway", "OTEL_EXPORTER_OTLP_ENDPOINT", &closed())
        .env("gateway", "OTEL_BSP_EXPORT_TIMEOUT", "3600000")
        .start()
        .await;
    healthy_requests(&stack, 20).await;
    // 5 s for spans and log records, as `service::run` promises, and some for the machine.
    let start = Instant::now();
    assert_eq!(stack.kill("gateway", Signal::SIGTERM).await, 0);
    assert!(
        start.elapsed() < Duration::from_secs(15),
        "{:?}",
        start.elapsed()
    );
    let output = stack.output("gateway");
    assert!(
        output.contains("some telemetry could not be delivered"),
        "{output}"
    );
}

#[tokio::test]
async fn a_slow_collector_slows_nobody_and_gets_everything_in_the_end() {
    let stack = gateway()
        .env("gateway", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "300")
        .start()
        .await;
    // For good, as far as these exports are concerned.
    stack.receiver.delay(Duration::from_secs(3600));
    healthy_requests(&stack, 200).await;
    eventually("a second attempt", async || {
        (of_traces(&stack.receiver).len() >= 2).then_some(())
    })
    .await;
    healthy_requests(&stack, 200).await;
    assert_eq!(spans(&stack, PROCESSED, "").await, 400.0);
    assert_eq!(spans(&stack, PROCESSED, "queue_full").await, 0.0);
    assert_eq!(spans(&stack, EXPORTED, "").await, 0.0);

    stack.receiver.delay(Duration::ZERO);
    stack
        .wait_for_metric("gateway", EXPORTED, &[("error_type", "")], |sent| {
            sent == 400.0
        })
        .await;
    assert_eq!(spans(&stack, EXPORTED, "timeout").await, 0.0);
    assert_eq!(stack.stop().await.spans().len(), 400);
}

#[tokio::test]
async fn a_refusal_for_now_is_retried_as_asked_and_nothing_is_lost() {
    let stack = gateway().start().await;
    stack.receiver.retry_after(Some(1));
    stack.receiver.refuse_with(Some(503));
    let traces = healthy_requests(&stack, 20).await;
    let refused = eventually("a second attempt", async || {
        let deliveries = of_traces(&stack.receiver);
        (deliveries.len() >= 2).then_some(deliveries)
    })
    .await;
    assert_eq!(refused[0].body, refused[1].body, "the same batch again");
    let pause = refused[1].at - refused[0].at;
    assert!(
        pause >= Duration::from_secs(1),
        "{pause:?} although a second was asked for"
    );
    assert!(stack.receiver.spans().is_empty());

    stack.receiver.refuse_with(None);
    stack
        .wait_for_metric("gateway", EXPORTED, &[("error_type", "")], |sent| {
            sent == 20.0
        })
        .await;
    assert_eq!(spans(&stack, EXPORTED, "http").await, 0.0);
    let scrape = stack.scrape("gateway").await;
    let encoded = scrape.value("span_export_bytes_total", &[]);
    let receiver = stack.stop().await;
    let received: BTreeSet<String> = receiver
        .spans()
        .into_iter()
        .map(|span| span.trace_id)
        .collect();
    assert_eq!(received, traces.into_iter().collect());
    assert_eq!(receiver.spans().len(), 20, "and none twice");
    // What went twice has cost its encoding once.
    let bodies: BTreeSet<Vec<u8>> = of_traces(&receiver)
        .into_iter()
        .map(|sent| sent.body)
        .collect();
    let bytes: usize = bodies.iter().map(Vec::len).sum();
    assert_eq!(encoded, Some(bytes as f64));
}

#[tokio::test]
async fn a_final_refusal_is_not_repeated() {
    let stack = gateway().start().await;
    stack.receiver.refuse_with(Some(400));
    healthy_requests(&stack, 20).await;
    stack
        .wait_for_metric("gateway", EXPORTED, &[("error_type", "http")], |lost| {
            lost == 20.0
        })
        .await;
    let bodies: Vec<Vec<u8>> = of_traces(&stack.receiver)
        .into_iter()
        .map(|delivery| delivery.body)
        .collect();
    let different: BTreeSet<&Vec<u8>> = bodies.iter().collect();
    assert_eq!(different.len(), bodies.len(), "a batch came twice");

    // And it is over as soon as the collector is itself again.
    stack.receiver.refuse_with(None);
    healthy_requests(&stack, 1).await;
    stack
        .wait_for_metric("gateway", EXPORTED, &[("error_type", "")], |sent| {
            sent == 1.0
        })
        .await;
    stack.stop().await;
}

#[tokio::test]
async fn a_collector_that_comes_back_gets_what_it_missed() {
    let receiver = Receiver::start();
    let address = receiver.address().to_string();
    drop(receiver);
    eventually("the port is free", async || {
        TcpListener::bind(&address).is_ok().then_some(())
    })
    .await;
    let stack = gateway()
        .env(
            "gateway",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            &format!("http://{address}"),
        )
        .start()
        .await;
    let traces = healthy_requests(&stack, 10).await;

    let receiver = Receiver::start_on(&address);
    for trace in traces {
        receiver
            .wait_for_trace(&trace, |spans| spans.len() == 1)
            .await;
    }
    stack.stop().await;
}

#[tokio::test]
async fn sigterm_under_load_loses_no_span() {
    let mut stack = Stack::builder()
        .env_all("OTEL_BSP_SCHEDULE_DELAY", "60000")
        .start()
        .await;
    let sku = stack.sku().await;
    let (url, client) = (stack.url("gateway") + "/api/orders", stack.client.clone());
    let order = json!({"sku": sku, "quantity": 1, "customer_email": "ada@example.com"});
    // Callers that go on until nobody answers any more.
    let answered = Arc::new(std::sync::Mutex::new(Vec::new()));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (url, client, order, answered) = (
                url.clone(),
                client.clone(),
                order.clone(),
                Arc::clone(&answered),
            );
            tokio::spawn(async move {
                while let Ok(response) = client.post(&url).json(&order).send().await {
                    let reply = Reply::read(response).await;
                    answered
                        .lock()
                        .unwrap()
                        .push((reply.status, reply.trace_id()));
                }
            })
        })
        .collect();
    eventually("orders are flowing", async || {
        (answered.lock().unwrap().len() >= 40).then_some(())
    })
    .await;

    for service in ["gateway", "data", "downstream"] {
        assert_eq!(stack.kill(service, Signal::SIGTERM).await, 0, "{service}");
    }
    for caller in callers {
        caller.await.expect("a caller");
    }
    let answered = answered.lock().unwrap().clone();
    assert!(answered.iter().any(|(status, _)| *status == 201));
    for (status, trace) in &answered {
        let spans = stack.receiver.trace(trace);
        complete(&spans);
        // A busy machine may turn an order away, or try a call of it twice.
        if *status == 201 && !spans.iter().any(|span| span.status == Status::Error) {
            assert_eq!(tree(&spans), ORDER);
        }
    }
}

#[test]
fn a_setting_that_cannot_be_used_stops_the_start() {
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318"),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "ftp://collector"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "no equals sign"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/no/such/file.pem"),
        // A file, but none with a certificate.
        (
            "OTEL_EXPORTER_OTLP_CERTIFICATE",
            env!("CARGO_MANIFEST_PATH"),
        ),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "0"),
        ("OTEL_PROPAGATORS", "b3"),
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_METRICS_EXPORTER", "otlp"),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "5"),
        ("OTEL_SDK_DISABLED", "perhaps"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team"),
        ("RUST_LOG", "gateway=loud"),
    ] {
        let output = omnitrace(["gateway"])
            .envs([
                ("OMNITRACE_HTTP_ADDR", "127.0.0.1:0"),
                ("OMNITRACE_ADMIN_ADDR", "127.0.0.1:0"),
            ])
            // No parent: should it start after all, it stops at once.
            .env("OMNITRACE_PARENT_PIPE", "1")
            .env(name, value)
            .output()
            .expect("it runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{name}={value} was accepted");
        assert!(
            error.contains(&format!("{name}: ")),
            "{name}={value}: {error}"
        );
        assert!(!error.contains("panicked"), "{error}");
    }
}

#[tokio::test]
async fn compression_headers_and_each_signals_endpoint_are_honoured() {
    let (traces, logs) = (Receiver::start(), Receiver::start());
    let stack = gateway()
        .env(
            "gateway",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            &(traces.url() + "/base/"),
        )
        .env(
            "gateway",
            "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
            &(logs.url() + "/tenant/v1/logs"),
        )
        .env(
            "gateway",
            "OTEL_EXPORTER_OTLP_HEADERS",
            "authorization=Bearer%20abc,x-team=a",
        )
        .env("gateway", "OTEL_EXPORTER_OTLP_LOGS_HEADERS", "x-team=b")
        .env("gateway", "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip")
        .env(
            "gateway",
            "OTEL_RESOURCE_ATTRIBUTES",
            "deployment.environment.name=test,service.version=9.9",
        )
        .start()
        .await;
    healthy_requests(&stack, 3).await;
    let version = stack.scrape("gateway").await.samples[0].labels["service_version"].clone();
    stack.stop().await;

    for (receiver, path, encoding, team, authorization) in [
        (&traces, "/base/v1/traces", "gzip", "a", "Bearer abc"),
        (&logs, "/tenant/v1/logs", "", "b", ""),
    ] {
        let deliveries = receiver.deliveries();
        assert!(!deliveries.is_empty(), "nothing at {path}");
        for delivery in deliveries {
            let header = |name: &str| delivery.headers.get(name).map_or("", String::as_str);
            assert_eq!(delivery.path, path);
            assert_eq!(header("content-type"), "application/x-protobuf");
            assert_eq!(
                (
                    header("content-encoding"),
                    header("x-team"),
                    header("authorization")
                ),
                (encoding, team, authorization)
            );
        }
    }
    assert_eq!(traces.spans().len(), 3);
    assert!(logs.logs().iter().any(|record| record.body == "listening"));
    for resource in traces.spans().iter().map(|span| &span.resource) {
        assert_eq!(resource["deployment.environment.name"], "test");
        assert_eq!(resource["service.version"], "9.9");
    }
    assert_eq!(version, "9.9", "on metrics as well");
}

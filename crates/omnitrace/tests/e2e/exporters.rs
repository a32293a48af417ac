//! `OTEL_TRACES_EXPORTER` and `OTEL_LOGS_EXPORTER`: a signal that is switched off is not exported, and that is all.

use crate::harness::{Stack, eventually, traceparent};

/// In place of data: whoever listens at its usual address on this machine is somebody else's.
const NOBODY: &str = "http://127.0.0.1:1";

#[tokio::test]
async fn a_signal_that_is_switched_off_is_not_exported_and_the_others_are() {
    for (signal, path) in [("TRACES", "/v1/logs"), ("LOGS", "/v1/traces")] {
        let stack = Stack::builder()
            .only(&["gateway"])
            .env("gateway", "DATA_URL", NOBODY)
            .env("gateway", &format!("OTEL_{signal}_EXPORTER"), "none")
            .start()
            .await;
        let (parent, trace) = traceparent(true);
        let request = stack.request(reqwest::Method::GET, "/api/data");
        let reply = stack.send(request.header("traceparent", parent)).await;
        assert_eq!((reply.status, reply.trace_id()), (503, trace.clone()));
        eventually("a log line names the trace", async || {
            let log = stack.log_lines("gateway");
            let named = log.iter().any(|line| line["trace_id"] == trace.as_str());
            named.then_some(())
        })
        .await;
        let scrape = stack.scrape_openmetrics("gateway").await;
        assert_eq!(
            scrape.text.contains("trace_id="),
            signal == "LOGS",
            "exemplars"
        );
        let stopping = std::time::Instant::now();
        let receiver = stack.stop().await;
        // Not a matter of speed: a queue that nobody closes is waited for until the deadline of the flush, 5 s.
        let took = stopping.elapsed();
        assert!(
            took.as_secs() < 5,
            "the end waited for a signal that is off: {took:?}"
        );
        let deliveries = receiver.deliveries();
        assert!(!deliveries.is_empty());
        for delivery in deliveries {
            assert_eq!(delivery.path, path, "OTEL_{signal}_EXPORTER=none");
        }
    }
}

/// The switch for nothing: what `/metrics`, the log and the callers show of spans and counts is gone.
#[tokio::test]
async fn everything_can_be_switched_off() {
    let stack = Stack::builder()
        .only(&["gateway"])
        .env("gateway", "DATA_URL", NOBODY)
        .env("gateway", "OTEL_SDK_DISABLED", "true")
        .env("gateway", "OTEL_METRICS_EXPORTER", "none")
        .env("gateway", "OTEL_PROPAGATORS", "none")
        .start()
        .await;
    let (parent, _) = traceparent(true);
    let request = stack.request(reqwest::Method::GET, "/api/data");
    let reply = stack.send(request.header("traceparent", parent)).await;
    assert_eq!(reply.status, 503, "{reply:?}");
    assert_eq!(reply.headers.get("server-timing"), None, "a span was made");
    // The log is still on, and has no id to name.
    let failed = eventually("the failure is in the log", async || {
        let mut log = stack.log_lines("gateway").into_iter();
        log.find(|line| line["message"] == "request failed")
    })
    .await;
    assert!(failed.get("trace_id").is_none(), "{failed}");
    assert_eq!(stack.scrape("gateway").await.text, "");
    assert!(stack.stop().await.deliveries().is_empty());
}

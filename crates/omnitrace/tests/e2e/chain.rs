//! The caller's context goes over every hop to the last: gateway, data, and what stands for downstream.

use reqwest::Method;
use serde_json::json;

use crate::harness::{Capture, Stack};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

#[tokio::test]
async fn the_last_hop_gets_the_callers_context_and_decision() {
    let downstream =
        Capture::answering(&json!({"sku": "tea", "price_cents": 420, "currency": "EUR"}));
    let stack = Stack::builder()
        .only(&["data", "gateway"])
        .env("data", "DOWNSTREAM_URL", &downstream.url())
        .start()
        .await;

    for flags in ["00", "01"] {
        let request = stack
            .request(Method::GET, "/api/data")
            .header("traceparent", format!("00-{TRACE}-{CALLER}-{flags}"))
            .header("tracestate", "vendor=a1")
            .header("baggage", "tenant=acme");
        stack.send(request).await.expect(200);

        let sent = downstream.take_one();
        let parent = sent.header("traceparent").expect("a traceparent");
        assert!(parent.starts_with(&format!("00-{TRACE}-")), "{parent}");
        assert!(parent.ends_with(&format!("-{flags}")), "{parent}");
        assert!(!parent.contains(CALLER), "the parent is data's span");
        assert_eq!(sent.header("tracestate").as_deref(), Some("vendor=a1"));
        assert_eq!(sent.header("baggage").as_deref(), Some("tenant=acme"));
    }
    let receiver = stack.stop().await;
    // The spans of the sampled request only: two servers, two calls, a connection and a statement.
    assert_eq!(receiver.spans().len(), 6, "{:#?}", receiver.spans());
    assert!(receiver.spans().iter().all(|span| span.trace_id == TRACE));
}

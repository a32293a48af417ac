//! The harness itself: an order goes through, its trace arrives, the processes stop.

use crate::harness::Stack;

#[tokio::test]
async fn one_order_gives_one_trace_over_three_services() {
    let stack = Stack::start().await;
    let sku = stack.sku().await;

    let reply = stack.order(&sku, 1).await;

    assert_eq!(reply.status, 201, "{reply:?}");
    let trace = stack
        .trace_over(&reply.trace_id(), &["gateway", "data", "downstream"])
        .await;
    assert!(trace.len() >= 3, "{trace:#?}");
    stack.stop().await;
}

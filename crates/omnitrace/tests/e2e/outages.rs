//! Payments that are declined, and dependencies that are dead or slow: what the customer is told, and what becomes
//! of the order.

use std::time::Instant;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Signal, Stack, eventually};

fn order() -> Value {
    json!({"sku": "omni-mug", "quantity": 1, "customer_email": "ada@example.com"})
}

#[tokio::test]
async fn a_declined_payment_gives_the_stock_back() {
    let stack = Stack::builder()
        .env("downstream", "OMNITRACE_DECLINE_SHARE", "1")
        .env("data", "OMNITRACE_SEED_ITEMS", "omni-mug:5:1290")
        .start()
        .await;
    let mut books = stack.database.books().await;

    let reply = stack.post_order(&order(), Some("declined")).await;

    let problem = reply.problem(402, "payment-declined");
    let orders = books.orders().await;
    assert_eq!(orders.len(), 1);
    assert_eq!(orders[0].status, "declined");
    assert!(
        problem["detail"].as_str().unwrap().contains(&orders[0].id),
        "names the order: {problem}"
    );
    assert_eq!(
        stack.get_order(&orders[0].id).await.expect(200).json()["status"],
        "declined"
    );
    let account = books.account("omni-mug").await;
    assert_eq!((account.stock, account.declined), (5, 1));
    // The same request again gives the same answer.
    stack
        .post_order(&order(), Some("declined"))
        .await
        .problem(402, "payment-declined");
    assert_eq!(books.orders().await, orders);
    assert_eq!(
        books.events().await,
        [],
        "only what is confirmed is announced"
    );
    stack.stop().await;
}

#[tokio::test]
async fn a_dead_dependency_is_503_and_a_slow_one_504() {
    let mut stack = Stack::builder()
        .env("data", "OMNITRACE_SWEEP_AFTER_MS", "300")
        .start()
        .await;

    stack.kill("downstream", Signal::SIGKILL).await;
    let reply = stack.get_data().await;
    let problem = reply.problem(503, "dependency-unavailable");
    assert!(
        problem["detail"].as_str().unwrap().contains("downstream"),
        "says who: {problem}"
    );
    stack
        .post_order(&order(), None)
        .await
        .problem(503, "dependency-unavailable");
    let pending = stack.database.books().await.orders().await;
    assert_eq!((pending.len(), pending[0].status.as_str()), (1, "pending"));
    let id = &pending[0].id;
    assert_eq!(
        stack.get_order(id).await.expect(200).json()["status"],
        "pending"
    );
    stack.restart("downstream").await;
    eventually("the order is settled once downstream is back", async || {
        let order = stack.get_order(id).await.expect(200).json();
        (order["status"] == "confirmed").then_some(())
    })
    .await;

    // Slow, not dead: accepts connections and never answers.
    stack.signal("downstream", Signal::SIGSTOP);
    slow(&stack, "downstream").await;
    stack.signal("downstream", Signal::SIGCONT);
    stack.signal("data", Signal::SIGSTOP);
    slow(&stack, "data").await;
    stack.signal("data", Signal::SIGCONT);

    stack.kill("data", Signal::SIGKILL).await;
    for request in [
        stack.request(Method::GET, "/api/data"),
        stack.request(Method::GET, "/api/orders"),
        stack.request(Method::GET, &format!("/api/orders/{id}")),
        stack.request(Method::POST, "/api/orders").json(&order()),
    ] {
        let problem = stack
            .send(request)
            .await
            .problem(503, "dependency-unavailable");
        assert!(
            problem["detail"].as_str().unwrap().contains("data"),
            "says who: {problem}"
        );
    }
    stack.get("/health").await.expect(200);
    stack.restart("data").await;
    stack.post_order(&order(), None).await.expect(201);
    stack.stop().await;
}

/// Two requests at once, since each lasts as long as the time-outs do.
async fn slow(stack: &Stack, culprit: &str) {
    let start = Instant::now();
    let order = order();
    let (read, placed) = tokio::join!(stack.get_data(), stack.post_order(&order, None));
    for reply in [read, placed] {
        let problem = reply.problem(504, "dependency-timeout");
        assert!(
            problem["detail"].as_str().unwrap().contains(culprit),
            "says who: {problem}"
        );
    }
    // api::timeouts::GATEWAY_REQUEST is 5 s: it was the dependency's time-out that ended it, not the gateway's own.
    assert!(start.elapsed().as_secs_f64() < 5.0, "{:?}", start.elapsed());
}

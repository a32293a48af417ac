//! Events about orders: each arrives at least once, whoever dies in between, and counts once.

use std::collections::BTreeSet;

use futures_util::StreamExt;

use crate::harness::{Deliveries, EventRow, Kind, Proxy, Reply, Signal, Span, Stack, eventually};

fn order_id(reply: Reply) -> String {
    reply.expect(201).json()["id"]
        .as_str()
        .expect("id")
        .to_owned()
}

/// The span of this kind that carries a message's id.
async fn span_of(stack: &Stack, message: &str, kind: Kind) -> Span {
    let what = format!("{kind:?} span of message {message}");
    let find = |spans: &[Span]| {
        let found =
            |span: &&Span| span.kind == kind && span.text("messaging.message.id") == message;
        spans.iter().find(found).cloned()
    };
    stack.receiver.wait_for_span(&what, find).await
}

/// How often downstream said that it applied, and that it had already applied, an event.
fn applied(stack: &Stack, event: &str) -> (usize, usize) {
    let lines = stack.log_lines("downstream");
    let lines = lines
        .iter()
        .filter(|line| line["message"] == "order event received" && line["event_id"] == event);
    let (first, again): (Vec<_>, Vec<_>) = lines.partition(|line| line["applied"] == true);
    (first.len(), again.len())
}

#[tokio::test]
async fn every_confirmed_order_is_announced_and_no_other() {
    let stack = Stack::builder()
        .env("downstream", "OMNITRACE_DECLINE_SHARE", "0.4")
        .start()
        .await;
    let replies = futures_util::stream::iter(0..30)
        .map(|_| stack.order("omni-mug", 1))
        .buffer_unordered(4);
    let replies: Vec<Reply> = replies.collect().await;
    let (confirmed, declined): (Vec<_>, Vec<_>) =
        replies.into_iter().partition(|reply| reply.status == 201);
    assert!(
        !confirmed.is_empty() && !declined.is_empty(),
        "a mix: {} of 30 confirmed",
        confirmed.len()
    );
    for reply in &declined {
        reply.problem(402, "payment-declined");
    }

    let events = stack.database.books().await.delivered().await;

    let confirmed: BTreeSet<String> = confirmed.into_iter().map(order_id).collect();
    let announced: Vec<&String> = events.iter().map(|event| &event.order_id).collect();
    assert_eq!(announced.len(), confirmed.len(), "one event each");
    assert_eq!(
        announced.into_iter().cloned().collect::<BTreeSet<_>>(),
        confirmed
    );
    for event in &events {
        assert_eq!(
            (event.kind.as_str(), event.attempts),
            ("order.confirmed", 1),
            "{event:?}"
        );
        let (sent, received) = (
            span_of(&stack, &event.id, Kind::Producer).await,
            span_of(&stack, &event.id, Kind::Consumer).await,
        );
        assert_eq!(
            (sent.service.as_str(), received.service.as_str()),
            ("data", "downstream")
        );
        assert_eq!(
            sent.trace_id, received.trace_id,
            "one trace for the delivery"
        );
        eventually("downstream has applied it", async || {
            (applied(&stack, &event.id) == (1, 0)).then_some(())
        })
        .await;
    }
    stack
        .wait_for_metric("data", "outbox_pending_events", &[], |value| value == 0.0)
        .await;
    stack.stop().await;
}

/// One stack for all that can happen to a delivery, since a lease has to run out in the end.
#[tokio::test]
async fn events_arrive_whoever_dies_and_count_once() {
    let proxy = Proxy::start();
    let mut stack = Stack::builder()
        .env("data", "DOWNSTREAM_URL", &proxy.url())
        .start()
        .await;
    proxy.forward_to(stack.url("downstream"));

    answers_are_lost(&stack, &proxy).await;
    downstream_is_away(&mut stack, &proxy).await;
    data_dies_between_commit_and_delivery(&mut stack, &proxy).await;
    stack.stop().await;
}

/// The event of an order, once it is committed.
async fn event_of(stack: &Stack, order: &str) -> EventRow {
    let mut books = stack.database.books().await;
    let events = books.events().await;
    let of_order: Vec<_> = events
        .into_iter()
        .filter(|event| event.order_id == order)
        .collect();
    assert_eq!(
        of_order.len(),
        1,
        "committed together with the order: {of_order:?}"
    );
    of_order.into_iter().next().unwrap()
}

/// Downstream got it, data cannot know: it sends it again, and that changes nothing.
async fn answers_are_lost(stack: &Stack, proxy: &Proxy) {
    proxy.deliveries(Deliveries::LoseAnswer);
    let event = event_of(stack, &order_id(stack.order("omni-mug", 1).await)).await;
    eventually("a second delivery", async || {
        (applied(stack, &event.id).1 >= 1).then_some(())
    })
    .await;
    assert!(!event.delivered, "not while no answer has come");
    proxy.deliveries(Deliveries::Pass);
    stack.database.books().await.delivered().await;
    let answers: Vec<_> = proxy
        .seen()
        .into_iter()
        .filter(|seen| seen.id == event.id)
        .map(|seen| seen.applied)
        .collect();
    assert!(answers.len() >= 2, "{answers:?}");
    let first = answers
        .iter()
        .filter(|applied| **applied == Some(true))
        .count();
    assert_eq!(
        first, 1,
        "applied once, whatever the number of deliveries: {answers:?}"
    );
    assert_eq!(answers[0], Some(true), "{answers:?}");
    let errors = [("outcome", "error")];
    stack
        .wait_for_metric("data", "outbox_deliveries_total", &errors, |value| {
            value >= 1.0
        })
        .await;
}

/// Paid, and then downstream is gone before it could be told.
async fn downstream_is_away(stack: &mut Stack, proxy: &Proxy) {
    proxy.deliveries(Deliveries::Hold);
    let event = event_of(stack, &order_id(stack.order("omni-mug", 1).await)).await;
    stack.kill("downstream", Signal::SIGKILL).await;
    proxy.deliveries(Deliveries::Pass);
    // The held delivery times out; the next one finds nobody.
    let mut books = stack.database.books().await;
    eventually("another attempt", async || {
        let events = books.events().await;
        events
            .iter()
            .any(|row| row.id == event.id && row.attempts >= 2)
            .then_some(())
    })
    .await;
    assert!(
        stack
            .scrape("data")
            .await
            .value("outbox_pending_events", &[])
            >= Some(1.0),
        "the backlog shows"
    );
    stack.restart("downstream").await;
    books.delivered().await;
    assert_eq!(applied(stack, &event.id), (1, 0));
}

/// The order is committed, its event under way: what the dead relay has claimed, the next one takes over.
async fn data_dies_between_commit_and_delivery(stack: &mut Stack, proxy: &Proxy) {
    proxy.deliveries(Deliveries::Hold);
    let orders = [
        order_id(stack.order("omni-mug", 1).await),
        order_id(stack.order("omni-mug", 1).await),
    ];
    let events = [
        event_of(stack, &orders[0]).await,
        event_of(stack, &orders[1]).await,
    ];
    eventually("a delivery under way", async || {
        proxy
            .seen()
            .iter()
            .any(|seen| seen.id == events[0].id && seen.applied.is_none())
            .then_some(())
    })
    .await;
    stack.kill("data", Signal::SIGKILL).await;
    assert!(
        !event_of(stack, &orders[0]).await.delivered,
        "the row outlives the process"
    );
    proxy.deliveries(Deliveries::Pass);
    stack.restart("data").await;
    stack.database.books().await.delivered().await;
    for event in events {
        assert_eq!(applied(stack, &event.id), (1, 0), "{event:?}");
    }
}

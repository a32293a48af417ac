//! Rate, errors and duration on the real stack. How a request may end inside one process, panics included, is
//! tested in the telemetry crate (`tests/suite`).

use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::{Capture, Scrape, Stack, Status, Wire, eventually};

const SERVER: &str = "http_server_request_duration_seconds_count";
const CLIENT: &str = "http_client_request_duration_seconds_count";
const ACTIVE: &str = "http_server_active_requests";

/// Series of one route that are not at zero: status, error type, outcome, count.
fn ends(
    scrape: &Scrape,
    metric: &str,
    label: &str,
    route: &str,
) -> Vec<(String, String, String, f64)> {
    let mut found: Vec<_> = scrape
        .matching(metric, &[(label, route)])
        .into_iter()
        .filter(|sample| sample.value > 0.0)
        .map(|sample| {
            let label = |name: &str| sample.labels[name].clone();
            (
                label("http_response_status_code"),
                label("error_type"),
                label("outcome"),
                sample.value,
            )
        })
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

fn end(status: &str, error_type: &str, outcome: &str, count: f64) -> (String, String, String, f64) {
    (
        status.to_owned(),
        error_type.to_owned(),
        outcome.to_owned(),
        count,
    )
}

#[tokio::test]
async fn a_failing_dependency_is_an_error_of_every_service_above_it() {
    let stack = Stack::start().await;
    let sku = stack.sku().await;
    stack
        .fault_set("downstream", "errors", json!({"status": 502}))
        .await
        .expect(200);

    let reply = stack.order(&sku, 1).await.expect(503);

    assert!(!reply.header("retry-after").is_empty(), "{reply:?}");
    let (gateway, data, downstream) = (
        stack.scrape("gateway").await,
        stack.scrape("data").await,
        stack.scrape("downstream").await,
    );
    let one_503 = [end("503", "503", "error", 1.0)];
    assert_eq!(ends(&gateway, SERVER, "http_route", "/api/orders"), one_503);
    assert_eq!(
        ends(&gateway, CLIENT, "url_template", "/orders"),
        one_503,
        "not repeated without a key"
    );
    assert_eq!(ends(&data, SERVER, "http_route", "/orders"), one_503);
    // Paying is keyed by the order, and a 502 may pass: it was tried twice. Each attempt is counted.
    assert_eq!(
        ends(&data, CLIENT, "url_template", "/payments"),
        [end("502", "502", "error", 2.0)]
    );
    assert_eq!(
        ends(&downstream, SERVER, "http_route", "/payments"),
        [end("502", "502", "error", 2.0)]
    );
    let receiver = stack.stop().await;
    let spans = receiver.trace(&reply.trace_id());
    let retries: Vec<String> = spans
        .iter()
        .filter(|span| span.service == "data" && span.name == "POST /payments")
        .map(|span| span.text("http.request.resend_count"))
        .collect();
    assert_eq!(retries, ["", "1"]);
}

#[tokio::test]
async fn an_answer_that_cannot_be_used_is_an_error_of_the_call() {
    let large = json!({"sku": "x".repeat(2 << 20)});
    for (answer, error_type) in [(json!({"sku": "mug"}), "decode"), (large, "body")] {
        let data = Capture::answering(&answer);
        let stack = Stack::builder()
            .only(&["gateway"])
            .env("gateway", "DATA_URL", &data.url())
            .start()
            .await;
        let reply = stack.get_data().await.expect(503);
        let gateway = stack.scrape("gateway").await;
        assert_eq!(
            ends(&gateway, CLIENT, "url_template", "/items/quote"),
            [end("200", error_type, "error", 1.0)]
        );
        let receiver = stack.stop().await;
        let spans = receiver.trace(&reply.trace_id());
        let call = spans.iter().find(|span| !span.is_root()).expect("a call");
        assert_eq!(
            (call.status, call.text("error.type").as_str()),
            (Status::Error, error_type)
        );
    }
}

#[tokio::test]
async fn a_call_waits_while_its_peer_restarts_and_counts_once() {
    let quote = json!({"sku": "mug", "price_cents": 5, "currency": "EUR"});
    let item =
        json!({"sku": "mug", "name": "Mug", "stock": 1, "unit_price_cents": 5, "quote": quote});
    let data = Capture::answering(&item);
    let mut wire = Wire::to(&data.url()).await;
    let stack = Stack::builder()
        .only(&["gateway"])
        .env("gateway", "DATA_URL", wire.url())
        .start()
        .await;
    wire.close().await;
    let restart = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        wire.open().await;
    };
    let (reply, ()) = tokio::join!(stack.get_data(), restart);
    reply.expect(200);
    let gateway = stack.scrape("gateway").await;
    assert_eq!(
        ends(&gateway, CLIENT, "url_template", "/items/quote"),
        [end("200", "", "ok", 1.0)]
    );
    stack.stop().await;
}

#[tokio::test]
async fn a_panic_is_answered_counted_and_logged_with_its_place() {
    let stack = Stack::start().await;
    let sku = stack.sku().await;
    stack
        .fault_set("downstream", "panic", json!({}))
        .await
        .expect(200);

    let reply = stack.order(&sku, 1).await.expect(503);

    let downstream = stack.scrape("downstream").await;
    let panicked = [end("500", "panic", "error", 1.0)];
    assert_eq!(
        ends(&downstream, SERVER, "http_route", "/payments"),
        panicked
    );
    assert_eq!(downstream.value(ACTIVE, &[]), Some(0.0));
    let log = stack.log_lines("downstream");
    let mut errors = log.iter().filter(|line| line["level"] == "ERROR");
    let line = errors.next().expect("a log line of the panic");
    assert_eq!(line["trace_id"], reply.trace_id(), "{line}");
    let file = line["code.file.path"].as_str().unwrap_or_default();
    assert!(
        file.ends_with("downstream/src/faults.rs"),
        "where it happened: {line}"
    );
    assert_eq!(errors.next(), None, "logged once");
    stack.fault_clear("downstream", "panic").await.expect(200);
    stack.get_data().await.expect(200);
    let receiver = stack.stop().await;
    let spans = receiver.trace(&reply.trace_id());
    let span = spans.iter().find(|span| span.service == "downstream");
    let span = span.expect("a span of the request that panicked");
    assert_eq!(
        (span.status, span.text("error.type").as_str()),
        (Status::Error, "panic")
    );
}

#[tokio::test]
async fn what_the_caller_gets_wrong_is_no_error() {
    let stack = Stack::start().await;
    let sku = stack.sku().await;

    stack.order("no-such-thing", 1).await.expect(404);
    stack.order(&sku, 0).await.expect(422);
    stack.get("/no/such/path").await.expect(404);
    stack.get("/another").await.expect(404);
    stack.get("/api/orders/not-an-id").await.expect(404);

    let (gateway, data) = (stack.scrape("gateway").await, stack.scrape("data").await);
    let orders = ends(&gateway, SERVER, "http_route", "/api/orders");
    assert_eq!(
        orders,
        [end("404", "", "ok", 1.0), end("422", "", "ok", 1.0)]
    );
    assert_eq!(
        ends(&gateway, SERVER, "http_route", "/api/orders/{id}"),
        [end("404", "", "ok", 1.0)]
    );
    // Paths that nobody declared share one series.
    assert_eq!(
        ends(&gateway, SERVER, "http_route", ""),
        [end("404", "", "ok", 2.0)]
    );
    assert_eq!(
        ends(&gateway, CLIENT, "url_template", "/orders"),
        [end("404", "404", "ok", 1.0)]
    );
    assert_eq!(
        ends(&data, SERVER, "http_route", "/orders"),
        [end("404", "", "ok", 1.0)]
    );
    for scrape in [gateway, data] {
        assert_eq!(scrape.value(SERVER, &[("outcome", "error")]), Some(0.0));
        assert_eq!(scrape.value(SERVER, &[("outcome", "cancelled")]), Some(0.0));
    }
    stack.stop().await;
}

#[tokio::test]
async fn a_hanging_dependency_times_out_and_an_impatient_caller_is_counted_apart() {
    let stack = Stack::start().await;
    stack.get_data().await.expect(200);
    stack
        .fault_set("downstream", "hang", json!({}))
        .await
        .expect(200);

    let patient = stack.get_data();
    let hangs_up = async {
        let address = stack.url("gateway").replace("http://", "");
        let mut caller = TcpStream::connect(address).await.expect("connect");
        caller
            .write_all(b"GET /api/data HTTP/1.1\r\nhost: t\r\n\r\n")
            .await
            .expect("send");
        let active = [("http_route", "/api/data")];
        stack
            .wait_for_metric("gateway", ACTIVE, &active, |value| value == 2.0)
            .await;
        drop(caller);
        let cancelled = [("http_route", "/api/data"), ("outcome", "cancelled")];
        stack
            .wait_for_metric("gateway", SERVER, &cancelled, |value| value == 1.0)
            .await;
    };
    let (reply, ()) = tokio::join!(patient, hangs_up);

    assert_eq!(reply.status, 504, "{reply:?}");
    let routes = [
        ("gateway", "/api/data"),
        ("data", "/items/quote"),
        ("downstream", "/quotes/{sku}"),
    ];
    for (service, route) in routes {
        // The one that was given up by its caller may end later than the one that was answered.
        eventually(&format!("{service} is idle"), async || {
            let scrape = stack.scrape(service).await;
            (scrape.value(ACTIVE, &[("http_route", route)]) == Some(0.0)).then_some(())
        })
        .await;
        let found = ends(&stack.scrape(service).await, SERVER, "http_route", route);
        let ended: f64 = found.iter().map(|(.., count)| count).sum();
        let timeouts = end("504", "timeout", "error", 1.0);
        assert!(
            found.contains(&end("200", "", "ok", 1.0)),
            "{service}: {found:?}"
        );
        if service == "gateway" {
            assert!(found.contains(&timeouts), "{service}: {found:?}");
            assert!(
                found.contains(&end("", "cancelled", "cancelled", 1.0)),
                "{service}: {found:?}"
            );
            assert_eq!(ended, 3.0, "each counted once: {found:?}");
        }
    }
    let receiver = stack.stop().await;
    let spans = receiver.trace(&reply.trace_id());
    let root = spans.iter().find(|span| span.is_root()).expect("a root");
    assert_eq!(
        (root.status, root.text("error.type").as_str()),
        (Status::Error, "timeout")
    );
    assert_eq!(root.text("http.response.status_code"), "504");
    let given_up: Vec<_> = receiver
        .spans()
        .into_iter()
        .filter(|span| {
            span.service == "gateway" && span.is_root() && span.text("error.type") == "cancelled"
        })
        .collect();
    assert_eq!(given_up.len(), 1, "{given_up:#?}");
    assert_eq!(given_up[0].status, Status::Unset);
    assert_eq!(given_up[0].text("http.response.status_code"), "");
}

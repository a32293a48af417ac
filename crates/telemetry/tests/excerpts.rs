//! What docs/ADOPT.md (sections 5 to 7) and docs/TELEMETRY.md show in excerpts, compiled; an end-to-end test (`adopt_guide`) holds them equal.
#![expect(
    dead_code,
    missing_docs,
    reason = "the pages show pieces, not a program"
)]

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::connect_info::IntoMakeServiceWithConnectInfo;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use axum::{Router, http::HeaderMap, routing::get};
use telemetry::db::{Pool, Statement};
use telemetry::http_client::{self, Call, UrlTemplate};
use telemetry::{Metrics, http_server};

#[derive(serde::Deserialize)]
struct Quote {
    cents: i64,
}

async fn call(url: &str) -> Result<reqwest::Response, Box<dyn Error>> {
    let http = http_client::client("peer", Duration::from_secs(2))?;
    let request = http.get(url).with_extension(UrlTemplate("/quotes/{sku}"));
    let response = request.send().await?;

    Ok(response)
}

async fn quote(response: reqwest::Response) -> Result<Quote, Box<dyn Error>> {
    let call = Call::of(&response); // before the body is read: keeps the call open
    let body = response.bytes().await?;
    let quote: Quote =
        serde_json::from_slice(&body).inspect_err(|_| call.failed(http_client::DECODE))?;

    Ok(quote)
}

const ITEM: Statement = Statement::new("SELECT", "items", "SELECT price FROM items WHERE sku = $1");

async fn price(database_url: &str, sku: &str) -> Result<i64, Box<dyn Error>> {
    let pool = Pool::new("shop", database_url.parse()?, 10, Duration::from_secs(1)); // 10 connections, 1 s of patience

    let mut connection = pool.acquire().await?; // or pool.begin() for a transaction
    let query = sqlx::query_scalar(ITEM.sql).bind(sku);
    let price: i64 = ITEM.run(query.fetch_one(&mut *connection)).await?;

    Ok(price)
}

telemetry::label! {
    /// What became of an order.
    pub enum Taken { Accepted = "accepted", Refused = "refused" }
}
telemetry::metrics! {
    /// Orders, by what became of them.
    pub ORDERS: Counter { taken: Taken } = "orders_total", unit "{order}";
    /// How long orders wait for payment.
    pub WAIT: Histogram = "order_wait_seconds", unit "s", buckets &[0.1, 1.0, 10.0];
}

fn pay(order: u64) {
    let _span = tracing::info_span!("payment", order.id = order).entered();
    tracing::info!("paid");

    ORDERS.with(Taken::Accepted).increment(1);
    WAIT.record(0.25);
}

#[test]
fn a_payment_is_seen() {
    let order = 7;

    let ((), seen) = telemetry::testing::capture(|| pay(order));
    assert_eq!(seen.spans()[0].name, "payment");
    assert_eq!(seen.logs()[0].trace_id, seen.spans()[0].trace_id);
    assert_eq!(seen.metric("orders_total", &[("taken", "accepted")]), 1.0);
}

async fn order(Path(id): Path<u64>) -> String {
    pay(id);
    format!("order {id} is paid\n")
}

async fn metrics(State(metrics): State<Metrics>, headers: HeaderMap) -> impl IntoResponse {
    metrics.answer(&headers)
}

fn app() -> IntoMakeServiceWithConnectInfo<Router, SocketAddr> {
    Router::new()
        .route("/orders/{id}", get(order))
        .layer(http_server::ServerLayer::axum().port(8080)) // last: outermost, and after routing
        .into_make_service_with_connect_info::<SocketAddr>()
}

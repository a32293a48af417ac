//! A service whose traces, metrics and logs lead to each other.
use std::{env, error::Error, net::SocketAddr, time::Duration};

use axum::extract::{Path, State};
use axum::{Router, http::HeaderMap, http::Response, routing::get};
use telemetry::http_server::{ServerLayer, declare_route};
use telemetry::{Metrics, ServiceInfo, Settings};
use tokio::signal::unix::{SignalKind, signal};

async fn hello(Path(name): Path<String>) -> String {
    tracing::info!("said hello");
    format!("Hello, {name}!\n")
}

async fn scrape(State(metrics): State<Metrics>, headers: HeaderMap) -> Response<String> {
    metrics.answer(&headers)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let settings = Settings::from_lookup(&|name| env::var(name).ok())?;
    let info = ServiceInfo {
        name: env!("CARGO_PKG_NAME").into(),
        version: env!("CARGO_PKG_VERSION").into(),
    };
    let telemetry = telemetry::init(info, &settings, &[])?;
    declare_route("GET", "/hello/{name}", &[200]);
    let app = Router::new()
        .route("/hello/{name}", get(hello))
        .layer(ServerLayer::axum()) // traces and counts the routes above
        .route("/ready", get(|| async { "ready\n" }))
        .route("/metrics", get(scrape))
        .with_state(telemetry.metrics())
        .into_make_service_with_connect_info::<SocketAddr>();
    let address = env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:8090".into());
    let listener = tokio::net::TcpListener::bind(address).await?;
    tracing::info!(http_addr = %listener.local_addr()?, "listening");
    let mut terminated = signal(SignalKind::terminate())?;
    let stop = async move {
        tokio::select! { _ = tokio::signal::ctrl_c() => {} _ = terminated.recv() => {} }
    };
    let served = axum::serve(listener, app).with_graceful_shutdown(stop);
    let served = served.await;
    telemetry.shutdown(Duration::from_secs(5)); // sends what is queued
    Ok(served?)
}

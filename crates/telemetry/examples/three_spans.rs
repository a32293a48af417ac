//! The handler that docs/OVERHEAD.md compares: a server span, two children, a log line. `loadtest/peers` has the same elsewhere.
use std::{env, error::Error, time::Duration};

use axum::{Router, routing::get};
use telemetry::http_server::ServerLayer;
use telemetry::{ServiceInfo, Settings};
use tokio::signal::unix::{SignalKind, signal};

async fn work() -> &'static str {
    tracing::info_span!(
        "look up",
        otel.kind = "client",
        db.system.name = "postgresql",
        db.operation.name = "SELECT"
    )
    .in_scope(|| {});
    tracing::info_span!(
        "call",
        otel.kind = "client",
        server.address = "127.0.0.1",
        server.port = 8082
    )
    .in_scope(|| {});
    tracing::info!(items = 2, "done");
    "done\n"
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let settings = Settings::from_lookup(&|name| env::var(name).ok())?;
    let info = ServiceInfo {
        name: "three-spans".into(),
        version: "1.0.0".into(),
    };
    let telemetry = telemetry::init(info, &settings, &[])?;
    let app = Router::new().route("/work", get(work));
    // Without any telemetry there is no layer either, as in the peers.
    let app = match settings.disabled {
        true => app,
        false => app.layer(ServerLayer::axum()),
    };
    let listener = tokio::net::TcpListener::bind(env::var("LISTEN")?).await?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        served = async { axum::serve(listener, app).await } => served?,
        _ = terminate.recv() => {}
    }
    telemetry.shutdown(Duration::from_secs(5));
    Ok(())
}

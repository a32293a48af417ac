//! A worker without HTTP: each of its rounds is a trace.
use std::{env, error::Error, time::Duration};

use telemetry::{ServiceInfo, Settings};
use tokio::signal::unix::{SignalKind, signal};

#[tracing::instrument]
async fn count_stock(round: u64) {
    tracing::info!("counted the stock");
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let settings = Settings::from_lookup(&|name| env::var(name).ok())?;
    let info = ServiceInfo {
        name: env!("CARGO_PKG_NAME").into(),
        version: env!("CARGO_PKG_VERSION").into(),
    };
    let telemetry = telemetry::init(info, &settings, &[])?;
    let mut terminated = signal(SignalKind::terminate())?;
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    for round in 0.. {
        tokio::select! {
            _ = ticks.tick() => count_stock(round).await,
            _ = tokio::signal::ctrl_c() => break,
            _ = terminated.recv() => break,
        }
    }
    telemetry.shutdown(Duration::from_secs(5)); // sends what is queued
    Ok(())
}

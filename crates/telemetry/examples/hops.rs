//! A service that makes the calls that it is asked for: the W3C's suites for `traceparent`, `tracestate` and `baggage` want one
//! (docs/CONFORMANCE.md). `POST /test` with `[{"url": …, "arguments": […]}, …]` posts to each URL its arguments.
use std::{env, error::Error, net::SocketAddr, time::Duration};

use axum::extract::State;
use axum::{Router, http::StatusCode, routing::post};
use reqwest_middleware::ClientWithMiddleware;
use serde_json::Value;
use telemetry::http_client::client;
use telemetry::http_server::{ServerLayer, declare_route};
use telemetry::{ServiceInfo, Settings};

async fn test(State(client): State<ClientWithMiddleware>, body: String) -> StatusCode {
    let Ok(calls) = serde_json::from_str::<Vec<Value>>(&body) else {
        return StatusCode::BAD_REQUEST;
    };
    for call in calls {
        let url = call["url"].as_str().unwrap_or_default();
        let request = client.post(url).json(&call["arguments"]);
        if let Err(why) = request.send().await {
            tracing::warn!(%why, "a call failed");
        }
    }
    StatusCode::OK
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let settings = Settings::from_lookup(&|name| env::var(name).ok())?;
    let info = ServiceInfo {
        name: "hops".into(),
        version: env!("CARGO_PKG_VERSION").into(),
    };
    let telemetry = telemetry::init(info, &settings, &[])?;
    declare_route("POST", "/test", &[200, 400]);
    let app = Router::new()
        .route("/test", post(test))
        .layer(ServerLayer::axum())
        .with_state(client("hops", Duration::from_secs(5))?)
        .into_make_service_with_connect_info::<SocketAddr>();
    let address = env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:5000".into());
    let listener = tokio::net::TcpListener::bind(address).await?;
    tracing::info!(http_addr = %listener.local_addr()?, "listening");
    axum::serve(listener, app).await?;
    telemetry.shutdown(Duration::from_secs(5));
    Ok(())
}

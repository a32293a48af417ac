//! The handler of docs/OVERHEAD.md in axum with tracing-opentelemetry, as their guides show it.

use std::env;
use std::error::Error;

use axum::http::{HeaderMap, StatusCode};
use axum::{Router, routing::get};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Instrument;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::prelude::*;

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(|key| key.as_str()).collect()
    }
}

async fn work(headers: HeaderMap) -> (StatusCode, &'static str) {
    let span = tracing::info_span!(
        "GET /work",
        otel.kind = "server",
        http.request.method = "GET",
        http.route = "/work",
        url.path = "/work",
        url.scheme = "http",
        http.response.status_code = 200
    );
    let _ = span.set_parent(TraceContextPropagator::new().extract(&Headers(&headers)));
    let inner = async {
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
        (StatusCode::OK, "done\n")
    };
    inner.instrument(span).await
}

fn telemetry() -> Result<Option<SdkTracerProvider>, Box<dyn Error>> {
    if env::var("OTEL_SDK_DISABLED").is_ok_and(|value| value == "true") {
        return Ok(None);
    }
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .build()?;
    let resource = Resource::builder().with_service_name("peer-axum").build();
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource)
        .build();
    tracing_subscriber::registry()
        .with(tracing_opentelemetry::layer().with_tracer(provider.tracer("peer")))
        .with(tracing_subscriber::fmt::layer().json())
        .with(tracing_subscriber::EnvFilter::new("info"))
        .init();
    Ok(Some(provider))
}

fn main() -> Result<(), Box<dyn Error>> {
    // Before the runtime: its exporter blocks.
    let provider = telemetry()?;
    let served = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(serve());
    if let Some(provider) = provider {
        provider.shutdown()?;
    }
    served
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let listener = tokio::net::TcpListener::bind(env::var("LISTEN")?).await?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let app = Router::new().route("/work", get(work));
    tokio::select! {
        served = async { axum::serve(listener, app).await } => served?,
        _ = terminate.recv() => {}
    }
    Ok(())
}

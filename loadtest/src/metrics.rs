//! What the clients saw, as Prometheus metrics: the names, the registry, the listener.
//!
//! A registry of its own beside telemetry's: these are the users' numbers, not this process's. Same buckets and the same
//! meaning of `outcome` as the gateway's `http_server_request_duration_seconds`, so the two may be put on one graph.

use std::net::SocketAddr;

use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::{Context, Result};
use metrics::{Key, KeyName, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Histogram: from before sending to the last byte of the answer. Its `_count` is the number of requests really sent:
/// what coordinated-omission mitigation adds is in the reports only.
pub const REQUEST_DURATION: &str = "loadtest_request_duration_seconds";
/// Gauge: users running now.
pub const USERS: &str = "loadtest_users";

/// Label: `GET`, `POST`.
pub const METHOD: &str = "http_request_method";
/// Label: route pattern, as `/api/orders/{id}`.
pub const ROUTE: &str = "http_route";
/// Label: status of the answer; empty when none came.
pub const STATUS: &str = "http_response_status_code";
/// Label: `error` for 5xx, no answer and half an answer; `ok` otherwise, 4xx included, as the server counts.
pub const OUTCOME: &str = "outcome";

const METADATA: Metadata<'static> =
    Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

/// The registry. Cheap to clone.
#[derive(Clone)]
pub struct ClientMetrics {
    recorder: std::sync::Arc<metrics_exporter_prometheus::PrometheusRecorder>,
    handle: PrometheusHandle,
}

impl ClientMetrics {
    /// An empty registry.
    pub fn new(version: &str) -> Result<Self> {
        let buckets = telemetry::names::find(telemetry::names::HTTP_SERVER_DURATION)
            .context("the catalogue has no http_server_request_duration_seconds")?
            .buckets;
        let recorder = PrometheusBuilder::new()
            .add_global_label("service_name", crate::SERVICE_NAME)
            .add_global_label("service_version", version)
            .set_buckets_for_metric(Matcher::Full(REQUEST_DURATION.to_owned()), buckets)?
            .build_recorder();
        let handle = recorder.handle();
        let describe = |name: &'static str| KeyName::from_const_str(name);
        recorder.describe_histogram(
            describe(REQUEST_DURATION),
            None,
            "Time from before sending a request to the last byte of its answer.".into(),
        );
        recorder.describe_gauge(describe(USERS), None, "Users running now.".into());
        Ok(Self {
            recorder: std::sync::Arc::new(recorder),
            handle,
        })
    }

    /// One request.
    pub fn request(&self, labels: Vec<Label>, seconds: f64) {
        self.recorder
            .register_histogram(&Key::from_parts(REQUEST_DURATION, labels), &METADATA)
            .record(seconds);
    }

    /// A user came (1) or went (-1).
    pub fn users(&self, change: f64) {
        self.recorder
            .register_gauge(&Key::from_name(USERS), &METADATA)
            .increment(change);
    }

    /// Prometheus text.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Moves samples into the buckets: without a scraper they would pile up.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// Serves `/metrics` until the process ends; returns the address, which matters for port 0.
    pub fn serve(&self, address: SocketAddr) -> Result<SocketAddr> {
        let shared = web::Data::new(self.clone());
        let server = HttpServer::new(move || {
            App::new()
                .app_data(shared.clone())
                .route("/metrics", web::get().to(scrape))
        })
        .workers(1)
        .disable_signals()
        .bind(address)
        .with_context(|| format!("--metrics-listen {address} cannot be used; give a free address, or 127.0.0.1:0 for any free port"))?;
        let bound = server.addrs()[0];
        tokio::spawn(server.run());
        Ok(bound)
    }
}

async fn scrape(metrics: web::Data<ClientMetrics>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(metrics.render())
}

//! What the clients saw, as Prometheus metrics: the names, the registry, the listener.
//!
//! A registry of its own beside telemetry's: these are the users' numbers, not this process's. Same buckets and the same
//! meaning of `outcome` as the gateway's `http_server_request_duration_seconds`, so the two may be put on one graph.

use std::net::SocketAddr;

use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::{Context, Result};
use metrics::with_local_recorder;
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use telemetry::names::HTTP_SECONDS;
use telemetry::names::labels::{Method, Route, Status};
use telemetry::{Metric, Outcome};

telemetry::metrics! {
    // Its `_count` is the number of requests really sent: what coordinated-omission mitigation adds is in the reports only.
    /// Time from before sending a request to the last byte of its answer.
    pub REQUEST_DURATION: Histogram {
        http_request_method: Method,
        http_route: Route,
        http_response_status_code: Status,
        outcome: Outcome,
    } = "loadtest_request_duration_seconds", unit "s", buckets HTTP_SECONDS;
    /// Users running now.
    pub USERS: Gauge = "loadtest_users", unit "{user}";
}

/// The registry. Cheap to clone.
#[derive(Clone)]
pub struct ClientMetrics {
    recorder: std::sync::Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
}

impl ClientMetrics {
    /// An empty registry.
    pub fn new(version: &str) -> Result<Self> {
        let duration = REQUEST_DURATION.metric();
        let recorder = PrometheusBuilder::new()
            .add_global_label("service_name", crate::SERVICE_NAME)
            .add_global_label("service_version", version)
            .set_buckets_for_metric(Matcher::Full(duration.name.to_owned()), duration.buckets)?
            .build_recorder();
        let handle = recorder.handle();
        with_local_recorder(&recorder, || METRICS.iter().for_each(Metric::describe));
        Ok(Self {
            recorder: std::sync::Arc::new(recorder),
            handle,
        })
    }

    /// One request.
    pub fn request(&self, labels: (Method, Route, Status, Outcome), seconds: f64) {
        with_local_recorder(&*self.recorder, || {
            REQUEST_DURATION.with(labels).record(seconds);
        });
    }

    /// A user came (1) or went (-1).
    pub fn users(&self, change: f64) {
        with_local_recorder(&*self.recorder, || USERS.with(()).increment(change));
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

#[cfg(test)]
mod tests {
    use super::*;

    const GUIDE: &str = include_str!("../../docs/LOADTEST.md");

    #[test]
    fn the_guide_and_the_page_know_every_metric() {
        let metrics = ClientMetrics::new("1").unwrap();
        metrics.users(1.0);
        let labels = (
            Method("GET"),
            Route("/health".to_owned()),
            Status("200".to_owned()),
            Outcome::Ok,
        );
        metrics.request(labels, 0.3);
        let page = metrics.render();
        for metric in METRICS {
            let (name, kind) = (metric.name, metric.kind.as_str());
            assert!(page.contains(&format!("# HELP {name} {}", metric.help)));
            assert!(page.contains(&format!("# TYPE {name} {kind}")), "{page}");
            let mut rows = GUIDE.lines();
            let row = rows.find(|line| line.starts_with(&format!("| `{name}` | {kind}")));
            let row = row.expect(name);
            let known = |label: &&str| row.contains(&format!("`{label}`"));
            assert!(metric.labels.iter().all(known), "{row}");
        }
        assert!(
            page.contains("le=\"0.25\"} 0") && page.contains("le=\"0.5\"} 1"),
            "{page}"
        );
    }
}

//! The embedded telemetry backend: OTLP in, Jaeger's, Loki's and Prometheus's query APIs and a web page out, everything in memory.

mod access;
mod answer;
mod attributes;
mod body;
mod budget;
mod clock;
mod connections;
mod cors;
mod counters;
mod critical_path;
mod exposition;
mod grafana;
mod grpc;
mod guard;
mod inflate;
mod ingest;
mod jaeger;
mod listeners;
mod log;
pub mod logql;
mod logs_api;
mod loki;
mod metadata;
mod metrics;
mod metrics_api;
pub mod model;
mod otlp;
mod page;
mod pages_api;
mod params;
mod prometheus;
mod quoted;
mod rules;
mod samples;
mod scrape;
mod search;
mod series;
mod server;
mod settings;
mod stats;
pub mod store;
mod tags;
mod targets;
mod tree;
mod view;

use actix_web::web::{self, ServiceConfig};

pub use access::{Access, Token};
pub use cors::Origins;
pub use metrics::METRICS;
pub use rules::{Rehearsal, check_rules};
pub use server::{Console, run, start};
pub use settings::{Notify, OtlpPort, Settings, parse_memory, parse_size};

/// All routes.
fn routes(config: &mut ServiceConfig) {
    // POST /v1/traces, /v1/logs, /v1/metrics: OTLP.
    ingest::configure(config);
    // GET /api/services, /api/services/{service}/operations, /api/operations, /api/traces[/{id}], /api/dependencies: Jaeger.
    jaeger::configure(config);
    // GET /api/console/traces[/{id}]: the traces that the page shows.
    view::configure(config);
    // GET /api/logs.
    logs_api::configure(config);
    // GET, POST /loki/api/v1/query_range, …: Loki.
    loki::configure(config);
    // GET, POST /api/v1/query_range, …: Prometheus.
    prometheus::configure(config);
    // GET /api/metrics, /api/targets: scraped and received metrics.
    metrics_api::configure(config);
    // GET /api/v1/rules, /api/v1/alerts, /api/v1/alertmanagers, /api/alerts: the rules, evaluated.
    rules::configure(config);
    // GET /api/events, /api/runbooks/{alertname}, /api/traces/{id}/otlp, /api/differs; /api/herald/…, /api/faults/…: other
    // data for the pages.
    pages_api::configure(config);
    // GET /api/stats, /metrics, /ready, /live: about the console itself.
    stats::configure(config);
    // GET /, /trace/{id}, /static/…: the page.
    page::configure(config);
    // GET /d/{uid}, /explore: where links to Grafana lead.
    grafana::configure(config);
    config.default_service(web::to(server::nothing_here));
}

/// Those of the port that takes nothing but OTLP.
fn otlp_routes(config: &mut ServiceConfig) {
    ingest::configure(config);
    config.default_service(web::to(server::nothing_but_otlp));
}

//! Standard names: the metrics and span attributes that this crate itself emits. A service's own are declared where they
//! belong, with [`metrics!`](crate::metrics!).
//!
//! Prometheus names are derived from the OpenTelemetry semantic conventions (pinned: [`SEMCONV_VERSION`]): dots become
//! underscores, the unit is a suffix, counters end in `_total`. `docs/TELEMETRY.md` is held equal to these declarations and
//! those of their other owners by a test, and so is every service's scrape.

mod attributes;
pub mod db;
pub mod http_client;
pub mod http_server;
pub mod labels;
pub mod process;

pub use self::attributes::{ATTRIBUTES, Attribute};
use crate::Metric;

/// Schema of the OpenTelemetry semantic conventions that the names follow; stands on everything exported.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.42.0";

/// Its version.
pub const SEMCONV_VERSION: &str = SCHEMA_URL
    .split_at("https://opentelemetry.io/schemas/".len())
    .1;

/// Labels on every series of a service.
pub const GLOBAL_LABELS: &[&str] = &["service_name", "service_version", "service_instance_id"];

/// Buckets of the HTTP conventions, in seconds.
pub const HTTP_SECONDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];
/// Buckets of the database conventions, in seconds.
pub const DB_SECONDS: &[f64] = &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

/// Every standard metric. `init` registers them by itself.
pub const METRICS: [&[Metric]; 4] = [
    http_server::METRICS,
    http_client::METRICS,
    db::METRICS,
    process::METRICS,
];

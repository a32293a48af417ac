//! One telemetry crate for every service: traces, metrics and logs that lead to each other.
//!
//! This is the only crate that names OpenTelemetry. A service calls [`init()`] once; what else it uses is a feature, and
//! none is on by default:
//!
//! - `actix`, `tower`, `axum`: the server side, `http_server`
//! - `reqwest`: outgoing calls, `http_client`
//! - `sqlx`: statements and connections, `db`
//!
//! Without any there are spans, logs, metrics, propagation and deadlines, enough for a worker.
//!
//! **The export threads** use a blocking `reqwest` client with rustls on ring, whatever the features. Blocking, because an export
//! must go on when the service's runtime is busy or has ended, and an async client in a thread without a runtime panics.
//! `reqwest`, because `http_client` is made of the same: one HTTP and TLS stack in the process.
//!
//! Tests see what a block emits with [`testing`].

#![cfg_attr(
    not(all(
        feature = "actix",
        feature = "axum",
        feature = "reqwest",
        feature = "sqlx"
    )),
    allow(dead_code, reason = "each feature uses a part of the core")
)]

mod baggage;
pub mod context;
#[cfg(feature = "sqlx")]
pub mod db;
#[cfg(feature = "sqlx")]
mod db_pool;
pub mod deadline;
pub mod error_type;
mod exporter;
mod exposition;
mod flood;
mod hex;
#[cfg(feature = "reqwest")]
pub mod http_client;
#[cfg(any(feature = "actix", feature = "tower"))]
pub mod http_server;
pub mod init;
mod logs;
pub mod messaging;
pub mod metric;
pub mod names;
mod observe;
mod otlp;
mod pace;
mod panics;
mod pipeline;
mod process;
mod propagation;
pub mod settings;
mod spans;
pub mod synthetic;
mod targets;
pub mod testing;
mod tracestate;

pub use exporter::retry_after;
pub use init::{InitError, LogLevel, Metrics, ServiceInfo, Telemetry, init};
pub use metric::{Counter, Gauge, Histogram, LabelValue, Metric};
pub use observe::Outcome;
pub use panics::log_panics;
pub use redact;
pub use settings::{SettingError, Settings};

/// The instrumentation scope of all that is exported.
const SCOPE: &str = "omnitrace";

/// Chooses ring as the process's TLS library, unless another is chosen already. The HTTP clients need one.
pub fn install_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

//! One telemetry crate for every service: traces, metrics and logs that lead to each other.
//!
//! This is the only crate that names OpenTelemetry. A service calls [`init()`] once, wraps its actix-web
//! application in [`http_server`], makes its calls through [`http_client`], runs its statements through [`db`].

mod baggage;
pub mod context;
pub mod db;
mod db_pool;
pub mod deadline;
mod exporter;
mod exposition;
mod flood;
pub mod http_client;
pub mod http_server;
pub mod init;
mod logs;
pub mod messaging;
pub mod names;
mod observe;
mod pace;
mod panics;
mod pipeline;
mod process;
mod propagation;
mod server_address;
mod server_body;
mod server_error;
pub mod settings;
mod spans;
mod targets;

pub use init::{InitError, LogLevel, Metrics, ServiceInfo, Telemetry, init};
pub use observe::Outcome;
pub use panics::log_panics;
pub use redact;
pub use settings::{SettingError, Settings};

/// Chooses ring as the process's TLS library, unless another is chosen already. The HTTP clients need one.
pub fn install_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

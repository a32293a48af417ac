//! The framework in which every OmniTrace service runs.
//!
//! A service gives [`run()`] its [`Settings`], the metrics that it declares and an async function that builds a [`Blueprint`]: route table,
//! shared state, dependencies, faults and background tasks. Everything else is the same for all of them
//! and lives here: settings from the environment, two listeners, the middleware order, error responses,
//! faults, draining and flushing.

mod admin;
#[cfg(feature = "count-allocations")]
mod allocations;
pub mod background;
mod backoff;
mod blueprint;
pub mod connection;
mod deadline;
pub mod dependencies;
pub mod error;
mod extract;
pub mod faults;
mod handover;
pub mod headers;
mod host_guard;
mod listener;
mod metrics;
mod middleware;
mod public;
mod readiness;
mod routes;
mod run;
mod serving;
pub mod settings;
mod shutdown;
pub mod upload;

pub use backoff::Backoff;
pub use blueprint::Blueprint;
pub use error::ApiError;
pub use extract::{Json, Query, parse as parse_json};
pub use handover::Handover;
pub use host_guard::{HostGuard, enter};
pub use listener::Sockets;
pub use metrics::METRICS;
pub use problem::{self, FieldError, Problem, ProblemType};
pub use routes::{Route, Routes};
pub use run::run;
pub use settings::{Defaults, Env, SettingError, Settings};
pub use shutdown::Shutdown;
pub use telemetry::deadline::Deadline;

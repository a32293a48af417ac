//! Service level objectives: one definition (`alerts/slo.toml`), two engines.
//!
//! [`rules`] renders Prometheus rules; [`Engine`] evaluates the same arithmetic in process, over scraped counters. A test feeds
//! both the same series and compares every alert at every step. The arithmetic is explained in `docs/SLO.md`.

mod cause;
mod definition;
pub mod duration;
mod engine;
mod error;
mod name;
mod objective;
mod profile;
mod promql;
mod render;
mod yaml;

pub use cause::Cause;
pub use definition::{Definition, Links, Probe, Severity};
pub use duration::Time;
pub use engine::{Burn, Engine, Gone, Reading, Sample, Series};
pub use error::Error;
pub use objective::{Indicator, Names, Objective, Scope};
pub use profile::{Pair, Profile};
pub use render::{release, rules};

/// Latency and number of requests of every service; the indicators count nothing else.
pub const REQUESTS: &str = "http_server_request_duration_seconds";

/// Its bucket bounds, in seconds: a latency objective is one of them, so that it is counted and not interpolated. A test holds them
/// equal to the catalogue of `telemetry`.
pub const BOUNDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// The committed definitions of this repository, for those who carry them inside.
pub mod embedded {
    /// `alerts/slo.toml`.
    pub const OBJECTIVES: &str = include_str!("../../../alerts/slo.toml");
    /// `alerts/causes.toml`.
    pub const CAUSES: &str = include_str!("../../../alerts/causes.toml");
}

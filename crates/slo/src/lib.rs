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

use telemetry::names::http_server::HTTP_SERVER_DURATION;

/// Latency and number of requests of every service; the indicators count nothing else.
pub const REQUESTS: &str = HTTP_SERVER_DURATION.name();

/// Its bucket bounds, in seconds: a latency objective is one of them, so that it is counted and not interpolated.
pub const BOUNDS: &[f64] = HTTP_SERVER_DURATION.metric().buckets;

/// The committed definitions of this repository, for those who carry them inside.
pub mod embedded {
    /// `alerts/slo.toml`.
    pub const OBJECTIVES: &str = include_str!("../../../alerts/slo.toml");
    /// `alerts/causes.toml`.
    pub const CAUSES: &str = include_str!("../../../alerts/causes.toml");
}

//! Service level objectives: one definition (`alerts/slo.toml`), rendered as Prometheus rules by [`rules`].
//!
//! The rules are the only arithmetic: Prometheus and the console evaluate the same file. It is explained in `docs/SLO.md`.

mod cause;
mod definition;
pub mod diagnosis;
pub mod duration;
mod error;
mod name;
mod objective;
mod profile;
mod promql;
mod render;
pub mod routing;
mod yaml;

pub use cause::Cause;
pub use definition::{Definition, Links, Probe, Severity};
pub use diagnosis::{Action, CauseKind};
pub use duration::Time;
pub use error::{Error, Source};
pub use objective::{Indicator, Names, Objective, Scope};
pub use profile::{Pair, Profile};
pub use promql::quoted;
pub use render::{number_name, ratio_name, release, rules};

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

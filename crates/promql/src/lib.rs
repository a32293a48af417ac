//! Evaluates PromQL over any [`Source`] of series, as Prometheus 3 does.
//!
//! [`parse`] once, then ask [`instant`] or [`range`]. What is not covered (native histograms, annotations, experimental
//! functions, fill modifiers) is [`Error::NotCovered`] with its name; `docs/CONFORMANCE.md` says how much of Prometheus's own tests is right.

mod aggregate;
mod binary;
mod collected;
mod compile;
mod dates;
mod error;
mod functions;
mod held;
mod histogram;
mod labels;
mod limits;
mod line;
mod matcher;
mod model;
mod numbers;
mod outline;
mod over_time;
mod pass;
mod plan;
mod query;
mod reads;
mod relabel;
mod source;
mod steps;
mod text;

pub use error::Error;
pub use labels::{Labels, NAME};
pub use limits::Limits;
pub use matcher::{Matcher, Test, ascii_classes};
pub use model::{STALE_NAN, Sample, Series, Value, is_stale};
pub use numbers::format_value;
pub use outline::Outline;
pub use query::{Expression, instant, parse, range, selector};
pub use reads::Reads;
pub use source::{Detail, Select, Selected, Source};
pub use steps::Steps;

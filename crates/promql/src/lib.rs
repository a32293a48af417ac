//! Evaluates PromQL over any [`Source`] of series, as Prometheus 3 does.
//!
//! [`parse`] once, then ask [`instant`] or [`range`]. What is not covered (native histograms, annotations, experimental
//! functions, fill modifiers) is [`Error::NotCovered`] with its name; `docs/CONFORMANCE.md` says how much of Prometheus's own tests is right.

mod error;
mod labels;
mod limits;
mod matcher;
mod model;
mod source;

pub use error::Error;
pub use labels::{Labels, NAME};
pub use limits::Limits;
pub use matcher::{Matcher, Test};
pub use model::{STALE_NAN, Sample, Series, Value, is_stale};
pub use source::{Select, Source};

/// An expression that can be evaluated: everything in it is covered.
#[derive(Clone, Debug)]
pub struct Expression(());

/// What one selector of an expression reads.
#[derive(Clone, Copy, Debug)]
pub struct Reads<'a> {
    /// Which series.
    pub matchers: &'a [Matcher],
    /// How far before the time of evaluation: range or look-back, offset and subqueries around it together, in milliseconds.
    /// `@` is not among it.
    pub back_ms: i64,
}

impl Expression {
    /// Every selector of the expression, for instance to know what must be kept for it.
    pub fn reads(&self) -> Vec<Reads<'_>> {
        Vec::new()
    }
}

/// Reads an expression. Errors are [`Error::Syntax`], [`Error::NotCovered`] and [`Error::TooLarge`].
pub fn parse(text: &str) -> Result<Expression, Error> {
    Err(Error::NotCovered(text.to_owned()))
}

/// Reads a selector without a range, such as the API's `match[]`.
pub fn selector(text: &str) -> Result<Vec<Matcher>, Error> {
    Err(Error::NotCovered(text.to_owned()))
}

/// The value at one time, in milliseconds since 1970.
pub fn instant(
    expression: &Expression,
    source: &dyn Source,
    at_ms: i64,
    limits: &Limits<'_>,
) -> Result<Value, Error> {
    let _ = (expression, source, at_ms, limits);
    Err(Error::NotCovered(String::new()))
}

/// Times at which a range query is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// First time, in milliseconds since 1970.
    pub start_ms: i64,
    /// No time is after it.
    pub end_ms: i64,
    /// At least 1.
    pub step_ms: i64,
}

/// The values at every step; always [`Value::Matrix`].
pub fn range(
    expression: &Expression,
    source: &dyn Source,
    steps: Steps,
    limits: &Limits<'_>,
) -> Result<Value, Error> {
    let _ = (expression, source, steps, limits);
    Err(Error::NotCovered(String::new()))
}

/// A number as Prometheus's API writes it: `NaN`, `+Inf`, `1e+21`, and otherwise the shortest digits that mean the same.
pub fn format_value(value: f64) -> String {
    value.to_string()
}

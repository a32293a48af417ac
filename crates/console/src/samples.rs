//! Samples: one number of one time series, scraped or received.

use crate::model::{SpanId, TraceId};
use crate::store::cost;

/// Label names and values, sorted by name.
pub(crate) type Labels = Vec<(String, String)>;

/// A request behind a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Exemplar {
    /// Its trace.
    pub trace_id: TraceId,
    /// Its span, if it says.
    pub span_id: Option<SpanId>,
    /// The observed value.
    pub value: f64,
    /// Microseconds since the epoch, if it says.
    pub timestamp_us: Option<u64>,
}

/// Converts microseconds.
pub(crate) fn milliseconds(us: u64) -> i64 {
    i64::try_from(us / 1_000).unwrap_or(i64::MAX)
}

/// One number.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    /// Name in Prometheus's form.
    pub name: String,
    /// Labels in the order they came.
    pub labels: Labels,
    /// Value.
    pub value: f64,
    /// Microseconds since the epoch, if the source says.
    pub timestamp_us: Option<u64>,
    /// A request behind it.
    pub exemplar: Option<Exemplar>,
    /// Whether it is the first of its data point, as each sample of a scraped page is.
    pub begins: bool,
}

impl Sample {
    /// Its bytes in memory, estimated.
    pub fn cost(&self) -> usize {
        size_of::<Self>() + cost::text(&self.name) + labels_cost(&self.labels)
    }
}

/// Bytes of labels in memory, estimated.
pub(crate) fn labels_cost(labels: &Labels) -> usize {
    let texts: usize = labels
        .iter()
        .map(|(name, value)| cost::text(name) + cost::text(value))
        .sum();
    cost::block(labels.capacity() * size_of::<(String, String)>()) + texts
}

/// Makes a valid metric or label name of Prometheus: letters, digits and `_`, no digit first. Colons are reserved for
/// recorded series.
pub(crate) fn sanitized(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut clean = String::with_capacity(name.len() + 1);
    if name.starts_with(|c: char| c.is_ascii_digit()) || name.is_empty() {
        clean.push('_');
    }
    clean.extend(name.chars().map(|c| if fits(c) { c } else { '_' }));
    clean
}

/// Converts seconds to microseconds since the epoch; `None` if the number is not a point in time.
pub(crate) fn microseconds(seconds: f64) -> Option<u64> {
    let microseconds = seconds * 1e6;
    (microseconds >= 0.0 && microseconds < u64::MAX as f64).then_some(microseconds as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_to_fit() {
        assert_eq!(sanitized("http.server-duration"), "http_server_duration");
        assert_eq!(sanitized("a:b"), "a_b");
        assert_eq!(sanitized("2xx"), "_2xx");
        assert_eq!(sanitized(""), "_");
        assert_eq!(sanitized("größe"), "gr__e");
    }

    #[test]
    fn times_out_of_range_are_none() {
        assert_eq!(microseconds(1.5), Some(1_500_000));
        for nonsense in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
            assert_eq!(microseconds(nonsense), None);
        }
    }
}

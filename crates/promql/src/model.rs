use crate::Labels;

/// The stale marker, "the series ends here": a NaN with its own bit pattern, as in Prometheus.
pub const STALE_NAN: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// Whether a value is the stale marker; every other NaN is a value.
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN.to_bits()
}

/// A value at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// May be NaN, an infinity, or (only in what a source gives) [`STALE_NAN`].
    pub value: f64,
}

/// Samples with the same labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Name and labels.
    pub labels: Labels,
    /// Sorted by time, one per time.
    pub samples: Vec<Sample>,
}

/// The result of a query.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number, for instance of `scalar(…)`; only of an instant query.
    Scalar(f64),
    /// A text; only of an instant query.
    String(String),
    /// One sample per series at the requested time, in the order of `sort` and `topk` if the query uses them.
    Vector(Vec<(Labels, Sample)>),
    /// The result of every range query, and of an instant query of `x[5m]`. Sorted by labels.
    Matrix(Vec<Series>),
}

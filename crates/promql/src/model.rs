use crate::Labels;

/// The value that says "from here on the series is gone": a NaN with bits of its own, as in Prometheus.
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

/// What a query gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number, for instance of `scalar(…)`; only of an instant query.
    Scalar(f64),
    /// A text; only of an instant query.
    String(String),
    /// One sample per series at the time asked for; in the order of `sort` and `topk`, where these decide it.
    Vector(Vec<(Labels, Sample)>),
    /// What a range query always gives, and an instant query of `x[5m]`. Sorted by labels.
    Matrix(Vec<Series>),
}

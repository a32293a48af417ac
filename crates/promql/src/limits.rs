/// The limits of one evaluation.
#[derive(Clone, Copy)]
pub struct Limits<'a> {
    /// Samples held at the same time: those read and those of the result. New labels count, too: 16 bytes as one sample.
    pub max_samples: usize,
    /// Series of one selector, and of the result of each part of the expression.
    pub max_series: usize,
    /// Steps of a range query; 11,000 as in Prometheus's API. The steps of subqueries count as samples.
    pub max_points: usize,
    /// How old the last sample of a series may be. Prometheus's default, five minutes.
    pub look_back_ms: i64,
    /// Step of `x[1h:]`: Prometheus takes its evaluation interval, by default a minute.
    pub subquery_step_ms: i64,
    /// Called often during the evaluation, for each part of the expression and each new label. When it returns true, the
    /// evaluation ends with [`crate::Error::Stopped`].
    pub stop: &'a dyn Fn() -> bool,
}

impl Default for Limits<'_> {
    fn default() -> Self {
        Self {
            max_samples: 2_000_000,
            max_series: 20_000,
            max_points: 11_000,
            look_back_ms: 5 * 60_000,
            subquery_step_ms: 60_000,
            stop: &|| false,
        }
    }
}

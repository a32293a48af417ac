/// Why an expression has no answer. The text of each names the construct or the bound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is not PromQL; Prometheus's API calls it `bad_data`.
    #[error("not PromQL: {0}")]
    Syntax(String),
    /// PromQL that this crate does not evaluate: the name of the construct. It does not guess.
    #[error("not covered: {0}")]
    NotCovered(String),
    /// The data cannot be combined as asked, for instance many-to-many matching; Prometheus's API calls it `execution`.
    #[error("{0}")]
    Evaluation(String),
    /// A bound of [`crate::Limits`] would be passed.
    #[error("the query is too large: {0}")]
    TooLarge(String),
    /// [`crate::Limits::stop`] said so; Prometheus's API calls it `timeout`.
    #[error("the query was stopped before it was finished")]
    Stopped,
}

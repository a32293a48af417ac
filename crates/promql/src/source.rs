use crate::{Error, Matcher, Series};

/// What is wanted of a [`Source`].
#[derive(Clone, Copy, Debug)]
pub struct Select<'a> {
    /// A series is wanted if all of them match.
    pub matchers: &'a [Matcher],
    /// Samples after this time, in milliseconds since 1970,
    pub after_ms: i64,
    /// up to and with this time.
    pub until_ms: i64,
    /// At most this many samples in all series together. A source gives up with [`Error::TooLarge`] rather than read more.
    pub max_samples: usize,
    /// At most this many series.
    pub max_series: usize,
}

/// Where an evaluation reads its series.
pub trait Source {
    /// Series with at least one sample in the time asked for, each label set once, samples sorted by time with stale markers among them.
    fn select(&self, wanted: &Select<'_>) -> Result<Vec<Series>, Error>;
}

use crate::outline::Outline;
use crate::{Error, Labels, Matcher, Sample};

/// A request to a [`Source`].
#[derive(Clone, Copy, Debug)]
pub struct Select<'a> {
    /// A series is wanted if all of them match.
    pub matchers: &'a [Matcher],
    /// Samples after this time, in milliseconds since 1970,
    pub after_ms: i64,
    /// up to and with this time.
    pub until_ms: i64,
    /// Which of these samples. A source that gives all of them is right, too, but slower.
    pub detail: Detail,
    /// At most this many samples in all series together. A source gives up with [`Error::TooLarge`] rather than read more.
    pub max_samples: usize,
    /// At most this many series.
    pub max_series: usize,
}

/// Which samples of a series are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// All samples, including stale markers.
    All,
    /// An [`Outline`].
    Outline,
    /// The last one, which may be a stale marker.
    Last,
}

impl Detail {
    /// The detail is enough for one time only; several times need all samples.
    pub(crate) fn if_one(self, is_one: bool) -> Self {
        match is_one {
            true => self,
            false => Self::All,
        }
    }
}

/// The answer of a [`Source`] for one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Selected {
    /// Name and labels.
    pub labels: Labels,
    /// Sorted by time, one per time.
    pub samples: Vec<Sample>,
    /// How many samples, without stale markers, are left out of an outline.
    pub left_out: usize,
}

impl Selected {
    /// Selects the requested samples of all samples.
    pub fn of(labels: Labels, all: impl IntoIterator<Item = Sample>, detail: Detail) -> Self {
        let all = all.into_iter();
        let (samples, left_out) = match detail {
            Detail::All => (all.collect(), 0),
            Detail::Last => (all.last().into_iter().collect(), 0),
            Detail::Outline => all.collect::<Outline>().into_parts(),
        };
        Self {
            labels,
            samples,
            left_out,
        }
    }
}

/// The source of the series for an evaluation.
pub trait Source {
    /// Series with at least one sample in the time asked for, each label set once.
    fn select(&self, wanted: &Select<'_>) -> Result<Vec<Selected>, Error>;
}

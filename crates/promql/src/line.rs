use std::cell::Cell;

use crate::{Labels, Sample, Selected};

/// A series while it is held.
pub(crate) struct Line {
    pub labels: Labels,
    pub drop_name: bool,
    pub samples: Vec<Sample>,
    /// How many more there are, if it is an outline.
    pub left_out: usize,
    /// The start and end of the previous window: the next one is a little further on.
    window: Cell<(usize, usize)>,
}

impl From<Selected> for Line {
    fn from(selected: Selected) -> Self {
        let left_out = selected.left_out;
        Self {
            left_out,
            ..Self::new(selected.labels, false, selected.samples)
        }
    }
}

impl Line {
    pub fn new(labels: Labels, drop_name: bool, samples: Vec<Sample>) -> Self {
        Self {
            labels,
            drop_name,
            samples,
            left_out: 0,
            window: Cell::default(),
        }
    }

    /// Samples after one time, up to and with another.
    pub fn within(&self, after_ms: i64, until_ms: i64) -> &[Sample] {
        let (from, to) = self.window.get();
        let window = (self.count(from, after_ms), self.count(to, until_ms));
        self.window.set(window);
        self.samples.get(window.0..window.1).unwrap_or_default()
    }

    /// How many samples are not after a time, if it was about so many for the step before.
    fn count(&self, before: usize, until_ms: i64) -> usize {
        let is_in = |sample: &Sample| sample.at_ms <= until_ms;
        if before > 0 && !is_in(&self.samples[before - 1]) {
            return self.samples.partition_point(is_in);
        }
        let further = self.samples[before..]
            .iter()
            .take_while(|sample| is_in(sample));
        before + further.count()
    }
}

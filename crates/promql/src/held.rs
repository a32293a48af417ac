//! The memory that one query holds, and its limit.

use std::cell::Cell;

use crate::{Error, Limits, Sample, Source, Steps};

/// The size of a sample, which is also the unit for new labels.
pub(crate) const SAMPLE: usize = size_of::<Sample>();

/// The data that all passes of one query share.
pub(crate) struct Query<'a> {
    pub source: &'a dyn Source,
    pub limits: &'a Limits<'a>,
    /// The range of `@ start()` and `@ end()`.
    pub whole: Steps,
    /// Samples held.
    pub held: Cell<usize>,
    /// Room, in samples, of the labels that the step has made so far.
    pub made: Cell<usize>,
    /// Some label was made, in whatever step.
    pub makes: Cell<bool>,
}

impl<'a> Query<'a> {
    pub fn new(source: &'a dyn Source, limits: &'a Limits<'a>, whole: Steps) -> Self {
        Self {
            source,
            limits,
            whole,
            held: Cell::new(0),
            made: Cell::new(0),
            makes: Cell::new(false),
        }
    }

    /// Samples that there is still room for.
    pub fn room(&self) -> usize {
        let used = self.held.get().saturating_add(self.made.get());
        self.limits.max_samples.saturating_sub(used)
    }

    pub fn goes_on(&self) -> Result<(), Error> {
        match (self.limits.stop)() {
            true => Err(Error::Stopped),
            false => Ok(()),
        }
    }

    pub fn labels_too_large(&self) -> Error {
        let bytes = self.limits.max_samples.saturating_mul(SAMPLE);
        Error::TooLarge(format!(
            "the labels that it makes, with its samples, take more than {bytes} bytes at once"
        ))
    }
}

/// Bytes of a label, with its place in a list and the counts of references of both texts.
pub(crate) fn bytes_of(name: &str, value: &str) -> usize {
    const COUNTS: usize = 2 * size_of::<usize>();
    2 * (size_of::<&str>() + COUNTS) + name.len() + value.len()
}

use crate::{Sample, is_stale};

/// The samples at which a series begins, ends and falls. They are enough for `rate`, `increase`, `min_over_time` and similar
/// functions, and few for a counter. A sample that is part of no fall is only counted. Stale markers are dropped.
#[derive(Clone, Debug, Default)]
pub struct Outline {
    kept: Vec<Sample>,
    count: usize,
}

impl Outline {
    /// Adds the next sample.
    pub fn push(&mut self, sample: Sample) {
        if !is_stale(sample.value) {
            self.keep(sample);
            self.count += 1;
        }
    }

    /// Adds a run of samples without falls, NaN and stale markers: the first, the last, and their number.
    pub fn push_run(&mut self, first: Sample, last: Sample, count: usize) {
        self.keep(first);
        if count > 1 {
            self.keep(last);
        }
        self.count += count;
    }

    fn keep(&mut self, next: Sample) {
        if let [.., before, last] = self.kept[..]
            && rises(&before, &last)
            && rises(&last, &next)
        {
            self.kept.pop();
        }
        self.kept.push(next);
    }

    /// The kept samples, and the number of the others.
    pub fn into_parts(self) -> (Vec<Sample>, usize) {
        let left_out = self.count - self.kept.len();
        (self.kept, left_out)
    }
}

impl FromIterator<Sample> for Outline {
    fn from_iter<T: IntoIterator<Item = Sample>>(all: T) -> Self {
        let mut outline = Self::default();
        all.into_iter().for_each(|sample| outline.push(sample));
        outline
    }
}

/// Not if one of them is NaN.
fn rises(old: &Sample, new: &Sample) -> bool {
    old.value <= new.value
}

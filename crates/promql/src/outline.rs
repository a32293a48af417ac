use crate::{Sample, is_stale};

/// The samples by which a series begins, ends and falls: enough for `rate`, `increase`, `min_over_time` and their like, and few if it
/// is a counter. A sample between neighbours of which neither is a fall is only counted. Stale markers are left out.
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

    /// Adds the next samples of which none is less than the one before, a NaN or a stale marker: the first, the last, and how many
    /// there are.
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

    /// What is kept, and how many others there were.
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

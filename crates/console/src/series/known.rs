//! The samples that queries read of a series.

use std::ops::RangeInclusive;

use promql::{Detail, Outline};

use super::chunk::{Chunk, Point};
use super::history::Part;
use super::labels::LabelSet;

/// The samples of a series within a range of time.
#[derive(Debug)]
pub(crate) struct Known {
    /// All labels.
    pub labels: LabelSet,
    pub(super) parts: Vec<Part<Chunk>>,
    pub(super) time_ms: RangeInclusive<i64>,
    pub(super) detail: Detail,
}

impl Known {
    /// No more samples than this are in it.
    pub fn max_samples(&self) -> usize {
        let parts = self.parts.iter();
        parts
            .map(|part| part.max_samples(&self.time_ms, self.detail, Chunk::count_in))
            .sum()
    }

    /// All samples or the last one, oldest first.
    pub fn samples(&self) -> impl Iterator<Item = promql::Sample> {
        let points = self.parts.iter().flat_map(|part| {
            let run = part.of.is_none().then_some(part.summary.last);
            part.of.iter().flat_map(Chunk::points).chain(run)
        });
        self.in_time(points)
    }

    /// The outline that `rate` and similar functions need.
    pub fn outline(&self) -> Outline {
        let mut outline = Outline::default();
        for Part { summary, of } in &self.parts {
            match of {
                Some(chunk) => self
                    .in_time(chunk.points())
                    .for_each(|sample| outline.push(sample)),
                None => outline.push_run(plain(summary.first), plain(summary.last), summary.count),
            }
        }
        outline
    }

    fn in_time(&self, points: impl Iterator<Item = Point>) -> impl Iterator<Item = promql::Sample> {
        points
            .filter(|(at, _)| self.time_ms.contains(at))
            .map(plain)
    }
}

fn plain((at_ms, bits): Point) -> promql::Sample {
    let value = f64::from_bits(bits);
    promql::Sample { at_ms, value }
}

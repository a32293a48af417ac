//! The stored samples of one series.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::Instant;

use promql::Detail;

use super::chunk::{Chunk, Head, Point, Summary};
use super::index::Id;
use super::labels::LabelSet;
use super::shares::Share;
use crate::samples::Exemplar;
use crate::store::cost;

/// The last requests behind the samples of a series.
const EXEMPLARS: usize = 10;

/// One series.
#[derive(Debug)]
pub(super) struct Series {
    pub labels: LabelSet,
    /// The share that it is charged to: that of its first source.
    pub share: Share,
    /// A target says it, or said it last.
    pub is_scraped: bool,
    /// The source of its samples; no other source adds to it while it is live.
    pub source: u64,
    /// When its source last said it.
    pub heard: Instant,
    /// Its source still says it.
    pub is_live: bool,
    /// Its source says the times of samples itself.
    pub is_timed: bool,
    pub last: Point,
    pub exemplars: VecDeque<Exemplar>,
    head: Head,
    pub closed: VecDeque<Chunk>,
}

/// The result of adding a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Push {
    /// It is stored, or was known already.
    Kept,
    /// It is no newer than the last sample, and differs from it.
    OutOfOrder,
    /// It fits once the chunk is closed.
    Full,
}

impl Series {
    /// It has no samples yet.
    pub fn new(labels: LabelSet, share: Share, source: u64, heard: Instant) -> Self {
        Self {
            labels,
            share,
            is_scraped: false,
            source,
            heard,
            is_live: false,
            is_timed: false,
            last: (i64::MIN, 0),
            exemplars: VecDeque::new(),
            head: Head::new(),
            closed: VecDeque::new(),
        }
    }

    /// Bytes, with its slots in tables and lists, but without closed chunks, exemplars and its entries in the index.
    pub fn cost(labels: &LabelSet) -> usize {
        labels.cost()
            + cost::slot(size_of::<(Id, Self)>())
            + cost::slot(size_of::<(LabelSet, Id)>())
            + cost::slot(size_of::<Id>())
            + Head::COST
    }

    /// Bytes of the list of exemplars once there is one.
    pub const EXEMPLARS_COST: usize = cost::block(EXEMPLARS * size_of::<Exemplar>());

    /// Adds a sample.
    pub fn push(&mut self, point: Point) -> Push {
        match point {
            known if known == self.last => return Push::Kept,
            (at, _) if at <= self.last.0 => return Push::OutOfOrder,
            _ if self.head.is_full() => return Push::Full,
            _ => {}
        }
        self.head.push(point);
        self.last = point;
        Push::Kept
    }

    /// Adds an exemplar that is not the last one again. There must be room for it. One that says no time has that of its sample.
    pub fn push_exemplar(&mut self, mut exemplar: Exemplar, at_ms: i64) {
        let is_again = |last: &Exemplar| {
            let timestamp_us = exemplar.timestamp_us.or(last.timestamp_us);
            let again = Exemplar {
                timestamp_us,
                ..exemplar
            };
            again == *last
        };
        if self.exemplars.back().is_some_and(is_again) {
            return;
        }
        let sampled_us = u64::try_from(at_ms.saturating_mul(1_000)).ok();
        exemplar.timestamp_us = exemplar.timestamp_us.or(sampled_us);
        if self.exemplars.len() >= EXEMPLARS {
            self.exemplars.pop_front();
        }
        self.exemplars
            .reserve_exact(EXEMPLARS - self.exemplars.len());
        self.exemplars.push_back(exemplar);
    }

    /// Shifts all samples by this much.
    pub fn shift(&mut self, by_ms: i64) {
        self.last.0 = self.last.0.saturating_add(by_ms);
        self.head.shift(by_ms);
        self.closed.iter_mut().for_each(|chunk| chunk.shift(by_ms));
        for exemplar in &mut self.exemplars {
            if let Some(at_us) = &mut exemplar.timestamp_us {
                *at_us = at_us.saturating_add_signed(by_ms.saturating_mul(1_000));
            }
        }
    }

    /// The samples of the open chunk; `None` if it is empty.
    pub fn head(&self) -> Option<Chunk> {
        self.head.closed()
    }

    /// The open chunk is empty from now on.
    pub fn clear_head(&mut self) {
        self.head.clear();
    }

    /// Removes the oldest chunk.
    pub fn drop_oldest(&mut self) -> Option<Chunk> {
        let oldest = self.closed.pop_front();
        if self.closed.capacity() > 2 * self.closed.len() + 8 {
            self.closed.shrink_to_fit();
        }
        oldest
    }

    /// It has no samples, and no source adds any.
    pub fn is_over(&self) -> bool {
        !self.is_live && self.closed.is_empty() && self.head.summary().is_none()
    }

    /// The chunks with samples within a range of time, by their first and last times, oldest first.
    fn held(&self, time_ms: &RangeInclusive<i64>) -> impl Iterator<Item = Part<ChunkRef<'_>>> {
        let begins = |summary: &Summary| summary.first.0 <= *time_ms.end();
        let is_before = |summary: &Summary| summary.last.0 < *time_ms.start();
        let from = self
            .closed
            .partition_point(|chunk| is_before(&chunk.summary));
        let to = self.closed.partition_point(|chunk| begins(&chunk.summary));
        let closed = self.closed.range(from..to.max(from));
        let closed = closed.map(|chunk| Part::new(chunk.summary, ChunkRef::Closed(chunk)));
        let head = self.head.summary();
        let head = head.filter(|summary| begins(summary) && !is_before(summary));
        closed.chain(head.map(|summary| Part::new(*summary, ChunkRef::Open(&self.head))))
    }

    /// The same, reduced to what `detail` needs.
    pub fn parts(&self, time_ms: &RangeInclusive<i64>, detail: Detail) -> Vec<Part<ChunkRef<'_>>> {
        match detail {
            Detail::All => self.held(time_ms).collect(),
            Detail::Last if time_ms.contains(&self.last.0) => {
                vec![Part::run(Summary::of(self.last))]
            }
            Detail::Last => self.held(time_ms).last().into_iter().collect(),
            Detail::Outline => outline(self.held(time_ms), time_ms),
        }
    }
}

/// Merges the chunks that rise and lie completely within the range into one summary, without decoding them.
fn outline<'a>(
    held: impl Iterator<Item = Part<ChunkRef<'a>>>,
    time_ms: &RangeInclusive<i64>,
) -> Vec<Part<ChunkRef<'a>>> {
    let mut parts: Vec<Part<ChunkRef<'_>>> = Vec::new();
    for part in held {
        let summary = part.summary;
        if !(summary.rises && summary.is_within(time_ms)) {
            parts.push(part);
            continue;
        }
        match parts.last_mut() {
            Some(Part {
                summary: run,
                of: None,
            }) if run.rises_into(&summary) => run.add(&summary),
            _ => parts.push(Part::run(summary)),
        }
    }
    parts
}

/// Some samples of a series.
#[derive(Debug)]
pub(super) struct Part<T> {
    pub summary: Summary,
    /// The chunk, unless the summary is enough.
    pub of: Option<T>,
}

impl<T> Part<T> {
    fn new(summary: Summary, of: T) -> Self {
        let of = Some(of);
        Self { summary, of }
    }

    fn run(summary: Summary) -> Self {
        Self { summary, of: None }
    }

    /// No more samples than this are needed of it in a span of time. Where it is not all in it they are counted.
    pub fn max_samples(
        &self,
        time_ms: &RangeInclusive<i64>,
        detail: Detail,
        count: impl Fn(&T, &RangeInclusive<i64>) -> usize,
    ) -> usize {
        let all = self.summary.count;
        match (detail, &self.of) {
            (Detail::Last, _) => 1,
            (Detail::Outline, _) if self.summary.rises => all.min(2),
            (_, Some(of)) if !self.summary.is_within(time_ms) => count(of, time_ms),
            _ => all,
        }
    }
}

/// A chunk in its place.
#[derive(Debug)]
pub(super) enum ChunkRef<'a> {
    Closed(&'a Chunk),
    Open(&'a Head),
}

impl ChunkRef<'_> {
    /// How many samples are in a span of time.
    pub fn count_in(&self, time_ms: &RangeInclusive<i64>) -> usize {
        match self {
            Self::Closed(chunk) => chunk.count_in(time_ms),
            Self::Open(head) => head.closed().map_or(0, |chunk| chunk.count_in(time_ms)),
        }
    }
}

impl Part<ChunkRef<'_>> {
    /// Copies the chunk, so that it stays unchanged whatever happens to the series.
    pub fn owned(self) -> Part<Chunk> {
        let chunk = |held| match held {
            ChunkRef::Closed(chunk) => Some(chunk.clone()),
            ChunkRef::Open(head) => head.closed(),
        };
        Part {
            summary: self.summary,
            of: self.of.and_then(chunk),
        }
    }
}

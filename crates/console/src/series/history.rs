//! What is kept of one series.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::Instant;

use super::chunk::{Chunk, Head, Point};
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
    /// Whose share it takes: that of the first source that said it.
    pub share: Share,
    /// A target says it, or said it last.
    pub is_scraped: bool,
    /// Where its samples come from; no other source adds to it while it is live.
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

/// What became of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Push {
    /// It is kept, or was known.
    Kept,
    /// It is no newer than the last one, and another one.
    OutOfOrder,
    /// It is kept once the chunk is closed.
    Full,
}

impl Series {
    /// Nothing is in it yet.
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

    /// What the open chunk holds; nothing if it is empty.
    pub fn head(&self) -> Option<Chunk> {
        (self.head.count() > 0).then(|| self.head.closed())
    }

    /// The open chunk is empty from now on.
    pub fn clear_head(&mut self) {
        self.head.clear();
    }

    /// Takes away the oldest chunk.
    pub fn drop_oldest(&mut self) -> Option<Chunk> {
        let oldest = self.closed.pop_front();
        if self.closed.capacity() > 2 * self.closed.len() + 8 {
            self.closed.shrink_to_fit();
        }
        oldest
    }

    /// Nothing is left of it, and nothing will come.
    pub fn is_over(&self) -> bool {
        !self.is_live && self.closed.is_empty() && self.head.count() == 0
    }

    /// Chunks with samples in a span of time, oldest first. The open one is copied.
    pub fn chunks(&self, time_ms: &RangeInclusive<i64>) -> Vec<Chunk> {
        let closed = self.closed.iter().filter(|chunk| chunk.overlaps(time_ms));
        let head = self.head.overlaps(time_ms).then(|| self.head.closed());
        closed.cloned().chain(head).collect()
    }

    /// How many samples they hold.
    pub fn samples(&self, time_ms: &RangeInclusive<i64>) -> usize {
        let closed = self.closed.iter().filter(|chunk| chunk.overlaps(time_ms));
        let head = self.head.overlaps(time_ms).then(|| self.head.count());
        let counts = closed.map(|chunk| chunk.count).chain(head);
        counts.map(usize::from).sum()
    }
}

//! All series with their sources, and the eviction when memory is short.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use promql::NAME;

use super::chunk::Point;
use super::history::{Push, Series};
use super::index::{Id, Index};
use super::labels::{LabelSet, packed};
use super::shares::{LASTING, Room, Share, Shares, TARGETS};
use super::{BATCH, Lost, all_labels};
use crate::samples::{Exemplar, Labels, Sample, milliseconds};
use crate::store::cost;

/// A sample may be this far in the future, as in Prometheus: a sender's clock may be wrong, but its series must not stop for
/// years.
const AHEAD_MS: i64 = 600_000;

#[derive(Debug)]
pub(super) struct State {
    pub shares: Shares,
    pub series: HashMap<Id, Series>,
    pub lost: Lost,
    by_labels: HashMap<LabelSet, Id>,
    pub index: Index,
    /// Names of recorded series that are kept for longer than others.
    pub lasting: BTreeSet<String>,
    sources: BTreeMap<String, Source>,
    next: u64,
}

/// Where samples come from: a target that is scraped, or a sender.
#[derive(Debug)]
struct Source {
    id: u64,
    share: Share,
    /// The series that it says now.
    live: Vec<Id>,
}

/// A source and when it speaks.
#[derive(Debug, Clone, Copy)]
pub(super) struct SampleOrigin<'a> {
    pub source: &'a str,
    /// The sender whose share is charged; `None` for a scraped target.
    pub sender: Option<&'a str>,
    pub now_ms: i64,
    /// When it is heard here.
    pub heard: Instant,
}

/// A sample with all that can be made of it before the lock is taken.
pub(super) struct PreparedSample {
    /// All labels, packed.
    labels: Vec<u8>,
    /// The sample's time, if the source states it.
    at_ms: Option<i64>,
    value: u64,
    exemplar: Option<Exemplar>,
    begins: bool,
}

impl PreparedSample {
    /// Adds the labels that all samples of a source get.
    pub fn new(own: &Labels, sample: Sample) -> Self {
        let name = (NAME.to_owned(), sample.name);
        let own = [name].into_iter().chain(own.iter().cloned()).collect();
        Self {
            labels: packed(&all_labels(&own, sample.labels)),
            at_ms: sample.timestamp_us.map(milliseconds),
            value: sample.value.to_bits(),
            exemplar: sample.exemplar,
            begins: sample.begins,
        }
    }
}

/// Why a sample is not kept.
enum Refused {
    NoRoom,
    OutOfOrder,
}

impl State {
    pub fn new(limit: usize) -> Self {
        Self {
            shares: Shares::new(limit),
            series: HashMap::new(),
            lost: Lost::default(),
            by_labels: HashMap::new(),
            index: Index::default(),
            lasting: BTreeSet::new(),
            sources: BTreeMap::new(),
            next: 0,
        }
    }

    /// Adds what a source says. Returns how many data points were lost, or not kept whole.
    pub fn add(&mut self, from: SampleOrigin<'_>, samples: Vec<PreparedSample>) -> Lost {
        let mut lost = Lost::default();
        let mut is_counted = false;
        let mut source = self.source(from);
        for sample in samples {
            is_counted &= !sample.begins;
            let (point, sum) = match self.add_one(from, &mut source, sample) {
                Ok(()) => continue,
                Err(Refused::NoRoom) => (&mut lost.no_room, &mut self.lost.no_room),
                Err(Refused::OutOfOrder) => (&mut lost.out_of_order, &mut self.lost.out_of_order),
            };
            *point += u64::from(!is_counted);
            *sum += 1;
            is_counted = true;
        }
        if source.live.is_empty() {
            self.forget(from.source, source.share);
        } else {
            self.sources.insert(from.source.to_owned(), source);
        }
        lost
    }

    /// Takes the source out; the caller puts it back.
    fn source(&mut self, from: SampleOrigin<'_>) -> Source {
        if let Some(known) = self.sources.remove(from.source) {
            return known;
        }
        let (id, share) = (self.number(), self.shares.share_of(from.sender));
        self.shares.charge(share, source_cost(from.source));
        let live = Vec::new();
        Source { id, share, live }
    }

    fn forget(&mut self, source: &str, share: Share) {
        self.shares.give_back(share, source_cost(source));
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn add_one(
        &mut self,
        from: SampleOrigin<'_>,
        source: &mut Source,
        told: PreparedSample,
    ) -> Result<(), Refused> {
        let point = (told.at_ms.unwrap_or(from.now_ms), told.value);
        if point.0 > from.now_ms.saturating_add(AHEAD_MS) {
            return Err(Refused::OutOfOrder);
        }
        let known = self.by_labels.get(told.labels.as_slice());
        let id = match known {
            Some(id) => *id,
            None => self.admit(from, source, LabelSet::new(&told.labels))?,
        };
        self.hear(from, id, source, told.at_ms.is_some())?;
        if let Some(exemplar) = told.exemplar {
            self.add_exemplar(id, exemplar, point.0);
        }
        match self.push(id, point) {
            Some(Push::OutOfOrder) => Err(Refused::OutOfOrder),
            _ => Ok(()),
        }
    }

    /// Adds a sample, in a chunk of its own if the open one is full.
    pub fn push(&mut self, id: Id, point: Point) -> Option<Push> {
        let pushed = self.series.get_mut(&id)?.push(point);
        if pushed != Push::Full {
            return Some(pushed);
        }
        self.close(id);
        Some(self.series.get_mut(&id)?.push(point))
    }

    /// A new series, if there is room.
    fn admit(
        &mut self,
        from: SampleOrigin<'_>,
        source: &Source,
        labels: LabelSet,
    ) -> Result<Id, Refused> {
        let share = match source.share {
            TARGETS if self.lasting.contains(labels.get(NAME)) => LASTING,
            share => share,
        };
        let cost = Series::cost(&labels) + self.index.cost(&labels);
        if !self.makes_room(share, cost) {
            return Err(Refused::NoRoom);
        }
        // Making room may have taken entries from the index.
        let cost = Series::cost(&labels) + self.index.cost(&labels);
        self.shares.charge(share, cost);
        let id = self.number();
        self.index.add(id, &labels, share);
        self.by_labels.insert(labels.clone(), id);
        let series = Series::new(labels, share, source.id, from.heard);
        self.series.insert(id, series);
        Ok(id)
    }

    /// The source sends the series. A series of another live source is not mixed with it, because two senders' numbers would
    /// make no sense. An ended series is free for every source; but a sender cannot take one from a target, which may only
    /// be down.
    fn hear(
        &mut self,
        from: SampleOrigin<'_>,
        id: Id,
        source: &mut Source,
        is_timed: bool,
    ) -> Result<(), Refused> {
        let series = self.series.get_mut(&id).ok_or(Refused::NoRoom)?;
        let is_scraped = source.share == TARGETS;
        let is_closed = series.is_live || series.is_scraped && !is_scraped;
        if series.source != source.id && is_closed {
            return Err(Refused::OutOfOrder);
        }
        if !series.is_live {
            source.live.push(id);
        }
        (series.source, series.is_scraped) = (source.id, is_scraped);
        (series.heard, series.is_live, series.is_timed) = (from.heard, true, is_timed);
        Ok(())
    }

    fn add_exemplar(&mut self, id: Id, exemplar: Exemplar, at_ms: i64) {
        let Some(series) = self.series.get(&id) else {
            return;
        };
        let (share, is_first) = (series.share, series.exemplars.capacity() == 0);
        if is_first {
            if !self.makes_room(share, Series::EXEMPLARS_COST) {
                return;
            }
            self.shares.charge(share, Series::EXEMPLARS_COST);
        }
        if let Some(series) = self.series.get_mut(&id) {
            series.push_exemplar(exemplar, at_ms);
        }
    }

    /// Closes the open chunk. Where there is no room for closed ones what it holds is lost, so that newer samples find room.
    fn close(&mut self, id: Id) {
        let Some(series) = self.series.get_mut(&id) else {
            return;
        };
        let Some(chunk) = series.head() else {
            return;
        };
        series.clear_head();
        let (share, cost) = (series.share, chunk.cost());
        if !self.makes_room(share, cost) {
            self.lost.evicted += chunk.summary.count as u64;
            return;
        }
        if let Some(series) = self.series.get_mut(&id) {
            series.closed.push_back(chunk);
            self.shares.closed(share, id, cost);
        }
    }

    /// Whether there is enough memory; drops the oldest chunks for it.
    fn makes_room(&mut self, share: Share, cost: usize) -> bool {
        loop {
            match self.shares.room(share, cost) {
                Room::Enough => return true,
                Room::None => return false,
                Room::After(share) => self.lost.evicted += self.drop_oldest(share),
            }
        }
    }

    /// Drops some chunks that were closed before then. Returns whether more are left.
    pub fn expire(&mut self, time: Instant) -> bool {
        for _ in 0..BATCH {
            match self.shares.any_closed_before(time) {
                Some(share) => self.drop_oldest(share),
                None => return false,
            };
        }
        true
    }

    /// Drops the oldest chunk of a share, and its series if nothing is left of it. Returns how many samples went.
    pub fn drop_oldest(&mut self, share: Share) -> u64 {
        let id = self.shares.first_closed(share);
        let drop = |id: Id| Some((id, self.series.get_mut(&id)?.drop_oldest()?));
        let Some((id, chunk)) = id.and_then(drop) else {
            return 0;
        };
        self.shares.remove_closed(share, chunk.cost());
        self.remove_if_over(id);
        chunk.summary.count as u64
    }

    fn remove_if_over(&mut self, id: Id) {
        if !self.series.get(&id).is_some_and(Series::is_over) {
            return;
        }
        let Some(series) = self.series.remove(&id) else {
            return;
        };
        let labels = &series.labels;
        self.by_labels.remove(labels);
        let is_known = |id: &Id| self.series.contains_key(id);
        for (share, bytes) in self.index.remove(labels, series.share, is_known) {
            self.shares.give_back(share, bytes);
        }
        let exemplars = match series.exemplars.capacity() {
            0 => 0,
            _ => Series::EXEMPLARS_COST,
        };
        let bytes = Series::cost(labels) + exemplars;
        self.shares.give_back(series.share, bytes);
    }

    /// Names of all sources.
    pub fn sources(&self) -> Vec<String> {
        self.sources.keys().cloned().collect()
    }

    /// Looks at some more series of a source, after those that stay, and ends those that are not to stay, with a marker at the time
    /// that `end` tells. Returns how many stay so far, and how many are left to look at.
    pub fn retain(
        &mut self,
        name: &str,
        mut stay: usize,
        stays: impl Fn(&Series) -> bool,
        end: impl Fn(&Series) -> Option<i64>,
    ) -> (usize, usize) {
        let Some(mut source) = self.sources.remove(name) else {
            return (0, 0);
        };
        for _ in 0..source.live.len().saturating_sub(stay).min(BATCH) {
            let id = source.live[stay];
            if self.series.get(&id).is_some_and(&stays) {
                stay += 1;
            } else {
                source.live.swap_remove(stay);
                self.end(id, &end);
            }
        }
        let all = source.live.len();
        if all * 4 < source.live.capacity() {
            source.live.shrink_to(all * 2);
        }
        match all {
            0 => self.forget(name, source.share),
            _ => drop(self.sources.insert(name.to_owned(), source)),
        }
        (stay, all.saturating_sub(stay))
    }

    /// The series is said no more.
    fn end(&mut self, id: Id, end: impl Fn(&Series) -> Option<i64>) {
        if let Some(at) = self.series.get(&id).and_then(end) {
            self.push(id, (at, promql::STALE_NAN.to_bits()));
        }
        self.close(id);
        if let Some(series) = self.series.get_mut(&id) {
            series.is_live = false;
        }
        self.remove_if_over(id);
    }
}

fn source_cost(name: &str) -> usize {
    cost::block(name.len()) + cost::slot(size_of::<(String, Source)>())
}

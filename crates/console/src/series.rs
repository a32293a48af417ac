//! The samples of every source for as long as rules look back, within a budget of bytes.
//!
//! A series that was admitted always finds room for its newest samples; what is older goes, the oldest first, when room is needed.

mod bits;
mod chunk;
mod history;
mod index;
mod known;
mod labels;
mod shares;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use promql::{Detail, Matcher, NAME};

use crate::samples::{Exemplar, Labels, Sample, milliseconds};
use history::{ChunkRef, Part, Series};
use index::Id;
pub(crate) use known::Known;
pub(crate) use labels::LabelSet;
use state::{PreparedSample, SampleOrigin, State};

/// A received (not scraped) series ends when no sample has arrived for this long: Prometheus's look-back.
const PATIENCE: Duration = Duration::from_secs(300);

/// Samples are kept for this long: the demo rules look back 288 minutes, and the last sample before that may be five minutes
/// older.
pub(crate) const RETENTION: Duration = Duration::from_secs(300 * 60);

/// Series that are looked at before others have the lock.
const BATCH: usize = 64;

/// A shared handle.
#[derive(Debug, Clone)]
pub(crate) struct SeriesStore {
    state: Arc<Mutex<State>>,
}

/// Samples that were not stored, or were dropped early.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lost {
    /// There was no memory for their series.
    pub no_room: u64,
    /// They were no newer than the last sample, too far in the future, or of a series that belongs to another source.
    pub out_of_order: u64,
    /// They were dropped for newer samples.
    pub evicted: u64,
}

/// The latest sample of a series.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LatestSample {
    /// All labels, those of the source and the metric's name too.
    pub labels: LabelSet,
    /// Last value.
    pub value: f64,
    /// Milliseconds since the epoch.
    pub at_ms: i64,
    /// Last request behind it.
    pub exemplar: Option<Exemplar>,
}

impl SeriesStore {
    /// An empty store that keeps within `limit_bytes`.
    pub fn new(limit_bytes: u64) -> Self {
        let limit = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
        Self {
            state: Arc::new(Mutex::new(State::new(limit))),
        }
    }

    /// Series of these names, if rules record them, are kept for so long.
    pub fn keep(&self, names: BTreeSet<String>, time: Duration) {
        let mut state = self.lock();
        state.lasting = names;
        state.shares.longer = time.saturating_sub(RETENTION);
    }

    /// Replaces all series of a source; those that are missing now have ended. Returns the number of its series, and the
    /// losses.
    pub fn replace(
        &self,
        source: &str,
        own_labels: &Labels,
        samples: Vec<Sample>,
        now_us: u64,
    ) -> (u64, Lost) {
        let started = Instant::now();
        let lost = self.scraped(source, own_labels, samples, now_us);
        (self.end_unheard(source, started, now_us), lost)
    }

    /// Some of what a target says now.
    pub fn scraped(
        &self,
        source: &str,
        own_labels: &Labels,
        samples: Vec<Sample>,
        now_us: u64,
    ) -> Lost {
        self.add(source, None, own_labels, samples, now_us)
    }

    /// Ends the series of a source that it has not sent since then. Returns the number of the remaining ones.
    pub fn end_unheard(&self, source: &str, since: Instant, now_us: u64) -> u64 {
        let stays = |series: &Series| series.heard >= since;
        self.retain(source, stays, scraped_end(now_us))
    }

    /// Adds some series of a sender. Returns how many data points were lost. [`Self::tidy`] ends series that the sender no
    /// longer sends: going through all series per request would take too long.
    pub fn merge(
        &self,
        source: &str,
        sender: &str,
        own_labels: &Labels,
        samples: Vec<Sample>,
        now_us: u64,
    ) -> Lost {
        self.add(source, Some(sender), own_labels, samples, now_us)
    }

    fn add(
        &self,
        source: &str,
        sender: Option<&str>,
        labels: &Labels,
        samples: Vec<Sample>,
        now_us: u64,
    ) -> Lost {
        let from = SampleOrigin {
            source,
            sender,
            now_ms: milliseconds(now_us),
            heard: Instant::now(),
        };
        let told = samples
            .into_iter()
            .map(|sample| PreparedSample::new(labels, sample));
        let told = told.collect();
        self.lock().add(from, told)
    }

    /// The target does not answer: its series have ended.
    pub fn went_down(&self, source: &str, now_us: u64) {
        self.retain(source, |_| false, scraped_end(now_us));
    }

    /// The clock has been set: shifts all samples by this much. Otherwise the old ones would be in the future, and the new
    /// ones too old.
    pub fn shift(&self, by_ms: i64) {
        let mut state = self.lock();
        let all = state.series.values_mut();
        all.for_each(|series| series.shift(by_ms));
    }

    /// Ends series that were last received long ago, and those of scraped sources that are no longer targets; drops samples
    /// that are too old.
    pub fn tidy(
        &self,
        is_target: impl Fn(&str) -> bool,
        is_scraped: impl Fn(&str) -> bool,
        now_us: u64,
    ) {
        let names = self.lock().sources();
        let patience = i64::try_from(PATIENCE.as_millis()).unwrap_or(i64::MAX);
        for name in names {
            if !is_scraped(&name) {
                let stays = |series: &Series| series.heard.elapsed() < PATIENCE;
                // A sender's clock may be wrong, so the end is counted from the series' own last sample.
                let end = |series: &Series| Some(series.last.0.saturating_add(patience));
                self.retain(&name, stays, end);
            } else if !is_target(&name) {
                self.went_down(&name, now_us);
            }
        }
        if let Some(time) = Instant::now().checked_sub(RETENTION) {
            self.expire(time);
        }
    }

    /// Drops the chunks that were closed before then.
    fn expire(&self, time: Instant) {
        while self.lock().expire(time) {}
    }

    /// Ends the series of a source that are not to stay. Returns how many stay.
    fn retain(
        &self,
        source: &str,
        stays: impl Fn(&Series) -> bool,
        end: impl Fn(&Series) -> Option<i64>,
    ) -> u64 {
        let (mut stay, mut left) = (0, 1);
        while left > 0 {
            (stay, left) = self.lock().retain(source, stay, &stays, &end);
        }
        stay as u64
    }

    /// The latest samples of the series that match all conditions, sorted. `room` reserves memory for each; `None` if it
    /// fails.
    pub fn latest(
        &self,
        matchers: &[Matcher],
        room: &mut dyn FnMut(usize) -> bool,
    ) -> Option<Vec<LatestSample>> {
        let mut found = Vec::new();
        let live = |series: &Series| series.is_live.then(|| latest(series));
        for batch in self.batches(matchers, live) {
            let bytes = |found: &LatestSample| size_of::<LatestSample>() + found.labels.cost();
            if !room(batch.iter().map(bytes).sum()) {
                return None;
            }
            found.extend(batch);
        }
        found.sort_by(|a: &LatestSample, b| {
            let (a, b) = (&a.labels, &b.labels);
            a.get(NAME).cmp(b.get(NAME)).then_with(|| a.cmp(b))
        });
        Some(found)
    }

    /// The samples of series that match all conditions within a range of time. It reads a few series at a time, because
    /// others wait for the lock.
    pub fn known(
        &self,
        matchers: &[Matcher],
        time_ms: RangeInclusive<i64>,
        detail: Detail,
    ) -> impl Iterator<Item = Vec<Known>> {
        self.batches(matchers, move |series| {
            let parts = series.parts(&time_ms, detail);
            (!parts.is_empty()).then(|| Known {
                labels: series.labels.clone(),
                parts: parts.into_iter().map(Part::owned).collect(),
                time_ms: time_ms.clone(),
                detail,
            })
        })
    }

    /// The labels of series that match all conditions, and an upper bound of the samples that are needed within a range of
    /// time; it copies no samples.
    pub fn sizes(
        &self,
        matchers: &[Matcher],
        time_ms: RangeInclusive<i64>,
        detail: Detail,
    ) -> impl Iterator<Item = Vec<(LabelSet, usize)>> {
        self.batches(matchers, move |series| {
            let parts = series.parts(&time_ms, detail);
            let parts = parts.iter();
            let samples = parts
                .map(|part| part.max_samples(&time_ms, detail, ChunkRef::count_in))
                .sum();
            (samples > 0).then(|| (series.labels.clone(), samples))
        })
    }

    /// The exemplars of series that match all conditions; a few series at a time.
    pub fn exemplars(
        &self,
        matchers: &[Matcher],
    ) -> impl Iterator<Item = Vec<(LabelSet, Vec<Exemplar>)>> {
        self.batches(matchers, |series| {
            let exemplars: Vec<Exemplar> = series.exemplars.iter().copied().collect();
            (!exemplars.is_empty()).then(|| (series.labels.clone(), exemplars))
        })
    }

    fn batches<T>(
        &self,
        matchers: &[Matcher],
        take: impl Fn(&Series) -> Option<T>,
    ) -> impl Iterator<Item = Vec<T>> {
        let ids = self.candidates(matchers);
        let mut at = 0;
        std::iter::from_fn(move || {
            let some = ids.get(at..).filter(|left| !left.is_empty())?;
            let some = &some[..some.len().min(BATCH)];
            at += some.len();
            let state = self.lock();
            let series = some.iter().filter_map(|id| state.series.get(id));
            let passes = |series: &&Series| {
                let meets = |matcher: &Matcher| matcher.matches(series.labels.get(&matcher.name));
                matchers.iter().all(meets)
            };
            Some(series.filter(passes).filter_map(&take).collect())
        })
    }

    /// The series that may match, in order of creation.
    fn candidates(&self, matchers: &[Matcher]) -> Vec<Id> {
        if let Some(ids) = self.lock().index.named(matchers) {
            return ids;
        }
        let mut ids = Vec::new();
        // The others let series pass that do not carry the label.
        match matchers.iter().find(|matcher| !matcher.matches("")) {
            None => ids.extend(self.lock().series.keys()),
            Some(matcher) => {
                let mut next =
                    |after: Option<&str>| self.lock().index.passing(matcher, after, &mut ids);
                let mut after = next(None);
                while let Some(value) = after {
                    after = next(Some(&value));
                }
            }
        }
        ids.sort_unstable();
        ids
    }

    /// Estimated bytes held.
    pub fn bytes(&self) -> u64 {
        self.lock().shares.bytes() as u64
    }

    /// The number of all samples lost so far.
    pub fn lost(&self) -> Lost {
        self.lock().lost
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl SeriesStore {
    /// Adds a sample to each series, in order of creation; faster than adding a source's samples.
    pub fn next(&self, at_ms: i64, value: impl Fn(usize) -> f64) {
        let mut state = self.lock();
        let mut ids: Vec<Id> = state.series.keys().copied().collect();
        ids.sort_unstable();
        for (number, id) in ids.into_iter().enumerate() {
            state.push(id, (at_ms, value(number).to_bits()));
        }
    }
}

/// A scraped series ends when its page no longer contains it, as in Prometheus, unless the page states the times of its
/// samples.
fn scraped_end(now_us: u64) -> impl Fn(&Series) -> Option<i64> {
    move |series| (!series.is_timed).then(|| milliseconds(now_us))
}

fn latest(series: &Series) -> LatestSample {
    let (at_ms, bits) = series.last;
    LatestSample {
        labels: series.labels.clone(),
        value: f64::from_bits(bits),
        at_ms,
        exemplar: series.exemplars.back().copied(),
    }
}

/// The labels of the source and of the sample, sorted, without empty ones. Labels of the source win; a different label of
/// the sample is kept as `exported_…`, as in Prometheus.
pub(crate) fn all_labels(own: &Labels, sample: Labels) -> Labels {
    let is_set = |(_, value): &(String, String)| !value.is_empty();
    let mut all: Labels = own.iter().filter(|label| is_set(label)).cloned().collect();
    let (clashing, free): (Labels, Labels) = sample
        .into_iter()
        .filter(is_set)
        .partition(|(name, _)| all.iter().any(|(known, _)| known == name));
    all.extend(free);
    for (mut name, value) in clashing {
        if own.contains(&(name.clone(), value.clone())) {
            continue;
        }
        while all.iter().any(|(known, _)| *known == name) {
            name.insert_str(0, "exported_");
        }
        all.push((name, value));
    }
    all.sort();
    all.shrink_to_fit();
    all
}

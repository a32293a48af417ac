//! The last samples of every source with a short history, within a budget of bytes.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::samples::{Exemplar, Labels, Sample, labels_cost};
use crate::store::cost;

/// Samples kept of each series.
const HISTORY: usize = 60;

/// A series that was sent, not scraped, goes when it is not heard of for so long: Prometheus's look-back.
const PATIENCE: Duration = Duration::from_secs(300);

/// A shared handle.
#[derive(Debug, Clone)]
pub(crate) struct SeriesStore {
    state: Arc<Mutex<State>>,
}

/// One series, as answers show it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    /// Metric name.
    pub name: String,
    /// All labels, those of the source too.
    pub labels: Labels,
    /// Last value.
    pub value: f64,
    /// Microseconds since the epoch.
    pub timestamp_us: u64,
    /// Last request behind it.
    pub exemplar: Option<Exemplar>,
    /// Time and value of the last samples, oldest first.
    pub history: Vec<(u64, f64)>,
}

#[derive(Debug)]
struct State {
    limit: usize,
    bytes: usize,
    dropped: u64,
    sources: BTreeMap<String, Source>,
}

/// Where samples come from: a target that is scraped, or a sender.
#[derive(Debug, Default)]
struct Source {
    /// Whether the last scrape worked; what a source that is down once said is no longer true.
    is_live: bool,
    metrics: HashMap<String, HashMap<Labels, Series>>,
}

#[derive(Debug)]
struct Series {
    history: VecDeque<(u64, f64)>,
    exemplar: Option<Exemplar>,
    heard: Instant,
}

impl Series {
    /// Bytes with its slot in the table.
    fn cost(labels: &Labels) -> usize {
        let history = cost::block(HISTORY * size_of::<(u64, f64)>());
        labels_cost(labels) + cost::slot(size_of::<(Labels, Self)>()) + history
    }
}

impl SeriesStore {
    /// An empty store that keeps within `limit_bytes`.
    pub fn new(limit_bytes: u64) -> Self {
        let state = State {
            limit: usize::try_from(limit_bytes).unwrap_or(usize::MAX),
            bytes: 0,
            dropped: 0,
            sources: BTreeMap::new(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// All that a source says now: what it said before and does not say any more goes. Returns how many series
    /// it has, and how many found no room.
    pub fn replace(
        &self,
        source: &str,
        own_labels: &Labels,
        samples: Vec<Sample>,
        now_us: u64,
    ) -> (u64, u64) {
        let mut state = self.lock();
        let started = Instant::now();
        let dropped = state.add(source, own_labels, samples, now_us);
        let kept = state.retain(source, |series| series.heard >= started);
        (kept, dropped)
    }

    /// Some of what a source says. Returns how many series found no room.
    pub fn merge(
        &self,
        source: &str,
        own_labels: &Labels,
        samples: Vec<Sample>,
        now_us: u64,
    ) -> u64 {
        let mut state = self.lock();
        let dropped = state.add(source, own_labels, samples, now_us);
        state.retain(source, |series| series.heard.elapsed() < PATIENCE);
        dropped
    }

    /// The source does not answer: its series are not shown until it does again.
    pub fn went_down(&self, source: &str) {
        if let Some(source) = self.lock().sources.get_mut(source) {
            source.is_live = false;
        }
    }

    /// Forgets series that were sent long ago, and the sources of `scraped` kind that are no targets any more.
    pub fn tidy(&self, is_target: impl Fn(&str) -> bool, is_scraped: impl Fn(&str) -> bool) {
        let mut state = self.lock();
        let names: Vec<String> = state.sources.keys().cloned().collect();
        for name in names {
            if !is_scraped(&name) {
                state.retain(&name, |series| series.heard.elapsed() < PATIENCE);
            } else if !is_target(&name) {
                state.retain(&name, |_| false);
            }
        }
    }

    /// Series of this name that carry all these labels, sorted by labels.
    pub fn find(&self, name: Option<&str>, wanted: &[(String, String)]) -> Vec<Found> {
        let state = self.lock();
        let mut found = Vec::new();
        for source in state.sources.values().filter(|source| source.is_live) {
            let metrics: Vec<_> = match name {
                Some(name) => source.metrics.get_key_value(name).into_iter().collect(),
                None => source.metrics.iter().collect(),
            };
            for (name, all) in metrics {
                let has = |labels: &Labels, (name, value): &(String, String)| match value.as_str() {
                    "" => !labels.iter().any(|(known, _)| known == name),
                    _ => labels.contains(&(name.clone(), value.clone())),
                };
                let matching = all
                    .iter()
                    .filter(|(labels, _)| wanted.iter().all(|label| has(labels, label)));
                found.extend(matching.filter_map(|(labels, series)| answer(name, labels, series)));
            }
        }
        found.sort_by(|a, b| (&a.name, &a.labels).cmp(&(&b.name, &b.labels)));
        found
    }

    /// Estimated bytes held.
    pub fn bytes(&self) -> u64 {
        self.lock().bytes as u64
    }

    /// Samples that found no room, ever.
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer(name: &str, labels: &Labels, series: &Series) -> Option<Found> {
    let (timestamp_us, value) = *series.history.back()?;
    Some(Found {
        name: name.to_owned(),
        labels: labels.clone(),
        value,
        timestamp_us,
        exemplar: series.exemplar,
        history: series.history.iter().copied().collect(),
    })
}

/// Labels of the source and of the sample, sorted. An empty one is no label. The source's win; what the sample says otherwise
/// is kept as `exported_…`, as Prometheus does.
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

impl State {
    fn add(&mut self, source: &str, own_labels: &Labels, samples: Vec<Sample>, now_us: u64) -> u64 {
        let mut dropped = 0;
        let heard = Instant::now();
        let source = self.sources.entry(source.to_owned()).or_default();
        source.is_live = true;
        for sample in samples {
            let labels = all_labels(own_labels, sample.labels);
            let at = sample.timestamp_us.unwrap_or(now_us);
            let known = source
                .metrics
                .get_mut(&sample.name)
                .and_then(|all| all.get_mut(&labels));
            if let Some(series) = known {
                series.heard = heard;
                series.exemplar = sample.exemplar.or(series.exemplar);
                push(&mut series.history, (at, sample.value));
                continue;
            }
            let name_cost = match source.metrics.contains_key(&sample.name) {
                true => 0,
                false => name_cost(&sample.name),
            };
            let cost = Series::cost(&labels) + name_cost;
            if self.bytes + cost > self.limit {
                dropped += 1;
                continue;
            }
            self.bytes += cost;
            let mut history = VecDeque::with_capacity(HISTORY);
            history.push_back((at, sample.value));
            let series = Series {
                history,
                exemplar: sample.exemplar,
                heard,
            };
            source
                .metrics
                .entry(sample.name)
                .or_default()
                .insert(labels, series);
        }
        self.dropped += dropped;
        dropped
    }

    /// Drops the series of a source that are not to stay, then the source if nothing is left. Returns how many stay.
    fn retain(&mut self, name: &str, stays: impl Fn(&Series) -> bool) -> u64 {
        let Some(source) = self.sources.get_mut(name) else {
            return 0;
        };
        let bytes = &mut self.bytes;
        let mut kept = 0;
        source.metrics.retain(|metric, all| {
            all.retain(|labels, series| {
                let stays = stays(series);
                if !stays {
                    *bytes -= Series::cost(labels);
                }
                stays
            });
            kept += all.len() as u64;
            if all.is_empty() {
                *bytes -= name_cost(metric);
            }
            !all.is_empty()
        });
        if kept == 0 {
            self.sources.remove(name);
        }
        kept
    }
}

fn name_cost(name: &str) -> usize {
    cost::block(name.len()) + cost::slot(size_of::<(String, HashMap<Labels, Series>)>())
}

/// Adds a sample to a full-sized ring. A page that shows an old sample again adds nothing; one whose clock went back starts anew.
fn push(history: &mut VecDeque<(u64, f64)>, sample: (u64, f64)) {
    match history.back() {
        Some((last, _)) if *last == sample.0 => {
            history.pop_back();
        }
        Some((last, _)) if *last > sample.0 => history.clear(),
        _ => {}
    }
    if history.len() >= HISTORY {
        history.pop_front();
    }
    history.push_back(sample);
}

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

/// The share of the budget that all senders together may take, and one of them, so that scraped targets and other senders find
/// room: three quarters, and half.
const SENT_SHARE: (usize, usize) = (3, 4);
const SENDER_SHARE: usize = 2;

/// Senders that are told apart, as those of traces are. Those that come when there are so many share what one may take.
const SENDERS: usize = 32;

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
    /// Time and value of the last samples, oldest first; empty if not asked for.
    pub history: Vec<(u64, f64)>,
}

#[derive(Debug)]
struct State {
    limit: usize,
    bytes: usize,
    /// Of these the bytes of each sender, whatever instances it has.
    sent: BTreeMap<String, usize>,
    dropped: u64,
    sources: BTreeMap<String, Source>,
}

/// Where samples come from: a target that is scraped, or a sender.
#[derive(Debug, Default)]
struct Source {
    /// Whether the last scrape worked; what a source that is down once said is no longer true.
    is_live: bool,
    /// Whose share it takes, if it sends itself and is not scraped.
    sender: Option<String>,
    bytes: usize,
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

    fn first(sample: (u64, f64), exemplar: Option<Exemplar>, heard: Instant) -> Self {
        let mut history = VecDeque::with_capacity(HISTORY);
        history.push_back(sample);
        Self {
            history,
            exemplar,
            heard,
        }
    }
}

impl SeriesStore {
    /// An empty store that keeps within `limit_bytes`.
    pub fn new(limit_bytes: u64) -> Self {
        let state = State {
            limit: usize::try_from(limit_bytes).unwrap_or(usize::MAX),
            bytes: 0,
            sent: BTreeMap::new(),
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
        let started = Instant::now();
        let dropped = self.scraped(source, own_labels, samples, now_us);
        (self.forget_unheard(source, started), dropped)
    }

    /// Some of what a target says now. Returns how many series found no room.
    pub fn scraped(
        &self,
        source: &str,
        own_labels: &Labels,
        samples: Vec<Sample>,
        now_us: u64,
    ) -> u64 {
        self.lock().add(source, None, own_labels, samples, now_us)
    }

    /// What a source has not said since then goes. Returns how many series it has.
    pub fn forget_unheard(&self, source: &str, since: Instant) -> u64 {
        self.lock().retain(source, |series| series.heard >= since)
    }

    /// Some of what a sender says. Returns how many data points found no room, or not for all of it. What is not said for long goes with
    /// [`Self::tidy`]: going through all series for each request would take long.
    pub fn merge(
        &self,
        source: &str,
        sender: &str,
        own_labels: &Labels,
        samples: Vec<Sample>,
        now_us: u64,
    ) -> u64 {
        self.lock()
            .add(source, Some(sender), own_labels, samples, now_us)
    }

    /// The source does not answer: its series are not shown until it does again.
    pub fn went_down(&self, source: &str) {
        if let Some(source) = self.lock().sources.get_mut(source) {
            source.is_live = false;
        }
    }

    /// Forgets series that were sent long ago, and the sources of `scraped` kind that are no targets any more.
    pub fn tidy(&self, is_target: impl Fn(&str) -> bool, is_scraped: impl Fn(&str) -> bool) {
        let names: Vec<String> = self.lock().sources.keys().cloned().collect();
        for name in names {
            let mut state = self.lock();
            if !is_scraped(&name) {
                state.retain(&name, |series| series.heard.elapsed() < PATIENCE);
            } else if !is_target(&name) {
                state.retain(&name, |_| false);
            }
        }
    }

    /// Series of this name that carry all these labels, sorted by labels; with their history if that is wanted. `room` is
    /// asked for the bytes of each; `None` if it has none.
    pub fn find(
        &self,
        name: Option<&str>,
        wanted: &[(String, String)],
        history: bool,
        room: &mut dyn FnMut(usize) -> bool,
    ) -> Option<Vec<Found>> {
        let mut found = Vec::new();
        let sources: Vec<String> = self.lock().sources.keys().cloned().collect();
        for source in sources {
            let state = self.lock();
            let live = state.sources.get(&source).filter(|source| source.is_live);
            for (name, labels, series) in live.into_iter().flat_map(|source| source.named(name)) {
                if !wanted.iter().all(|label| carries(labels, label)) {
                    continue;
                }
                if !room(Series::cost(labels)) {
                    return None;
                }
                found.extend(answer(name, labels, series, history));
            }
        }
        found.sort_by(|a, b| (&a.name, &a.labels).cmp(&(&b.name, &b.labels)));
        Some(found)
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

impl Source {
    /// Its series of one name, or all.
    fn named<'a>(
        &'a self,
        name: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a String, &'a Labels, &'a Series)> {
        let one = name.and_then(|name| self.metrics.get_key_value(name));
        let all = self.metrics.iter().filter(move |_| name.is_none());
        one.into_iter().chain(all).flat_map(|(name, all)| {
            all.iter()
                .map(move |(labels, series)| (name, labels, series))
        })
    }
}

/// Whether a label is there. An empty one is no label.
fn carries(labels: &Labels, wanted: &(String, String)) -> bool {
    match wanted.1.as_str() {
        "" => !labels.iter().any(|(known, _)| *known == wanted.0),
        _ => labels.contains(wanted),
    }
}

fn answer(name: &str, labels: &Labels, series: &Series, history: bool) -> Option<Found> {
    let (timestamp_us, value) = *series.history.back()?;
    Some(Found {
        name: name.to_owned(),
        labels: labels.clone(),
        value,
        timestamp_us,
        exemplar: series.exemplar,
        history: match history {
            true => series.history.iter().copied().collect(),
            false => Vec::new(),
        },
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
    fn add(
        &mut self,
        name: &str,
        sender: Option<&str>,
        own_labels: &Labels,
        samples: Vec<Sample>,
        now_us: u64,
    ) -> u64 {
        let (mut dropped, mut is_dropped) = (0, false);
        let heard = Instant::now();
        let mut source = match self.sources.remove(name) {
            Some(source) => source,
            None => Source {
                sender: sender.map(|sender| self.share(sender)),
                ..Source::default()
            },
        };
        source.is_live = true;
        for sample in samples {
            is_dropped &= !sample.begins;
            let labels = all_labels(own_labels, sample.labels);
            let at = sample.timestamp_us.unwrap_or(now_us);
            let known = source.metrics.get_mut(&sample.name);
            if let Some(series) = known.and_then(|all| all.get_mut(&labels)) {
                series.heard = heard;
                series.exemplar = sample.exemplar.or(series.exemplar);
                push(&mut series.history, (at, sample.value));
                continue;
            }
            let cost = Series::cost(&labels) + source.new_cost(name, &sample.name);
            if !self.has_room(&source, cost) {
                dropped += u64::from(!is_dropped);
                is_dropped = true;
                self.dropped += 1;
                continue;
            }
            self.charge(&mut source, cost);
            let series = Series::first((at, sample.value), sample.exemplar, heard);
            let of_name = source.metrics.entry(sample.name).or_default();
            of_name.insert(labels, series);
        }
        if !source.metrics.is_empty() {
            self.sources.insert(name.to_owned(), source);
        }
        dropped
    }

    /// Whose share a sender takes: its own, or that of all that come when there are many.
    fn share(&self, sender: &str) -> String {
        let has_own = self.sent.contains_key(sender) || self.sent.len() < SENDERS;
        if has_own { sender } else { "" }.to_owned()
    }

    fn has_room(&self, source: &Source, cost: usize) -> bool {
        let (share, of) = SENT_SHARE;
        let is_fair = source.sender.as_ref().is_none_or(|sender| {
            let own = self.sent.get(sender).unwrap_or(&0);
            self.sent.values().sum::<usize>() + cost <= self.limit / of * share
                && own + cost <= self.limit / SENDER_SHARE
        });
        is_fair && self.bytes + cost <= self.limit
    }

    fn charge(&mut self, source: &mut Source, cost: usize) {
        self.bytes += cost;
        source.bytes += cost;
        if let Some(sender) = &source.sender {
            *self.sent.entry(sender.clone()).or_default() += cost;
        }
    }

    /// Drops the series of a source that are not to stay, then the source if nothing is left. Returns how many stay.
    fn retain(&mut self, name: &str, stays: impl Fn(&Series) -> bool) -> u64 {
        let Some(source) = self.sources.get_mut(name) else {
            return 0;
        };
        let (mut kept, mut freed) = (0, 0);
        source.metrics.retain(|metric, all| {
            all.retain(|labels, series| {
                let stays = stays(series);
                if !stays {
                    freed += Series::cost(labels);
                }
                stays
            });
            kept += all.len() as u64;
            if all.is_empty() {
                freed += name_cost(metric);
            }
            !all.is_empty()
        });
        if kept == 0 {
            freed += source_cost(name);
        }
        source.bytes -= freed;
        self.bytes -= freed;
        if let Some(sender) = &source.sender {
            let left = self.sent.remove(sender).unwrap_or_default() - freed;
            if left > 0 {
                self.sent.insert(sender.clone(), left);
            }
        }
        if kept == 0 {
            self.sources.remove(name);
        }
        kept
    }
}

impl Source {
    /// What a series costs beside itself: its metric's table and the source, if it is the first one in them.
    fn new_cost(&self, source: &str, metric: &str) -> usize {
        match (self.metrics.is_empty(), self.metrics.contains_key(metric)) {
            (true, _) => source_cost(source) + name_cost(metric),
            (false, true) => 0,
            (false, false) => name_cost(metric),
        }
    }
}

/// The least size of a table: four slots and their control bytes.
const fn least_table(slot: usize) -> usize {
    cost::block(4 * slot + 20)
}

fn source_cost(name: &str) -> usize {
    let table = least_table(size_of::<(String, HashMap<Labels, Series>)>());
    cost::block(name.len()) + cost::slot(size_of::<(String, Source)>()) + table
}

fn name_cost(name: &str) -> usize {
    let slot = cost::slot(size_of::<(String, HashMap<Labels, Series>)>());
    cost::block(name.len()) + slot + least_table(size_of::<(Labels, Series)>())
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

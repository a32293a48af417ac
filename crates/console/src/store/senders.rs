//! Memory per sender, so that a flood from one sender evicts its own data and not the others'.

use std::collections::{HashMap, VecDeque};

/// The maximum number of senders that are counted separately. Further senders share one more entry: names cost nothing, and
/// a flood of names must not make every sender's share small.
const PLACES: usize = 32;

/// One sender: its oldest trace and log record, and its size.
#[derive(Debug, Default)]
pub(super) struct Sender {
    name: String,
    /// Bytes of its traces, its log records without a trace and its resources.
    pub bytes: usize,
    /// The part of `bytes` in log records without a trace.
    pub log_bytes: usize,
    /// Its traces by their number, the oldest in front.
    pub traces: VecDeque<u64>,
    /// Its log records without a trace by their number, the oldest in front.
    pub logs: VecDeque<u64>,
}

impl Sender {
    fn is_gone(&self) -> bool {
        self.bytes == 0 && self.traces.is_empty() && self.logs.is_empty()
    }
}

/// All senders.
#[derive(Debug)]
pub(super) struct Senders {
    by_name: HashMap<String, usize>,
    /// The last one is shared.
    places: Vec<Sender>,
}

impl Default for Senders {
    fn default() -> Self {
        Self {
            by_name: HashMap::new(),
            places: (0..=PLACES).map(|_| Sender::default()).collect(),
        }
    }
}

impl Senders {
    /// The index of a sender, which keeps it for as long as it stores anything.
    pub fn place(&mut self, name: &str) -> usize {
        if let Some(place) = self.by_name.get(name) {
            return *place;
        }
        let free = self.places[..PLACES].iter().position(Sender::is_gone);
        let Some(place) = free else {
            return PLACES;
        };
        let before = std::mem::replace(&mut self.places[place].name, name.to_owned());
        self.by_name.remove(&before);
        self.by_name.insert(name.to_owned(), place);
        place
    }

    pub fn by_index(&mut self, place: usize) -> &mut Sender {
        &mut self.places[place]
    }

    /// The largest sender with a trace or a log record to drop.
    pub fn largest(&mut self) -> Option<&mut Sender> {
        let has_items = |sender: &&mut Sender| !sender.traces.is_empty() || !sender.logs.is_empty();
        let senders = self.places.iter_mut().filter(has_items);
        senders.max_by_key(|sender| sender.bytes)
    }

    /// The sender with the most log records without a trace.
    pub fn most_logs(&mut self) -> Option<&mut Sender> {
        let senders = self.places.iter_mut();
        let senders = senders.filter(|sender| !sender.logs.is_empty());
        senders.max_by_key(|sender| sender.log_bytes)
    }
}

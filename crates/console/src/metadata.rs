//! The metadata of metrics: type, unit and help text, as targets and senders state them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::store::cost;

/// Metadata that no target or sender has repeated for this long is dropped. Targets are scraped, and senders send, more
/// often.
const PATIENCE: Duration = Duration::from_secs(600);

/// The time between two searches for expired metadata.
const TIDY: Duration = Duration::from_secs(60);

/// How many targets, and how many senders, say otherwise about the same metric.
const MAX_VARIANTS: usize = 8;

/// The metadata of a metric, in Prometheus's terms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Described {
    /// `counter`, `gauge`, …
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub unit: String,
    pub help: String,
}

impl Default for Described {
    fn default() -> Self {
        Self {
            kind: "unknown",
            unit: String::new(),
            help: String::new(),
        }
    }
}

impl Described {
    /// Its bytes in memory, estimated, with the name's.
    pub fn cost(&self, name: &str) -> usize {
        let texts = [name.len(), self.unit.len(), self.help.len()];
        cost::slot(size_of::<(String, Variants)>())
            + cost::block(size_of::<SeenMetadata>())
            + texts.map(cost::block).iter().sum::<usize>()
    }
}

/// A shared handle.
#[derive(Debug, Clone)]
pub(crate) struct Metadata(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    all: BTreeMap<String, Variants>,
    limit: usize,
    bytes: usize,
    /// The part of `bytes` that senders have sent: at most half of the limit.
    sent: usize,
    tidied: Instant,
}

/// The variants of one metric's metadata. Those of targets come first, and those of senders cannot replace them.
#[derive(Debug, Default)]
struct Variants {
    scraped: Vec<SeenMetadata>,
    sent: Vec<SeenMetadata>,
}

#[derive(Debug)]
struct SeenMetadata {
    described: Described,
    at: Instant,
}

impl Variants {
    fn list(&mut self, is_sent: bool) -> &mut Vec<SeenMetadata> {
        match is_sent {
            true => &mut self.sent,
            false => &mut self.scraped,
        }
    }

    /// Each variant once.
    fn all(&self) -> impl Iterator<Item = &Described> {
        let known = |one: &Described| self.scraped.iter().any(|heard| heard.described == *one);
        let sent = self.sent.iter().map(|heard| &heard.described);
        let scraped = self.scraped.iter().map(|heard| &heard.described);
        scraped.chain(sent.filter(move |one| !known(one)))
    }
}

impl Metadata {
    /// Keeps within `limit_bytes`, and drops metadata that does not fit.
    pub fn new(limit_bytes: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            all: BTreeMap::new(),
            limit: usize::try_from(limit_bytes).unwrap_or(usize::MAX),
            bytes: 0,
            sent: 0,
            tidied: Instant::now(),
        })))
    }

    /// Adds the metadata that a target's page or a sender states.
    pub fn add(&self, name: String, described: Described, is_sent: bool) {
        let mut state = self.lock();
        if state.tidied.elapsed() >= TIDY {
            state.tidy(Instant::now());
        }
        state.add(name, described, is_sent);
    }

    /// The metadata of one metric, or of the first metrics by name and the first variant of each.
    pub fn read<E>(
        &self,
        one: Option<&str>,
        (metrics, variants): (usize, usize),
        mut room: impl FnMut(usize) -> Result<(), E>,
    ) -> Result<BTreeMap<String, Vec<Described>>, E> {
        let state = self.lock();
        let wanted = |name: &str| one.is_none_or(|one| one == name);
        let all = state.all.iter().filter(|(name, _)| wanted(name));
        let mut found = BTreeMap::new();
        for (name, said) in all.take(metrics) {
            let described: Vec<Described> = said.all().take(variants).cloned().collect();
            room(described.iter().map(|one| one.cost(name)).sum())?;
            found.insert(name.clone(), described);
        }
        Ok(found)
    }

    /// Estimated bytes held.
    pub fn bytes(&self) -> u64 {
        self.lock().bytes as u64
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, name: String, described: Described, is_sent: bool) {
        let at = Instant::now();
        let known = self.all.get_mut(&name);
        if let Some(all) = known.map(|all| all.list(is_sent)) {
            if let Some(same) = all.iter_mut().find(|known| known.described == described) {
                same.at = at;
                return;
            }
            if all.len() >= MAX_VARIANTS {
                return;
            }
        }
        let cost = described.cost(&name);
        let sent = self.sent + if is_sent { cost } else { 0 };
        if self.bytes + cost > self.limit || sent > self.limit / 2 {
            return;
        }
        (self.bytes, self.sent) = (self.bytes + cost, sent);
        let all = self.all.entry(name).or_default();
        all.list(is_sent).push(SeenMetadata { described, at });
    }

    fn tidy(&mut self, now: Instant) {
        self.tidied = now;
        let (mut scraped, mut sent) = (0, 0);
        self.all.retain(|name, all| {
            let mut stays = false;
            for (heard, bytes) in [(&mut all.scraped, &mut scraped), (&mut all.sent, &mut sent)] {
                heard.retain(|heard| now.saturating_duration_since(heard.at) < PATIENCE);
                let costs = heard.iter().map(|heard| heard.described.cost(name));
                *bytes += costs.sum::<usize>();
                stays |= !heard.is_empty();
            }
            stays
        });
        (self.bytes, self.sent) = (scraped + sent, sent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(help: &str) -> Described {
        Described {
            help: help.to_owned(),
            ..Described::default()
        }
    }

    fn read(metadata: &Metadata, limits: (usize, usize)) -> Vec<(String, usize)> {
        let found = metadata.read(None, limits, |_| Ok::<_, ()>(()));
        let found = found.expect("room").into_iter();
        found.map(|(name, all)| (name, all.len())).collect()
    }

    #[test]
    fn it_keeps_within_its_room_and_leaves_half_of_it_to_targets() {
        let metadata = Metadata::new(64 << 10);
        for i in 0..10_000 {
            metadata.add(format!("sent_{i}"), described("x"), true);
        }
        let sent = metadata.bytes();
        assert!((30 << 10..=32 << 10).contains(&sent), "{sent}");
        for i in 0..10_000 {
            metadata.add(format!("scraped_{i}"), described("x"), false);
        }
        let all = metadata.bytes();
        assert!((62 << 10..=64 << 10).contains(&all), "{all}");
        let names = read(&metadata, (usize::MAX, 1));
        assert!(names.iter().any(|(name, _)| name == "scraped_0"));
        metadata.lock().tidy(Instant::now() + PATIENCE);
        assert_eq!((metadata.bytes(), read(&metadata, (9, 9))), (0, Vec::new()));
    }

    #[test]
    fn the_same_is_kept_once_and_few_may_say_otherwise() {
        let metadata = Metadata::new(64 << 10);
        for i in 0..20 {
            metadata.add("a".to_owned(), described(&i.to_string()), false);
            metadata.add("b".to_owned(), described("always"), i > 0);
        }
        let found = [("a".to_owned(), MAX_VARIANTS), ("b".to_owned(), 1)];
        assert_eq!(read(&metadata, (9, 9)), found);
        assert_eq!(read(&metadata, (1, 2)), [("a".to_owned(), 2)]);
        let full = metadata.read(None, (9, 9), |_| Err("full"));
        assert_eq!(full, Err("full"));
    }

    #[test]
    fn what_is_sent_does_not_push_out_what_a_target_says() {
        let metadata = Metadata::new(64 << 10);
        for i in 0..20 {
            metadata.add("up".to_owned(), described(&i.to_string()), true);
        }
        metadata.add("up".to_owned(), described("its own"), false);
        let found = metadata.read(Some("up"), (1, 1), |_| Ok::<_, ()>(()));
        assert_eq!(found.expect("room")["up"], [described("its own")]);
    }
}

//! Which series carry a label's value.

use std::collections::BTreeMap;
use std::ops::Bound;

use promql::{Matcher, Test};

use super::labels::{LabelSet, pair, split};
use super::shares::Share;
use crate::store::cost;

/// A series, never the same number twice.
pub(super) type Id = u64;

/// By label and value, see [`pair`].
#[derive(Debug, Default)]
pub(super) struct Index(BTreeMap<Box<[u8]>, Entry>);

#[derive(Debug)]
struct Entry {
    /// In ascending order.
    ids: Vec<Id>,
    /// Which share it is charged to: that of the first series that carried it.
    share: Share,
}

impl Index {
    /// What a new series costs here.
    pub fn cost(&self, labels: &LabelSet) -> usize {
        let new = labels.pairs().filter(|pair| !self.0.contains_key(*pair));
        labels.pairs().count() * cost::slot(size_of::<Id>()) + new.map(entry_cost).sum::<usize>()
    }

    /// Adds a series whose number is the highest; returns what it costs.
    pub fn add(&mut self, id: Id, labels: &LabelSet, share: Share) {
        for pair in labels.pairs() {
            let new = || Entry {
                ids: Vec::new(),
                share,
            };
            match self.0.get_mut(pair) {
                Some(entry) => entry.ids.push(id),
                None => self.0.entry(pair.into()).or_insert_with(new).ids.push(id),
            }
        }
    }

    /// Removes a series; tells what it gives back to which share.
    pub fn remove(&mut self, id: Id, labels: &LabelSet, share: Share) -> Vec<(Share, usize)> {
        let mut freed = Vec::new();
        for pair in labels.pairs() {
            let Some(entry) = self.0.get_mut(pair) else {
                continue;
            };
            if let Ok(at) = entry.ids.binary_search(&id) {
                entry.ids.remove(at);
                freed.push((share, cost::slot(size_of::<Id>())));
            }
            if entry.ids.len() * 4 < entry.ids.capacity() {
                entry.ids.shrink_to(entry.ids.len() * 2);
            }
            if entry.ids.is_empty() {
                freed.push((entry.share, entry_cost(pair)));
                self.0.remove(pair);
            }
        }
        freed
    }

    /// All values of a label.
    fn values(&self, name: &str) -> impl Iterator<Item = (&str, &[Id])> {
        let first = pair(name, "");
        let from = (Bound::Included(first.as_slice()), Bound::Unbounded);
        let all = self.0.range::<[u8], _>(from);
        let of_name = all
            .map(|(pair, entry)| (split(pair), entry.ids.as_slice()))
            .take_while(move |((known, _), _)| *known == name);
        of_name.map(|((_, value), ids)| (value, ids))
    }

    /// Series that may pass all of these conditions, in ascending order: the fewest that one condition leaves. `None` means all there are.
    pub fn candidates(&self, matchers: &[Matcher]) -> Option<Vec<Id>> {
        let exact = matchers.iter().filter_map(|matcher| self.exactly(matcher));
        if let Some(ids) = exact.min_by_key(|ids| ids.len()) {
            return Some(ids.to_vec());
        }
        let narrow = matchers.iter().filter(|matcher| !matcher.matches(""));
        let sets = narrow.map(|matcher| self.passing(matcher));
        sets.min_by_key(Vec::len)
    }

    /// Series with just this value, if that is what the condition says.
    fn exactly(&self, matcher: &Matcher) -> Option<&[Id]> {
        let Test::Text(value) = &matcher.test else {
            return None;
        };
        if matcher.negated || value.is_empty() {
            return None;
        }
        let entry = self.0.get(pair(&matcher.name, value).as_slice());
        Some(entry.map_or(&[], |entry| entry.ids.as_slice()))
    }

    /// Series with a value of this label that passes.
    fn passing(&self, matcher: &Matcher) -> Vec<Id> {
        let values = self.values(&matcher.name);
        let passing = values.filter(|(value, _)| matcher.matches(value));
        let mut ids: Vec<Id> = passing.flat_map(|(_, ids)| ids).copied().collect();
        ids.sort_unstable();
        ids
    }
}

/// An entry without its series.
fn entry_cost(pair: &[u8]) -> usize {
    cost::block(pair.len()) + cost::slot(size_of::<(Box<[u8]>, Entry)>())
}

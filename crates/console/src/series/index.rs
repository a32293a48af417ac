//! Which series carry a label's value.

use std::collections::BTreeMap;
use std::ops::Bound;

use promql::{Matcher, Test};

use super::labels::{LabelSet, pair, split};
use super::shares::Share;
use crate::store::cost;

/// A series, never the same number twice.
pub(super) type Id = u64;

/// How many values of a label are tested before others get the lock, because a regular expression may be expensive.
const VALUES: usize = 64;

/// By label and value, see [`pair`].
#[derive(Debug, Default)]
pub(super) struct Index(BTreeMap<Box<[u8]>, Entry>);

#[derive(Debug)]
struct Entry {
    /// In ascending order. Removed series stay until they are more than the others, because removing each from a long list
    /// would take too long.
    ids: Vec<Id>,
    /// How many of them are not gone.
    known: usize,
    /// The share that it is charged to: that of the first series with this label.
    share: Share,
}

impl Index {
    /// The cost of a new series in the index.
    pub fn cost(&self, labels: &LabelSet) -> usize {
        let new = labels.pairs().filter(|pair| !self.0.contains_key(*pair));
        labels.pairs().count() * cost::slot(size_of::<Id>()) + new.map(entry_cost).sum::<usize>()
    }

    /// Adds a series with the highest number so far; returns its cost.
    pub fn add(&mut self, id: Id, labels: &LabelSet, share: Share) {
        for pair in labels.pairs() {
            let new = || Entry {
                ids: Vec::new(),
                known: 0,
                share,
            };
            let entry = match self.0.get_mut(pair) {
                Some(entry) => entry,
                None => self.0.entry(pair.into()).or_insert_with(new),
            };
            entry.ids.push(id);
            entry.known += 1;
        }
    }

    /// Removes a series, and reports what it gives back to which share.
    pub fn remove(
        &mut self,
        labels: &LabelSet,
        share: Share,
        is_known: impl Fn(&Id) -> bool,
    ) -> Vec<(Share, usize)> {
        let mut freed = Vec::new();
        for pair in labels.pairs() {
            let Some(entry) = self.0.get_mut(pair) else {
                continue;
            };
            entry.known -= 1;
            freed.push((share, cost::slot(size_of::<Id>())));
            if entry.known * 2 < entry.ids.len() {
                entry.ids.retain(&is_known);
                entry.ids.shrink_to(entry.known * 2);
            }
            if entry.known == 0 {
                freed.push((entry.share, entry_cost(pair)));
                self.0.remove(pair);
            }
        }
        freed
    }

    /// The shortest list of series among the conditions that name a value, in ascending order; some may have been removed.
    /// `None` if no condition names a value.
    pub fn named(&self, matchers: &[Matcher]) -> Option<Vec<Id>> {
        let named = matchers.iter().filter_map(|matcher| self.exactly(matcher));
        named.min_by_key(|ids| ids.len()).map(<[Id]>::to_vec)
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

    /// Adds the series of one of the label's next values, if the value matches; some may have been removed. Returns the
    /// value to continue after; `None` at the end.
    pub fn passing(
        &self,
        matcher: &Matcher,
        after: Option<&str>,
        ids: &mut Vec<Id>,
    ) -> Option<String> {
        let first = pair(&matcher.name, after.unwrap_or_default());
        let from = match after {
            Some(_) => Bound::Excluded(first.as_slice()),
            None => Bound::Included(first.as_slice()),
        };
        let all = self.0.range::<[u8], _>((from, Bound::Unbounded));
        let mut last = None;
        for (pair, entry) in all.take(VALUES) {
            let (name, value) = split(pair);
            if name != matcher.name {
                return None;
            }
            if matcher.matches(value) {
                ids.extend(&entry.ids);
            }
            last = Some(value);
        }
        last.map(str::to_owned)
    }
}

/// An entry without its series.
fn entry_cost(pair: &[u8]) -> usize {
    cost::block(pair.len()) + cost::slot(size_of::<(Box<[u8]>, Entry)>())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::series::labels::packed;

    #[test]
    fn series_that_go_together_take_no_work_for_each_other() {
        const SERIES: u64 = 10_000;
        let labels = |id: Id| {
            let pairs = [("job", "a".to_owned()), ("x", id.to_string())];
            let pairs = pairs.map(|(name, value)| (name.to_owned(), value));
            LabelSet::new(&packed(&pairs.into()))
        };
        let mut index = Index::default();
        (1..=SERIES).for_each(|id| index.add(id, &labels(id), 0));
        let looked_at = Cell::new(0);
        for gone in 1..=SERIES {
            let is_known = |id: &Id| {
                looked_at.set(looked_at.get() + 1);
                *id > gone
            };
            index.remove(&labels(gone), 0, is_known);
            let Some(entry) = index.0.get(pair("job", "a").as_slice()) else {
                continue;
            };
            let known = (SERIES - gone) as usize;
            assert_eq!(entry.known, known);
            assert!(entry.ids.len() <= known * 2, "{} ids", entry.ids.len());
            assert!(entry.ids.ends_with(&[SERIES]));
        }
        assert!(index.0.is_empty());
        let looked_at = looked_at.get();
        assert!(looked_at <= 4 * SERIES, "{looked_at} looks");
    }
}

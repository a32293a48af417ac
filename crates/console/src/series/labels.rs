//! The labels of a series in one block of memory.

use std::borrow::Borrow;
use std::sync::Arc;

use crate::samples::Labels;
use crate::store::cost;

/// No text in UTF-8 holds this byte.
const BETWEEN: u8 = 0xff;

/// Names and values, each followed by [`BETWEEN`], sorted by name; the metric's name is one of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LabelSet(Arc<[u8]>);

impl LabelSet {
    /// From [`packed`] labels.
    pub fn new(packed: &[u8]) -> Self {
        Self(packed.into())
    }

    /// Bytes on the heap.
    pub fn cost(&self) -> usize {
        const REFERENCES: usize = 16;
        cost::block(REFERENCES + self.0.len())
    }

    /// Names and values, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs().map(split)
    }

    /// The value of a label; empty if it is absent.
    pub fn get(&self, name: &str) -> &str {
        let mut values = self.pairs().filter_map(|pair| {
            let rest = pair.strip_prefix(name.as_bytes())?;
            rest.strip_prefix(&[BETWEEN])
        });
        values.next().map_or("", text)
    }

    /// Each name with its value, as [`pair`] writes them.
    pub fn pairs(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest: &[u8] = &self.0;
        std::iter::from_fn(move || {
            let mut ends = rest
                .iter()
                .enumerate()
                .filter(|(_, byte)| **byte == BETWEEN);
            let (end, _) = ends.nth(1)?;
            let (pair, left) = rest.split_at(end + 1);
            rest = left;
            Some(&pair[..end])
        })
    }
}

impl Borrow<[u8]> for LabelSet {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// Sorted labels as they are in a [`LabelSet`].
pub(super) fn packed(labels: &Labels) -> Vec<u8> {
    let size = |(name, value): &(String, String)| name.len() + value.len() + 2;
    let mut bytes = Vec::with_capacity(labels.iter().map(size).sum());
    for text in labels.iter().flat_map(|(name, value)| [name, value]) {
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(BETWEEN);
    }
    bytes
}

/// A name and a value as a key that sorts by name, then by value.
pub(super) fn pair(name: &str, value: &str) -> Vec<u8> {
    [name.as_bytes(), &[BETWEEN], value.as_bytes()].concat()
}

/// The name and value of a [`pair`].
pub(super) fn split(pair: &[u8]) -> (&str, &str) {
    let end = pair.iter().position(|byte| *byte == BETWEEN);
    let (name, value) = pair.split_at(end.unwrap_or(pair.len()));
    (text(name), text(value.get(1..).unwrap_or_default()))
}

/// Every byte comes from valid text.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use promql::NAME;

    use super::*;

    #[test]
    fn labels_stay_as_they_are() {
        let labels: Labels = [("__name__", "größe"), ("a", "1=2,\n"), ("b", "")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let set = LabelSet::new(&packed(&labels));
        let read: Vec<_> = set.iter().collect();
        assert_eq!(read, [(NAME, "größe"), ("a", "1=2,\n"), ("b", "")]);
        assert_eq!((set.get("a"), set.get("c")), ("1=2,\n", ""));
        let pairs: Vec<_> = set.pairs().collect();
        assert_eq!(pairs[1], pair("a", "1=2,\n"));
        assert_eq!(split(pairs[2]), ("b", ""));
        assert_eq!(<LabelSet as Borrow<[u8]>>::borrow(&set), packed(&labels));
        assert_eq!(LabelSet::new(&[]).iter().count(), 0);
    }
}

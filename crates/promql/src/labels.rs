use std::fmt;
use std::sync::Arc;

/// The label that holds the name of the metric.
pub const NAME: &str = "__name__";

/// The labels that a calculated value loses.
pub(crate) const METADATA: [&str; 3] = [NAME, "__type__", "__unit__"];

type Pair = (Arc<str>, Arc<str>);

/// The labels of a series, including the metric's name, sorted by name. No value is empty: PromQL does not distinguish an
/// empty label from a missing one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels(Arc<[Pair]>);

impl Labels {
    /// Sorts them. Of two pairs with the same name the last one counts; empty values are dropped.
    pub fn new<N: Into<Arc<str>>, V: Into<Arc<str>>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let pairs = pairs
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()));
        Self::sorted(pairs.collect())
    }

    fn sorted(mut pairs: Vec<Pair>) -> Self {
        pairs.reverse();
        pairs.sort_by(|left, right| left.0.cmp(&right.0));
        pairs.dedup_by(|later, first| later.0 == first.0);
        pairs.retain(|(_, value)| !value.is_empty());
        Self(pairs.into())
    }

    /// The value of a label; empty if it is absent.
    pub fn get(&self, name: &str) -> &str {
        let found = self.0.binary_search_by(|(known, _)| (**known).cmp(name));
        found.map_or("", |index| &self.0[index].1)
    }

    /// Names and values, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Whether there is none at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Only the labels whose name is wanted.
    pub fn only(&self, wanted: impl Fn(&str) -> bool) -> Self {
        if self.0.iter().all(|(name, _)| wanted(name)) {
            return self.clone();
        }
        let kept = self.0.iter().filter(|(name, _)| wanted(name)).cloned();
        Self(kept.collect())
    }

    /// A copy with one label set; an empty value removes it.
    pub fn with(&self, name: &str, value: &str) -> Self {
        let pairs = self.0.iter().cloned().chain([(name.into(), value.into())]);
        Self::sorted(pairs.collect())
    }

    /// A copy without the labels that describe the metric: its name, and its type and unit if the source supplies them.
    pub(crate) fn without_name(&self) -> Self {
        self.only(|name| !METADATA.contains(&name))
    }
}

impl fmt::Display for Labels {
    /// In Prometheus's notation: `up{job="gateway"}`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.get(NAME))?;
        let mut others = self.iter().filter(|(name, _)| *name != NAME).peekable();
        if others.peek().is_none() && !self.get(NAME).is_empty() {
            return Ok(());
        }
        out.write_str("{")?;
        for (index, (name, value)) in others.enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(out, "{comma}{name}={value:?}")?;
        }
        out.write_str("}")
    }
}

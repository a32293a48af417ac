//! The spans of one trace as a forest, whatever the sender claims: missing parents, spans that are their own ancestors, one
//! id used twice, chains of any depth. Nothing here recurses.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::model::{Span, SpanId};

/// Parents and children. A span's name here is its index in the slice that the tree was built from.
#[derive(Debug)]
pub(crate) struct Tree {
    /// Children of each span, by start time.
    pub children: Vec<Vec<usize>>,
    /// Spans without a (usable) parent, by start time.
    pub roots: Vec<usize>,
    /// Parents that spans name but that are not here.
    pub missing_parents: BTreeSet<SpanId>,
    /// Whether spans are each other's ancestors; all members of such a cycle become roots.
    pub has_cycle: bool,
}

impl Tree {
    /// Builds the forest in O(n log n).
    pub fn new(spans: &[Arc<Span>]) -> Self {
        let mut index = HashMap::with_capacity(spans.len());
        for (i, span) in spans.iter().enumerate() {
            index.entry(span.span_id).or_insert(i);
        }
        let mut missing_parents = BTreeSet::new();
        let mut parents: Vec<Option<usize>> = Vec::with_capacity(spans.len());
        for span in spans {
            let parent = span.parent.and_then(|id| {
                let found = index.get(&id).copied();
                if found.is_none() {
                    missing_parents.insert(id);
                }
                found
            });
            parents.push(parent);
        }
        let has_cycle = cut_cycles(&mut parents);
        let (roots, children) = sorted_children(spans, &parents);
        Self {
            children,
            roots,
            missing_parents,
            has_cycle,
        }
    }

    /// The root that stands for the trace: the earliest span without a parent, else the earliest one.
    pub fn main_root(&self, spans: &[Arc<Span>]) -> Option<usize> {
        let true_root = self
            .roots
            .iter()
            .find(|&&root| spans[root].parent.is_none());
        true_root.or_else(|| self.roots.first()).copied()
    }

    /// Whether no span seems to be missing: one root, and all parents present. A caller outside (a browser, a probe) may own
    /// the root and never export it, so one missing parent is fine if the trace has no root.
    pub fn is_complete(&self, spans: &[Arc<Span>]) -> bool {
        let true_roots = self
            .roots
            .iter()
            .filter(|&&root| spans[root].parent.is_none())
            .count();
        !self.has_cycle && true_roots + self.missing_parents.len() == 1
    }

    /// All spans with their depth, parents before children.
    pub fn rows(&self) -> Vec<(usize, usize)> {
        let mut rows = Vec::with_capacity(self.children.len());
        let mut stack: Vec<(usize, usize)> =
            self.roots.iter().rev().map(|&root| (root, 0)).collect();
        while let Some((span, depth)) = stack.pop() {
            rows.push((span, depth));
            stack.extend(
                self.children[span]
                    .iter()
                    .rev()
                    .map(|&child| (child, depth + 1)),
            );
        }
        rows
    }
}

/// Makes every member of a cycle a root. Returns whether there was one.
fn cut_cycles(parents: &mut [Option<usize>]) -> bool {
    #[derive(Clone, Copy, PartialEq)]
    enum Seen {
        No,
        OnThisWalk,
        Before,
    }
    let mut seen = vec![Seen::No; parents.len()];
    let mut has_cycle = false;
    for start in 0..parents.len() {
        let mut walk = Vec::new();
        let mut at = Some(start);
        while let Some(span) = at.filter(|&span| seen[span] == Seen::No) {
            seen[span] = Seen::OnThisWalk;
            walk.push(span);
            at = parents[span];
        }
        if let Some(entry) = at.filter(|&span| seen[span] == Seen::OnThisWalk) {
            has_cycle = true;
            let members = walk
                .iter()
                .rev()
                .position(|&span| span == entry)
                .map_or(0, |back| back + 1);
            for &member in &walk[walk.len() - members..] {
                parents[member] = None;
            }
        }
        for span in walk {
            seen[span] = Seen::Before;
        }
    }
    has_cycle
}

/// Roots and children, both by start time (then in the order they came).
fn sorted_children(
    spans: &[Arc<Span>],
    parents: &[Option<usize>],
) -> (Vec<usize>, Vec<Vec<usize>>) {
    let mut order: Vec<usize> = (0..spans.len()).collect();
    order.sort_by_key(|&i| spans[i].start_ns);
    let mut roots = Vec::new();
    let mut children = vec![Vec::new(); spans.len()];
    for i in order {
        match parents[i] {
            Some(parent) => children[parent].push(i),
            None => roots.push(i),
        }
    }
    (roots, children)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::model::{Attributes, Kind, Resource, Scope, Status, TraceId};

    /// A span of trace 1; times in nanoseconds.
    pub fn span(id: u64, parent: Option<u64>, start_ns: u64, end_ns: u64) -> Span {
        Span {
            trace_id: TraceId(1),
            span_id: SpanId(id),
            parent: parent.map(SpanId),
            resource: Arc::new(Resource {
                service: "shop".into(),
                attributes: Attributes::default(),
            }),
            trace_state: String::new(),
            flags: 0,
            scope: Arc::new(Scope {
                name: "test".into(),
                ..Scope::default()
            }),
            name: format!("span {id}"),
            kind: Kind::Internal,
            start_ns,
            duration_ns: end_ns.saturating_sub(start_ns),
            status: Status::Unset,
            attributes: Attributes::default(),
            events: Vec::new(),
            links: Vec::new(),
            bytes: 0,
        }
    }

    pub fn shared(spans: Vec<Span>) -> Vec<Arc<Span>> {
        spans.into_iter().map(Arc::new).collect()
    }

    fn rows(spans: &[Arc<Span>]) -> Vec<(u64, usize)> {
        let rows = Tree::new(spans).rows();
        rows.into_iter()
            .map(|(i, depth)| (spans[i].span_id.0, depth))
            .collect()
    }

    #[test]
    fn children_follow_their_parent_by_start_time() {
        let spans = shared(vec![
            span(4, Some(2), 30, 40),
            span(3, Some(1), 50, 60),
            span(2, Some(1), 10, 45),
            span(1, None, 0, 100),
        ]);
        assert_eq!(rows(&spans), [(1, 0), (2, 1), (4, 2), (3, 1)]);
        let tree = Tree::new(&spans);
        assert!(tree.is_complete(&spans));
        assert_eq!(tree.main_root(&spans), Some(3));
    }

    #[test]
    fn members_of_a_cycle_become_roots_and_keep_their_other_children() {
        let spans = shared(vec![
            span(1, Some(2), 0, 9),
            span(2, Some(3), 1, 9),
            span(3, Some(1), 2, 9),
            span(4, Some(3), 3, 9),
            span(5, Some(4), 4, 9),
            span(6, Some(6), 5, 9),
        ]);
        assert_eq!(
            rows(&spans),
            [(1, 0), (2, 0), (3, 0), (4, 1), (5, 2), (6, 0)]
        );
        let tree = Tree::new(&spans);
        assert!(tree.has_cycle && !tree.is_complete(&spans));
    }

    #[test]
    fn an_unexported_caller_is_no_gap_but_a_lost_parent_is() {
        let remote_root = shared(vec![span(2, Some(1), 0, 9), span(3, Some(2), 1, 8)]);
        assert!(Tree::new(&remote_root).is_complete(&remote_root));
        let lost = shared(vec![span(1, None, 0, 9), span(3, Some(2), 1, 8)]);
        let tree = Tree::new(&lost);
        assert!(!tree.is_complete(&lost));
        assert_eq!(
            tree.missing_parents.into_iter().collect::<Vec<_>>(),
            [SpanId(2)]
        );
        assert!(!Tree::new(&[]).is_complete(&[]));
    }

    #[test]
    fn a_chain_of_a_hundred_thousand_does_not_overflow() {
        let count = 100_000;
        let spans = shared(
            (0..count)
                .map(|i| span(i + 1, (i > 0).then_some(i), i, count))
                .collect(),
        );
        assert_eq!(rows(&spans).last(), Some(&(count, count as usize - 1)));
    }

    #[test]
    fn spans_that_share_an_id_are_rows_of_their_own() {
        let spans = shared(vec![
            span(1, None, 0, 9),
            span(1, Some(1), 2, 3),
            span(2, Some(1), 4, 5),
        ]);
        assert_eq!(rows(&spans), [(1, 0), (1, 1), (2, 1)]);
    }
}

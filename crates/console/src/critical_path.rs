//! The critical path of a trace: which span the caller was waiting for at each moment.
//!
//! The walk is the one of CRISP (Zhang et al., "CRISP: Critical Path Analysis of Large-Scale Microservice
//! Architectures", USENIX ATC 2022) that Jaeger's UI uses too: start at the end of the root and go backwards; the
//! time after the child that finished last is the parent's own, then the walk goes into that child, and from its start
//! on backwards again. Children that ran beside it are not on the path.

use std::sync::Arc;

use crate::model::{Kind, Span};
use crate::tree::Tree;

/// A section of the path. Sections follow each other without gap or overlap from the start to the end of the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Section {
    /// Index of the span.
    pub span: usize,
    /// Nanoseconds since the epoch.
    pub start_ns: u64,
    /// Nanoseconds since the epoch, after `start_ns`.
    pub end_ns: u64,
}

/// A span being walked, cut to the time of its parent.
struct Visit {
    span: usize,
    start_ns: u64,
    /// The walk has arrived at this time; it goes back to `start_ns`.
    cursor_ns: u64,
    /// Children that are left, the last one finishing last.
    children: Vec<Section>,
}

/// The path through the tree below `root`, in order of time. Each span is visited once and nothing recurses, so no
/// input costs more than O(n log n).
pub(crate) fn critical_path(spans: &[Arc<Span>], tree: &Tree, root: usize) -> Vec<Section> {
    let mut path = Vec::new();
    let end_ns = spans[root].end_ns();
    let mut stack = vec![visit(
        spans,
        tree,
        Section {
            span: root,
            start_ns: spans[root].start_ns,
            end_ns,
        },
    )];
    while let Some(top) = stack.last_mut() {
        let next = top.children.pop();
        // This child was still running when a later section of the path had started, so its parent did not wait for it.
        if next.is_some_and(|child| child.end_ns > top.cursor_ns) {
            continue;
        }
        let own_start = next.map_or(top.start_ns, |child| child.end_ns);
        if own_start < top.cursor_ns {
            path.push(Section {
                span: top.span,
                start_ns: own_start,
                end_ns: top.cursor_ns,
            });
        }
        match next {
            Some(child) => {
                top.cursor_ns = child.start_ns;
                stack.push(visit(spans, tree, child));
            }
            None => {
                stack.pop();
            }
        }
    }
    path.reverse();
    path
}

fn visit(spans: &[Arc<Span>], tree: &Tree, cut: Section) -> Visit {
    let children = tree.children[cut.span].iter();
    let mut children: Vec<Section> = children
        .filter_map(|&child| cut_child(spans, child, cut))
        .collect();
    // If two children end at the same time, the longer one better explains the duration.
    children.sort_by_key(|child| (child.end_ns, std::cmp::Reverse(child.start_ns)));
    Visit {
        span: cut.span,
        start_ns: cut.start_ns,
        cursor_ns: cut.end_ns,
        children,
    }
}

/// The part of a child that lies inside its parent; `None` if there is none. The clocks of two machines differ, so a child
/// may seem to start too early or end too late. A message is different: a producer or consumer that runs past the parent's
/// end never made the parent wait.
fn cut_child(spans: &[Arc<Span>], child: usize, parent: Section) -> Option<Section> {
    let span = &spans[child];
    if matches!(span.kind, Kind::Producer | Kind::Consumer) && span.end_ns() > parent.end_ns {
        return None;
    }
    let start_ns = span.start_ns.max(parent.start_ns);
    let end_ns = span.end_ns().min(parent.end_ns);
    (start_ns < end_ns).then_some(Section {
        span: child,
        start_ns,
        end_ns,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tests::{shared, span};

    /// `(span id, start, end)` of the path; checks that it covers the root without gap.
    fn path(spans: Vec<Span>) -> Vec<(u64, u64, u64)> {
        let spans = shared(spans);
        let tree = Tree::new(&spans);
        let root = tree.main_root(&spans).expect("a root");
        let path = critical_path(&spans, &tree, root);
        let mut at = spans[root].start_ns;
        for section in &path {
            assert_eq!(section.start_ns, at, "gap or overlap in {path:?}");
            assert!(section.end_ns > at, "empty section in {path:?}");
            at = section.end_ns;
        }
        assert_eq!(at, spans[root].end_ns());
        path.iter()
            .map(|s| (spans[s.span].span_id.0, s.start_ns, s.end_ns))
            .collect()
    }

    #[test]
    fn sequential_children_share_the_path_with_their_parent() {
        let spans = vec![
            span(1, None, 0, 100),
            span(2, Some(1), 10, 40),
            span(3, Some(1), 50, 90),
        ];
        assert_eq!(
            path(spans),
            [
                (1, 0, 10),
                (2, 10, 40),
                (1, 40, 50),
                (3, 50, 90),
                (1, 90, 100)
            ]
        );
    }

    #[test]
    fn of_parallel_children_only_the_last_to_finish_counts() {
        let spans = vec![
            span(1, None, 0, 100),
            span(2, Some(1), 10, 70),
            span(3, Some(1), 20, 90),
            span(4, Some(1), 0, 20),
        ];
        assert_eq!(path(spans), [(4, 0, 20), (3, 20, 90), (1, 90, 100)]);
    }

    #[test]
    fn grandchildren_are_walked() {
        let spans = vec![
            span(1, None, 0, 100),
            span(2, Some(1), 10, 90),
            span(3, Some(2), 20, 80),
        ];
        assert_eq!(
            path(spans),
            [
                (1, 0, 10),
                (2, 10, 20),
                (3, 20, 80),
                (2, 80, 90),
                (1, 90, 100)
            ]
        );
    }

    #[test]
    fn children_that_outlive_the_parent_or_start_before_it_are_cut() {
        let spans = vec![
            span(1, None, 100, 200),
            span(2, Some(1), 50, 120),
            span(3, Some(1), 150, 300),
            span(4, Some(3), 250, 290),
        ];
        assert_eq!(path(spans), [(2, 100, 120), (1, 120, 150), (3, 150, 200)]);
        let elsewhere = vec![
            span(1, None, 100, 200),
            span(2, Some(1), 300, 400),
            span(3, Some(1), 10, 20),
        ];
        assert_eq!(path(elsewhere), [(1, 100, 200)]);
    }

    #[test]
    fn nobody_waits_for_a_message_that_is_handled_later() {
        let mut consumer = span(2, Some(1), 50, 300);
        consumer.kind = Kind::Consumer;
        assert_eq!(
            path(vec![span(1, None, 0, 100), consumer.clone()]),
            [(1, 0, 100)]
        );
        consumer.duration_ns = 40;
        assert_eq!(
            path(vec![span(1, None, 0, 100), consumer]),
            [(1, 0, 50), (2, 50, 90), (1, 90, 100)]
        );
    }

    #[test]
    fn spans_without_length_leave_no_section() {
        assert_eq!(
            path(vec![span(1, None, 5, 9), span(2, Some(1), 7, 7)]),
            [(1, 5, 9)]
        );
        assert_eq!(path(vec![span(1, None, 5, 5), span(2, Some(1), 5, 5)]), []);
    }

    #[test]
    fn hostile_traces_end() {
        let cycle = vec![
            span(1, Some(2), 0, 9),
            span(2, Some(1), 1, 8),
            span(3, Some(3), 0, 9),
        ];
        assert_eq!(path(cycle), [(1, 0, 9)]);
        let twice = vec![
            span(1, None, 0, 9),
            span(1, Some(1), 2, 5),
            span(2, Some(1), 3, 4),
        ];
        assert_eq!(path(twice).len(), 3);
        let forever = vec![
            span(1, None, 0, u64::MAX),
            span(2, Some(1), u64::MAX, u64::MAX),
        ];
        assert_eq!(path(forever), [(1, 0, u64::MAX)]);
        let deep = 100_000;
        let chain = (0..deep)
            .map(|i| span(i + 1, (i > 0).then_some(i), i, 2 * deep - i))
            .collect();
        assert_eq!(path(chain).len(), 2 * deep as usize - 1);
    }
}

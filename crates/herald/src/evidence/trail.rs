//! Follows calls from one service to the next, along those that explain the trouble.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::answer::excerpt;
use super::dependencies::Edge;

/// Deeper calls are not followed.
const DEEPEST: usize = 100;

/// How many hops are kept. Of a longer trail these are the deepest, because they lead to the cause.
const KEPT: usize = 16;

/// The path to the cause: each hop is a call, and the last one is the deepest with the symptom.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Trail {
    /// From the caller on top to the dependency at fault.
    pub(crate) hops: Vec<Edge>,
    /// Calls above the first of these, not listed.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) hops_left_out: usize,
}

impl Trail {
    /// The call at fault.
    pub(crate) fn last(&self) -> Option<&Edge> {
        self.hops.last()
    }

    /// `gateway → data → downstream`.
    pub(crate) fn path(&self) -> String {
        let first = self.hops.first().map(|hop| hop.caller.as_str());
        let names = first
            .into_iter()
            .chain(self.hops.iter().map(|hop| hop.callee.as_str()));
        names.collect::<Vec<_>>().join(" → ")
    }

    /// Without its first hop.
    pub(super) fn shorten(&mut self) -> bool {
        if self.hops.len() < 2 {
            return false;
        }
        self.hops.remove(0);
        self.hops_left_out += 1;
        true
    }

    fn of(hops: &[&Edge]) -> Option<Self> {
        let hops_left_out = hops.len().saturating_sub(KEPT);
        let hops: Vec<Edge> = hops[hops_left_out..]
            .iter()
            .map(|hop| quoted(hop))
            .collect();
        (!hops.is_empty()).then_some(Self {
            hops,
            hops_left_out,
        })
    }
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Its names, redacted and shortened.
pub(super) fn quoted(edge: &Edge) -> Edge {
    Edge {
        caller: excerpt(&edge.caller, 60),
        callee: excerpt(&edge.callee, 80),
        ..edge.clone()
    }
}

/// Follows from caller to callee the call with the highest score, through each service once; `score` also gets the previous
/// hop. It examines each call once.
pub(super) fn follow(
    edges: &[Edge],
    from: Option<&str>,
    score: impl Fn(&Edge, Option<&Edge>) -> Option<f64>,
) -> Option<Trail> {
    let mut calls: HashMap<&str, Vec<&Edge>> = HashMap::new();
    for edge in edges {
        calls.entry(&edge.caller).or_default().push(edge);
    }
    let mut hops: Vec<&Edge> = Vec::new();
    let mut seen: HashSet<&str> = HashSet::new();
    let mut next = match from {
        Some(service) => best(
            calls.get(service).into_iter().flatten().copied(),
            &seen,
            |edge| score(edge, None),
        ),
        None => best(edges.iter(), &seen, |edge| score(edge, None)),
    };
    while let Some(hop) = next.take() {
        seen.insert(&hop.caller);
        hops.push(hop);
        // Services that call each other in a circle end it.
        if !seen.contains(hop.callee.as_str()) && hops.len() < DEEPEST {
            let below = calls
                .get(hop.callee.as_str())
                .into_iter()
                .flatten()
                .copied();
            next = best(below, &seen, |edge| score(edge, Some(hop)));
        }
    }
    Trail::of(&hops)
}

/// The call with the highest score; a call back to an earlier service only if there is no other.
fn best<'a>(
    edges: impl Iterator<Item = &'a Edge>,
    seen: &HashSet<&str>,
    score: impl Fn(&Edge) -> Option<f64>,
) -> Option<&'a Edge> {
    let scored =
        edges.filter_map(|edge| Some((!seen.contains(edge.callee.as_str()), score(edge)?, edge)));
    let best = scored.max_by(|(new, a, _), (other, b, _)| new.cmp(other).then(a.total_cmp(b)));
    best.map(|(.., edge)| edge)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::super::dependencies::tests::{edge, mesh};
    use super::*;

    fn path(edges: &[Edge], from: &str) -> Option<String> {
        follow(edges, Some(from), |edge, _| Some(edge.error_share)).map(|trail| trail.path())
    }

    #[test]
    fn services_that_call_each_other_end_the_search() {
        let circle = [edge("a", "b", 0.5, 0.1), edge("b", "a", 0.6, 0.1)];
        assert_eq!(path(&circle, "a"), Some("a → b → a".to_owned()));
        let way_out = [circle.as_slice(), &[edge("b", "c", 0.5, 0.1)]].concat();
        assert_eq!(path(&way_out, "a"), Some("a → b → c".to_owned()));
        assert_eq!(
            path(&[edge("a", "a", 0.5, 0.1)], "a"),
            Some("a → a".to_owned())
        );
    }

    #[test]
    fn a_full_mesh_costs_a_look_at_each_call() {
        let edges = mesh(100);
        let looks = Cell::new(0);
        let trail = follow(&edges, Some("service-0"), |edge, _| {
            looks.set(looks.get() + 1);
            Some(edge.error_share)
        });
        let trail = trail.unwrap();
        assert!(
            looks.get() <= edges.len(),
            "{} looks at {}",
            looks.get(),
            edges.len()
        );
        assert_eq!(
            (trail.hops.len(), trail.hops_left_out),
            (KEPT, DEEPEST - KEPT)
        );
    }

    #[test]
    fn of_a_long_trail_its_deep_end_is_kept() {
        let chain: Vec<Edge> = (0..40)
            .map(|index| edge(&format!("s{index}"), &format!("s{}", index + 1), 0.5, 0.1))
            .collect();
        let trail = follow(&chain, Some("s0"), |edge, _| Some(edge.error_share)).unwrap();
        assert_eq!(
            (trail.hops_left_out, trail.last().unwrap().callee.as_str()),
            (24, "s40")
        );
    }
}

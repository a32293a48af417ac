//! Finds traces in the store, newest first.

mod terms;

use std::cmp::Reverse;
use std::sync::Arc;

use crate::answer::{Items, Page, Refused};
use crate::model::{Span, Status, TraceId};
use crate::store::{Store, Trace};
use crate::tags;

pub(crate) use terms::{Term, parse as parse_terms};

/// Spans that one answer may hold, so that a broad question cannot cost a multiple of the store's own memory. One trace
/// is always returned whole.
pub(crate) const MAX_SPANS: usize = 50_000;

/// The maximum size of the found traces, by the store's estimate, which is about their size as text. Less if answers have
/// less memory.
const MAX_BYTES: usize = 16 << 20;

/// Whose duration must be in the range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DurationOf {
    /// The span that matches everything else, as in Jaeger.
    Span,
    /// The trace, from its first start to its last end.
    Trace,
}

/// What to look for. One span must match service, operation, tags and start time together.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub service: Option<String>,
    pub operation: Option<String>,
    /// Keys and values as text; a span must have all of them.
    pub tags: Vec<(String, String)>,
    /// The terms of the page's own search.
    pub terms: Vec<Term>,
    /// Any span of the trace failed.
    pub failed: bool,
    /// When the span started, both ends included.
    pub start_ns: (u64, u64),
    /// Both ends included.
    pub duration_ns: (u64, u64),
    pub duration_of: DurationOf,
    pub limit: usize,
}

/// The result of a search.
pub(crate) struct SearchResult {
    /// The one that happened last in front.
    pub traces: Vec<TraceId>,
    /// How many traces were looked at.
    pub searched: usize,
    /// Whether [`MAX_SPANS`] or `max_bytes` ended the search.
    pub truncated: bool,
    /// The most bytes of the answer.
    pub max_bytes: usize,
}

/// Reads one trace at a time until the limit is reached. It locks the store only for each read, and gives others a turn in
/// between.
pub(crate) fn search(
    store: &Store,
    query: &Query,
    page: &mut Page,
) -> Result<SearchResult, Refused> {
    let mut found = Vec::new();
    let (mut searched, mut truncated) = (0, false);
    let (mut spans, mut bytes) = (0, 0);
    let max_bytes = MAX_BYTES.min(page.limit() / 4 * 3);
    for id in store.traces_newest_first() {
        page.pass()?;
        // Evicted since the list was made.
        let Some(trace) = store.trace(id) else {
            continue;
        };
        searched += 1;
        if !matches(&trace.spans, query) {
            continue;
        }
        spans += trace.spans.len();
        bytes += trace.bytes;
        if (spans > MAX_SPANS || bytes > max_bytes) && !found.is_empty() {
            truncated = true;
            break;
        }
        found.push((bounds(&trace.spans).0, id));
        if found.len() >= query.limit {
            break;
        }
    }
    // The store orders traces by arrival; users expect the order of their start times.
    found.sort_by_key(|(start, _)| Reverse(*start));
    Ok(SearchResult {
        traces: found.into_iter().map(|(_, id)| id).collect(),
        searched,
        truncated,
        max_bytes,
    })
}

/// Reads traces one at a time, so that it holds at most one besides the text that it writes.
pub(crate) fn write_each(
    items: &mut Items<'_>,
    store: &Store,
    ids: &[TraceId],
    mut write: impl FnMut(&mut Items<'_>, &Trace) -> Result<(), Refused>,
) -> Result<(), Refused> {
    for trace in ids.iter().filter_map(|id| store.trace(*id)) {
        items.page.holds(trace.bytes)?;
        write(items, &trace)?;
    }
    items.page.holds(0)
}

/// First start and last end, nanoseconds since the epoch; zeros without spans.
pub(crate) fn bounds(spans: &[Arc<Span>]) -> (u64, u64) {
    let start = spans.iter().map(|span| span.start_ns).min().unwrap_or(0);
    let end = spans.iter().map(|span| span.end_ns()).max();
    (start, end.unwrap_or(0))
}

/// How many spans failed.
pub(crate) fn error_count(spans: &[Arc<Span>]) -> usize {
    spans
        .iter()
        .filter(|span| matches!(span.status, Status::Error(_)))
        .count()
}

fn matches(spans: &[Arc<Span>], query: &Query) -> bool {
    let (start, end) = bounds(spans);
    let (min, max) = query.duration_ns;
    if query.duration_of == DurationOf::Trace && !(min..=max).contains(&(end - start)) {
        return false;
    }
    spans.iter().any(|span| span_matches(span, query)) && (!query.failed || error_count(spans) > 0)
}

/// Cheap checks first: tags cost the most.
fn span_matches(span: &Span, query: &Query) -> bool {
    let (earliest, latest) = query.start_ns;
    let (min, max) = query.duration_ns;
    query
        .service
        .as_ref()
        .is_none_or(|service| *service == span.resource.service)
        && query
            .operation
            .as_ref()
            .is_none_or(|operation| *operation == span.name)
        && (earliest..=latest).contains(&span.start_ns)
        && (query.duration_of == DurationOf::Trace || (min..=max).contains(&span.duration_ns))
        && query
            .tags
            .iter()
            .all(|(key, value)| tags::carries(span, key, value))
        && query.terms.iter().all(|term| term.accepts(span))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tree::tests::{shared, span};

    fn any() -> Query {
        Query {
            service: None,
            operation: None,
            tags: Vec::new(),
            terms: Vec::new(),
            failed: false,
            start_ns: (0, u64::MAX),
            duration_ns: (0, u64::MAX),
            duration_of: DurationOf::Span,
            limit: 10,
        }
    }

    #[test]
    fn one_span_must_match_everything() {
        let mut other = span(2, Some(1), 10, 30);
        other.attributes.push("sku", (&json!("lamp")).into());
        let spans = shared(vec![span(1, None, 0, 100), other]);
        let tags = vec![("sku".to_owned(), "lamp".to_owned())];
        assert!(matches(
            &spans,
            &Query {
                tags: tags.clone(),
                ..any()
            }
        ));
        let operation = Some("span 1".to_owned());
        assert!(matches(
            &spans,
            &Query {
                operation: operation.clone(),
                ..any()
            }
        ));
        assert!(!matches(
            &spans,
            &Query {
                tags,
                operation,
                ..any()
            }
        ));
        assert!(!matches(
            &spans,
            &Query {
                service: Some("bank".into()),
                ..any()
            }
        ));
    }

    #[test]
    fn durations_are_the_spans_or_the_traces() {
        let spans = shared(vec![span(1, None, 0, 100), span(2, Some(1), 90, 150)]);
        let query = Query {
            duration_ns: (120, 200),
            ..any()
        };
        assert!(!matches(&spans, &query));
        assert!(matches(
            &spans,
            &Query {
                duration_of: DurationOf::Trace,
                ..query
            }
        ));
    }

    #[test]
    fn start_times_include_both_ends() {
        let spans = shared(vec![span(1, None, 50, 100)]);
        for (range, expected) in [((50, 50), true), ((0, 49), false), ((51, 99), false)] {
            assert_eq!(
                matches(
                    &spans,
                    &Query {
                        start_ns: range,
                        ..any()
                    }
                ),
                expected,
                "{range:?}"
            );
        }
    }

    #[test]
    fn a_failure_anywhere_makes_a_failed_trace() {
        let mut failed = span(2, Some(1), 10, 30);
        failed.status = Status::Error(String::new());
        let operation = Some("span 1".to_owned());
        let query = Query {
            failed: true,
            operation,
            ..any()
        };
        assert!(matches(
            &shared(vec![span(1, None, 0, 100), failed]),
            &query
        ));
        assert!(!matches(&shared(vec![span(1, None, 0, 100)]), &query));
    }
}

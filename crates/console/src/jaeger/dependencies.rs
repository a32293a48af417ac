//! Which service calls which, counted from the spans in the store.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::Serialize;

use crate::model::{Resource, Span, SpanId, TraceId};
use crate::store::{Store, Trace};

/// One edge of the service graph.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub(super) struct DependencyLink {
    pub parent: String,
    pub child: String,
    #[serde(rename = "callCount")]
    pub call_count: u64,
}

/// Edges between different services, from spans that started in `window` (nanoseconds, both ends included). A span counts
/// once for each service that it comes from: by its parent, or, for messages, by its links.
pub(super) fn links(store: &Store, window: (u64, u64)) -> Vec<DependencyLink> {
    let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut elsewhere = Elsewhere {
        store,
        traces: HashMap::new(),
    };
    for id in store.traces_newest_first() {
        let Some(trace) = store.trace(id) else {
            continue;
        };
        let here = senders(&trace);
        for span in trace
            .spans
            .iter()
            .filter(|span| (window.0..=window.1).contains(&span.start_ns))
        {
            for parent in callers(span, &here, &mut elsewhere) {
                *counts
                    .entry((parent, span.resource.service.clone()))
                    .or_default() += 1;
            }
        }
    }
    counts
        .into_iter()
        .map(|((parent, child), call_count)| DependencyLink {
            parent,
            child,
            call_count,
        })
        .collect()
}

/// Who sent each span.
type Senders = HashMap<SpanId, Arc<Resource>>;

fn senders(trace: &Trace) -> Senders {
    trace
        .spans
        .iter()
        .map(|span| (span.span_id, span.resource.clone()))
        .collect()
}

/// Other services that the span's parent and links belong to, each once.
fn callers(span: &Span, here: &Senders, elsewhere: &mut Elsewhere<'_>) -> BTreeSet<String> {
    let mut callers = BTreeSet::new();
    callers.extend(
        span.parent
            .and_then(|parent| here.get(&parent))
            .map(|sender| sender.service.clone()),
    );
    for link in &span.links {
        let senders = if link.trace_id == span.trace_id {
            here
        } else {
            elsewhere.senders(link.trace_id)
        };
        callers.extend(
            senders
                .get(&link.span_id)
                .map(|sender| sender.service.clone()),
        );
    }
    callers.remove(&span.resource.service);
    callers
}

/// Looks linked traces up, each once.
struct Elsewhere<'a> {
    store: &'a Store,
    traces: HashMap<TraceId, Senders>,
}

impl Elsewhere<'_> {
    fn senders(&mut self, trace: TraceId) -> &Senders {
        let known = self.traces.entry(trace);
        known.or_insert_with(|| {
            self.store
                .trace(trace)
                .as_ref()
                .map(senders)
                .unwrap_or_default()
        })
    }
}

//! Which service calls which, counted from the spans in the store.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::Serialize;

use crate::answer::{Page, Refused};
use crate::model::{Resource, Span, SpanId, TraceId};
use crate::store::{Store, Trace, cost};

/// One edge of the service graph.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub(super) struct DependencyLink {
    pub parent: String,
    pub child: String,
    #[serde(rename = "callCount")]
    pub call_count: u64,
}

/// Edges between different services, from spans that started in `window` (nanoseconds, both ends included). A span counts
/// once per service that called it: by its parent, or, for messages, by its links.
pub(super) fn links(
    store: &Store,
    window: (u64, u64),
    page: &mut Page,
) -> Result<Vec<DependencyLink>, Refused> {
    let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut elsewhere = LinkedTraces {
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
            page.pass()?;
            for parent in callers(span, &here, &mut elsewhere, page)? {
                let edge = (parent, span.resource.service.clone());
                if !counts.contains_key(&edge) {
                    page.gathers(EDGE_BYTES + edge.0.len() + edge.1.len())?;
                }
                *counts.entry(edge).or_default() += 1;
            }
        }
    }
    let links = counts
        .into_iter()
        .map(|((parent, child), call_count)| DependencyLink {
            parent,
            child,
            call_count,
        });
    Ok(links.collect())
}

/// The size of an edge besides its names.
const EDGE_BYTES: usize = 160;

/// The sender of each span.
type Senders = HashMap<SpanId, Arc<Resource>>;

fn senders(trace: &Trace) -> Senders {
    trace
        .spans
        .iter()
        .map(|span| (span.span_id, span.resource.clone()))
        .collect()
}

/// Other services that the span's parent and links belong to, each once.
fn callers(
    span: &Span,
    here: &Senders,
    elsewhere: &mut LinkedTraces<'_>,
    page: &mut Page,
) -> Result<BTreeSet<String>, Refused> {
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
            elsewhere.senders(link.trace_id, page)?
        };
        callers.extend(
            senders
                .get(&link.span_id)
                .map(|sender| sender.service.clone()),
        );
    }
    callers.remove(&span.resource.service);
    Ok(callers)
}

/// Looks linked traces up, each once.
struct LinkedTraces<'a> {
    store: &'a Store,
    traces: HashMap<TraceId, Senders>,
}

impl LinkedTraces<'_> {
    fn senders(&mut self, id: TraceId, page: &mut Page) -> Result<&Senders, Refused> {
        match self.traces.entry(id) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(place) => {
                let senders = self.store.trace(id).as_ref().map(senders);
                let senders = senders.unwrap_or_default();
                let slots = senders.capacity() * size_of::<(SpanId, Arc<Resource>)>();
                page.gathers(cost::slot(size_of::<(TraceId, Senders)>()) + slots)?;
                Ok(place.insert(senders))
            }
        }
    }
}

//! One trace as the rows of a waterfall, with its critical path and log lines.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::critical_path::critical_path;
use crate::model::{
    Attributes, LogRecord, Resource as Sender, Span, SpanId, Status, TraceId, Value,
};
use crate::search::{bounds, error_count};
use crate::store::{Store, Trace};
use crate::tree::Tree;

/// The answer. Offsets count from the start of the trace; times and lengths are microseconds.
#[derive(Serialize)]
pub(super) struct Waterfall<'a> {
    trace_id: String,
    /// See [`Tree::is_complete`]; also false if the store dropped spans.
    complete: bool,
    missing_parents: Vec<String>,
    start_us: u64,
    duration_us: f64,
    /// Sorted.
    services: Vec<&'a str>,
    span_count: usize,
    error_count: usize,
    dropped_spans: u64,
    linked_from: Vec<LinkedFrom>,
    /// The attributes of senders; rows refer to them by index.
    resources: Vec<Resource<'a>>,
    /// Parents before children, children by start.
    rows: Rows<'a>,
    /// Log lines of no span that is here.
    logs: Lines<'a>,
}

/// Attributes of a sender.
struct Resource<'a>(&'a Attributes);

impl Serialize for Resource<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        pairs(self.0, serializer)
    }
}

#[derive(Serialize)]
struct LinkedFrom {
    trace_id: String,
    span_id: String,
    service: String,
    name: String,
}

#[derive(Serialize)]
struct Row<'a> {
    span_id: String,
    parent_span_id: Option<String>,
    depth: usize,
    service: &'a str,
    name: &'a str,
    kind: &'static str,
    status: &'static str,
    status_message: &'a str,
    offset_us: f64,
    duration_us: f64,
    has_children: bool,
    critical: Vec<Section>,
    #[serde(serialize_with = "pairs")]
    attributes: &'a Attributes,
    /// Its place in `resources`.
    resource: usize,
    scope: &'a str,
    events: Vec<Event<'a>>,
    links: Vec<Link<'a>>,
    logs: Lines<'a>,
}

#[derive(Serialize)]
struct Section {
    offset_us: f64,
    duration_us: f64,
}

#[derive(Serialize)]
struct Event<'a> {
    name: &'a str,
    offset_us: f64,
    #[serde(serialize_with = "pairs")]
    attributes: &'a Attributes,
}

#[derive(Serialize)]
struct Link<'a> {
    trace_id: String,
    span_id: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    trace_state: &'a str,
    #[serde(serialize_with = "pairs")]
    attributes: &'a Attributes,
    /// Whether its trace is in the store.
    known: bool,
}

#[derive(Serialize)]
struct Log<'a> {
    time_us: u64,
    offset_us: f64,
    severity: &'a str,
    body: &'a str,
    #[serde(serialize_with = "pairs")]
    attributes: &'a Attributes,
    span_id: Option<String>,
}

#[derive(Serialize)]
struct Pair<'a> {
    key: &'a str,
    value: Value<'a>,
}

/// Attributes as a list of `{key, value}`.
pub(crate) fn pairs<S: Serializer>(
    attributes: &Attributes,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(attributes.iter().map(|(key, value)| Pair { key, value }))
}

/// Lays the trace out. The store supplies the targets of its links and the spans that link to it. `more` gets the size of
/// both besides the trace, and may end it.
pub(super) fn waterfall<'a, E>(
    store: &Store,
    trace: &'a Trace,
    more: impl FnMut(usize) -> Result<(), E>,
) -> Result<Waterfall<'a>, E> {
    let spans = &trace.spans;
    let tree = Tree::new(spans);
    let (start_ns, end_ns) = bounds(spans);
    let (layout, stray) = Layout::new(store, trace, &tree, start_ns);
    let resources = layout.senders.iter();
    let resources = resources.map(|sender| Resource(&sender.attributes));
    let services: BTreeSet<&str> = spans
        .iter()
        .map(|span| span.resource.service.as_str())
        .collect();
    Ok(Waterfall {
        trace_id: trace.id.to_string(),
        complete: trace.dropped_spans == 0 && tree.is_complete(spans),
        missing_parents: tree.missing_parents.iter().map(SpanId::to_string).collect(),
        start_us: start_ns / 1_000,
        duration_us: microseconds(end_ns - start_ns),
        services: services.into_iter().collect(),
        span_count: spans.len(),
        error_count: error_count(spans),
        dropped_spans: trace.dropped_spans,
        linked_from: linked_from(store, trace.id, more)?,
        resources: resources.collect(),
        rows: Rows {
            tree,
            layout: RefCell::new(layout),
        },
        logs: Lines {
            records: stray,
            start_ns,
        },
    })
}

/// All rows. Each is created only while it is written: with links and log lines, rows are larger than their spans.
struct Rows<'a> {
    tree: Tree,
    layout: RefCell<Layout<'a>>,
}

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut layout = self.layout.borrow_mut();
        let rows = self.tree.rows().into_iter().map(|(span, depth)| {
            let has_children = !self.tree.children[span].is_empty();
            layout.row(span, depth, has_children)
        });
        serializer.collect_seq(rows)
    }
}

/// The data of the rows, by span.
struct Layout<'a> {
    trace: &'a Trace,
    start_ns: u64,
    senders: Vec<&'a Sender>,
    /// The index of a span's sender in `senders`.
    places: HashMap<*const Sender, usize>,
    critical: HashMap<usize, Vec<Section>>,
    logs: HashMap<SpanId, Vec<&'a LogRecord>>,
    /// Traces in the store that links may point to.
    known: HashSet<TraceId>,
}

impl<'a> Layout<'a> {
    fn new(
        store: &Store,
        trace: &'a Trace,
        tree: &Tree,
        start_ns: u64,
    ) -> (Self, Vec<&'a LogRecord>) {
        let spans = &trace.spans;
        let mut critical: HashMap<usize, Vec<Section>> = HashMap::new();
        let path = tree
            .main_root(spans)
            .map(|root| critical_path(spans, tree, root));
        for section in path.into_iter().flatten() {
            critical.entry(section.span).or_default().push(Section {
                offset_us: microseconds(section.start_ns - start_ns),
                duration_us: microseconds(section.end_ns - section.start_ns),
            });
        }
        let links = spans.iter().flat_map(|span| &span.links);
        let known = store.known(links.map(|link| link.trace_id));
        let (logs, stray) = logs(trace);
        let (mut senders, mut places) = (Vec::new(), HashMap::new());
        for span in spans {
            places
                .entry(Arc::as_ptr(&span.resource))
                .or_insert_with(|| {
                    senders.push(&*span.resource);
                    senders.len() - 1
                });
        }
        let layout = Self {
            trace,
            start_ns,
            senders,
            places,
            critical,
            logs,
            known,
        };
        (layout, stray)
    }

    /// The caller calls it once per span.
    fn row(&mut self, index: usize, depth: usize, has_children: bool) -> Row<'a> {
        let span: &'a Span = &self.trace.spans[index];
        let (status, status_message) = match &span.status {
            Status::Unset => ("unset", ""),
            Status::Ok => ("ok", ""),
            Status::Error(message) => ("error", message.as_str()),
        };
        Row {
            span_id: span.span_id.to_string(),
            parent_span_id: span.parent.map(|parent| parent.to_string()),
            depth,
            service: &span.resource.service,
            name: &span.name,
            kind: span.kind.as_str(),
            status,
            status_message,
            offset_us: microseconds(span.start_ns - self.start_ns),
            duration_us: microseconds(span.duration_ns),
            has_children,
            critical: self.critical.remove(&index).unwrap_or_default(),
            attributes: &span.attributes,
            resource: self.places[&Arc::as_ptr(&span.resource)],
            scope: &span.scope.name,
            events: self.events(span),
            links: self.links(span),
            // If spans share an id, the first one shows the lines.
            logs: Lines {
                records: self.logs.remove(&span.span_id).unwrap_or_default(),
                start_ns: self.start_ns,
            },
        }
    }

    fn events(&self, span: &'a Span) -> Vec<Event<'a>> {
        let event = |event: &'a crate::model::Event| Event {
            name: &event.name,
            offset_us: signed_offset(event.time_ns, self.start_ns),
            attributes: &event.attributes,
        };
        span.events.iter().map(event).collect()
    }

    fn links(&self, span: &'a Span) -> Vec<Link<'a>> {
        let link = |link: &'a crate::model::Link| Link {
            trace_id: link.trace_id.to_string(),
            span_id: link.span_id.to_string(),
            trace_state: &link.trace_state,
            attributes: &link.attributes,
            known: self.known.contains(&link.trace_id),
        };
        span.links.iter().map(link).collect()
    }
}

/// Log lines, rendered only while they are written.
struct Lines<'a> {
    records: Vec<&'a LogRecord>,
    start_ns: u64,
}

impl Serialize for Lines<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let records = self.records.iter();
        serializer.collect_seq(records.map(|record| log(record, self.start_ns)))
    }
}

/// Log records by span, in order of time, and those of no span that is here.
fn logs(trace: &Trace) -> (HashMap<SpanId, Vec<&LogRecord>>, Vec<&LogRecord>) {
    let here: HashSet<SpanId> = trace.spans.iter().map(|span| span.span_id).collect();
    let mut records: Vec<&LogRecord> = trace.logs.iter().map(AsRef::as_ref).collect();
    records.sort_by_key(|record| record.time_ns);
    let mut of_spans: HashMap<SpanId, Vec<&LogRecord>> = HashMap::new();
    let mut stray = Vec::new();
    for record in records {
        match record.span_id.filter(|id| here.contains(id)) {
            Some(id) => of_spans.entry(id).or_default().push(record),
            None => stray.push(record),
        }
    }
    (of_spans, stray)
}

fn log(record: &LogRecord, start_ns: u64) -> Log<'_> {
    Log {
        time_us: record.time_ns / 1_000,
        offset_us: signed_offset(record.time_ns, start_ns),
        severity: &record.severity,
        body: &record.body,
        attributes: &record.attributes,
        span_id: record.span_id.map(|id| id.to_string()),
    }
}

fn linked_from<E>(
    store: &Store,
    id: TraceId,
    mut more: impl FnMut(usize) -> Result<(), E>,
) -> Result<Vec<LinkedFrom>, E> {
    let mut linked = Vec::new();
    let links = store.linked_from(id);
    // The store sorts by trace, so one trace is fetched once.
    for links in links.chunk_by(|left, right| left.0 == right.0) {
        let spans = store.trace(links[0].0).map(|trace| trace.spans);
        let spans = spans.iter().flatten();
        let by_id: HashMap<SpanId, &Arc<Span>> = spans.map(|span| (span.span_id, span)).collect();
        for (trace_id, span_id) in links {
            let Some(span) = by_id.get(span_id) else {
                continue;
            };
            more(LINKED_FROM + span.resource.service.len() + span.name.len())?;
            linked.push(LinkedFrom {
                trace_id: trace_id.to_string(),
                span_id: span_id.to_string(),
                service: span.resource.service.clone(),
                name: span.name.clone(),
            });
        }
    }
    Ok(linked)
}

/// The size of a span that links here besides its names, with the ids as text.
const LINKED_FROM: usize = 224;

fn microseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1_000.0
}

/// Events and log lines may come before the trace's first span when clocks differ.
fn signed_offset(time_ns: u64, start_ns: u64) -> f64 {
    if time_ns >= start_ns {
        microseconds(time_ns - start_ns)
    } else {
        -microseconds(start_ns - time_ns)
    }
}

#[cfg(test)]
#[path = "waterfall_tests.rs"]
mod tests;

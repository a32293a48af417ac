//! One trace in the store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::{cost, shown};
use crate::model::{LogRecord, Span, SpanId, TraceId};

/// One trace.
#[derive(Debug)]
pub(super) struct Entry {
    /// When it came, among traces and log records without a trace.
    pub number: u64,
    /// The sender of its first item, which is charged for it.
    pub sender: usize,
    pub spans: Vec<Arc<Span>>,
    /// The index of the span with an id, kind and service. The two sides of a call may share an id. It is sorted: a few
    /// entries need no hash table, and one node.
    pub index: BTreeMap<(SpanId, u64), usize>,
    pub logs: Vec<Arc<LogRecord>>,
    pub bytes: usize,
    /// The maximum size of its answer.
    pub shown: usize,
    pub dropped_spans: u64,
    pub arrived: Instant,
    /// The number of the last read by id, while it is one of those that are kept.
    pub read: Option<u64>,
    /// It would have been pushed out, but is kept: its sender's queue does not have it any more.
    pub is_overdue: bool,
}

impl Entry {
    /// The cost of an empty trace: itself, its slots in table, order and sender, and the minimum size of its lists.
    pub const COST: usize = cost::block(size_of::<Entry>())
        + cost::slot(size_of::<(TraceId, Box<Entry>)>())
        + cost::slot(size_of::<(u64, TraceId, bool)>())
        + cost::slot(size_of::<u64>())
        + cost::block(4 * size_of::<Arc<Span>>())
        + cost::block(11 * size_of::<(SpanId, u64, usize)>() + 16);

    /// An empty one.
    pub fn new(number: u64, sender: usize) -> Self {
        Self {
            number,
            sender,
            spans: Vec::new(),
            index: BTreeMap::new(),
            logs: Vec::new(),
            bytes: Self::COST,
            shown: 0,
            dropped_spans: 0,
            arrived: Instant::now(),
            read: None,
            is_overdue: false,
        }
    }

    /// The maximum size of its answer with one more span, or with this span in the place of an earlier one. An answer names
    /// each sender once; this counts it again when the previous span has another sender.
    pub fn shown_with(&self, span: &Span, place: Option<usize>) -> usize {
        let before = place.map(|at| &self.spans[at]);
        let neighbour = before.or(self.spans.last());
        let is_known = neighbour.is_some_and(|known| Arc::ptr_eq(&known.resource, &span.resource));
        let sender = if is_known {
            0
        } else {
            shown::resource(&span.resource)
        };
        self.shown - before.map_or(0, |before| shown::span(before)) + shown::span(span) + sender
    }
}

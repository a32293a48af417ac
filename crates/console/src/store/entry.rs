//! One trace, as it is kept.

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
    /// Who sent its first item, and so is charged for it.
    pub sender: usize,
    pub spans: Vec<Arc<Span>>,
    /// Where the span of an id, kind and service is. Ids may be shared by the two sides of a call. Sorted: few need no hash, and one
    /// node.
    pub index: BTreeMap<(SpanId, u64), usize>,
    pub logs: Vec<Arc<LogRecord>>,
    pub bytes: usize,
    /// What it may take in an answer.
    pub shown: usize,
    pub dropped_spans: u64,
    pub arrived: Instant,
}

impl Entry {
    /// What an empty one costs: itself, its slots in table, order and sender, and the least size of its lists.
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
        }
    }

    /// What it may take in an answer with one more span, or with this one in the place of an earlier one. Answers name each sender
    /// once; here one counts anew when the span before is another's.
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

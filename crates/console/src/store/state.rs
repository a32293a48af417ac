//! The data that the store's lock protects.

mod kept;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::cost::{self, Backlink};
use super::entry::Entry;
use super::operations::Operations;
use super::resources::{Place, Resources};
use super::senders::Senders;
use super::shown;
use super::{LogFilter, MAX_LINKED_FROM, MAX_TRACE_SPANS, Stats, Trace, severity_rank};
use crate::model::{LogRecord, Span, SpanId, TraceId};
use kept::Kept;

/// The maximum number of traces and log records per read; no client can add items meanwhile.
const LOOK: usize = 4_096;

/// The position of a read of the logs: the number of a trace or a log record, and how many records of that trace were read.
pub(super) type LogCursor = (u64, usize);

/// All traces and logs.
#[derive(Debug)]
pub(super) struct State {
    limit: usize,
    /// The limit of one trace.
    trace_limit: usize,
    bytes: usize,
    traces: HashMap<TraceId, Box<Entry>>,
    /// Traces by their number, and whether they have spans.
    order: BTreeMap<u64, (TraceId, bool)>,
    /// Log records without a trace by their number.
    loose_logs: BTreeMap<u64, Arc<LogRecord>>,
    loose_bytes: usize,
    next_number: u64,
    links: BTreeSet<Backlink>,
    pub(super) operations: Operations,
    resources: Resources,
    senders: Senders,
    kept: Kept,
    /// Traces that nobody sees any more. They are taken apart one item at a time, since a large one would hold the lock
    /// for long.
    garbage: Vec<Entry>,
    stats: Stats,
}

impl State {
    pub fn new(limit: usize, trace_limit: usize) -> Self {
        Self {
            limit,
            trace_limit,
            bytes: 0,
            traces: HashMap::new(),
            order: BTreeMap::new(),
            loose_logs: BTreeMap::new(),
            loose_bytes: 0,
            next_number: 0,
            links: BTreeSet::new(),
            operations: Operations::default(),
            resources: Resources::default(),
            senders: Senders::default(),
            kept: Kept::default(),
            garbage: Vec::new(),
            stats: Stats::default(),
        }
    }

    /// Whether the span found room in its trace.
    pub fn add_span(&mut self, mut span: Span) -> bool {
        let (resource, place) = self.resources.take(&span.resource, &mut self.senders);
        span.resource = resource;
        if span.bytes == 0 {
            span.bytes = cost::span(&span);
        }
        let kept = self.place_span(Arc::new(span), place);
        if !kept {
            self.stats.dropped_spans += 1;
        }
        self.evict();
        kept
    }

    fn place_span(&mut self, span: Arc<Span>, place: Place) -> bool {
        let key = (span.span_id, place.service.wrapping_add(span.kind as u64));
        let (bytes, limit) = (span.bytes, self.trace_limit);
        let entry = self.entry(span.trace_id, place.sender);
        let copy = entry.index.get(&key).copied();
        let replaced = copy.map_or(0, |at| entry.spans[at].bytes);
        let too_many = copy.is_none() && entry.spans.len() >= MAX_TRACE_SPANS;
        let shown = entry.shown_with(&span, copy);
        if too_many || (entry.bytes - replaced + bytes).max(shown) > limit {
            entry.dropped_spans += 1;
            self.resources.release(&span.resource, &mut self.senders);
            return false;
        }
        let before = copy.map(|at| std::mem::replace(&mut entry.spans[at], span.clone()));
        if before.is_none() {
            entry.index.insert(key, entry.spans.len());
            entry.spans.push(span.clone());
        }
        let (number, owner) = (entry.number, entry.sender);
        let is_overdue = entry.is_overdue;
        entry.bytes = entry.bytes - replaced + bytes;
        entry.shown = shown;
        let is_first = entry.spans.len() == 1 && before.is_none();
        if is_first {
            self.stats.traces += 1;
            self.order.insert(number, (span.trace_id, true));
        }
        self.stats.spans += u64::from(before.is_none());
        if let Some(before) = before {
            self.forget_span(&before, owner);
        }
        self.charge(owner, bytes);
        self.operations.add(&span);
        self.links.extend(backlinks(&span));
        if is_overdue {
            self.limit_overdue();
        }
        true
    }

    /// Whether the record fits into its trace; a record without a trace always fits.
    pub fn add_log(&mut self, mut log: LogRecord) -> bool {
        let (resource, Place { sender, .. }) =
            self.resources.take(&log.resource, &mut self.senders);
        log.resource = resource;
        let bytes = cost::log(&log);
        let kept = match log.trace_id {
            Some(trace_id) => self.place_log(trace_id, Arc::new(log), bytes, sender),
            None => {
                self.add_loose_log(Arc::new(log), bytes, sender);
                true
            }
        };
        self.stats.logs += u64::from(kept);
        self.stats.dropped_logs += u64::from(!kept);
        self.evict();
        kept
    }

    fn place_log(
        &mut self,
        trace_id: TraceId,
        log: Arc<LogRecord>,
        bytes: usize,
        sender: usize,
    ) -> bool {
        let limit = self.trace_limit;
        let entry = self.entry(trace_id, sender);
        let shown = entry.shown + shown::log(&log);
        if (entry.bytes + bytes).max(shown) > limit {
            self.resources.release(&log.resource, &mut self.senders);
            return false;
        }
        entry.bytes += bytes;
        entry.shown = shown;
        entry.logs.push(log);
        let (owner, is_overdue) = (entry.sender, entry.is_overdue);
        self.charge(owner, bytes);
        if is_overdue {
            self.limit_overdue();
        }
        true
    }

    fn add_loose_log(&mut self, log: Arc<LogRecord>, bytes: usize, sender: usize) {
        let number = self.number();
        self.loose_logs.insert(number, log);
        self.loose_bytes += bytes;
        self.charge(sender, bytes);
        let sender = self.senders.by_index(sender);
        sender.log_bytes += bytes;
        sender.logs.push_back(number);
        while self.loose_bytes > self.limit / 10 {
            let oldest = self.senders.most_logs();
            let Some(oldest) = oldest.and_then(|sender| sender.logs.pop_front()) else {
                return;
            };
            self.drop_loose_log(oldest);
        }
    }

    /// The trace's entry, made if missing.
    fn entry(&mut self, id: TraceId, sender: usize) -> &mut Entry {
        self.traces.entry(id).or_insert_with(|| {
            self.next_number += 1;
            let number = self.next_number;
            self.order.insert(number, (id, false));
            self.bytes += Entry::COST;
            let owner = self.senders.by_index(sender);
            owner.traces.push_back(number);
            owner.bytes += Entry::COST;
            Box::new(Entry::new(number, sender))
        })
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    fn charge(&mut self, sender: usize, bytes: usize) {
        self.bytes += bytes;
        self.senders.by_index(sender).bytes += bytes;
    }

    fn discharge(&mut self, sender: usize, bytes: usize) {
        self.bytes -= bytes;
        self.senders.by_index(sender).bytes -= bytes;
    }

    pub fn trace(&self, id: TraceId) -> Option<Trace> {
        let entry = self
            .traces
            .get(&id)
            .filter(|entry| !entry.spans.is_empty())?;
        Some(Trace {
            id,
            spans: entry.spans.clone(),
            logs: entry.logs.clone(),
            bytes: entry.bytes,
            dropped_spans: entry.dropped_spans,
            arrived: entry.arrived,
        })
    }

    /// The number of spans of a trace; `None` if it has none.
    pub fn span_count(&self, id: TraceId) -> Option<usize> {
        let spans = self.traces.get(&id)?.spans.len();
        (spans > 0).then_some(spans)
    }

    /// Some of the traces with spans that came before number `before`, newest first, and where to go on.
    pub fn newest_first(&self, before: u64) -> (Vec<TraceId>, Option<u64>) {
        let some = self.order.range(..before).rev().take(LOOK);
        let next = some.clone().last().map(|(number, _)| *number);
        let with_spans = some.filter(|(_, (_, has_spans))| *has_spans);
        (with_spans.map(|(_, (id, _))| *id).collect(), next)
    }

    pub fn linked_from(&self, id: TraceId) -> Vec<(TraceId, SpanId)> {
        let (first, last) = (
            (id, TraceId(0), SpanId(0)),
            (id, TraceId(u128::MAX), SpanId(u64::MAX)),
        );
        let sources = self.links.range(first..=last).take(MAX_LINKED_FROM);
        sources.map(|(_, trace, span)| (*trace, *span)).collect()
    }

    /// The log records of one trace.
    pub fn logs_of(&self, id: TraceId) -> Vec<Arc<LogRecord>> {
        let entry = self.traces.get(&id);
        entry.map(|entry| entry.logs.clone()).unwrap_or_default()
    }

    /// Some of the log records from `at` on, in the order in which they or their traces arrived, and the position to
    /// continue at.
    pub fn some_logs(&self, at: LogCursor) -> (Vec<Arc<LogRecord>>, Option<LogCursor>) {
        let (mut logs, mut next) = (Vec::new(), at);
        let mut traces = self.order.range(at.0..).peekable();
        let mut loose = self.loose_logs.range(at.0..).peekable();
        for _ in 0..LOOK {
            let trace = traces.peek().map(|(number, _)| **number);
            let log = loose.peek().map(|(number, _)| **number);
            let Some(number) = trace.into_iter().chain(log).min() else {
                return (logs, None);
            };
            if let Some((_, log)) = loose.next_if(|(own, _)| **own == number) {
                logs.push(log.clone());
            }
            let trace = traces.next_if(|(own, _)| **own == number);
            let entry = trace.and_then(|(_, (id, _))| self.traces.get(id));
            let seen = if number == at.0 { at.1 } else { 0 };
            let of_trace = entry.and_then(|entry| entry.logs.get(seen..));
            let of_trace = of_trace.unwrap_or_default();
            let now = of_trace.len().min(LOOK - logs.len());
            logs.extend_from_slice(&of_trace[..now]);
            if now < of_trace.len() {
                return (logs, Some((number, seen + now)));
            }
            next = (number + 1, 0);
            if logs.len() == LOOK {
                break;
            }
        }
        (logs, Some(next))
    }

    pub fn stats(&self) -> Stats {
        Stats {
            bytes: self.total() as u64,
            limit_bytes: self.limit as u64,
            ..self.stats
        }
    }

    fn total(&self) -> usize {
        self.bytes + self.resources.bytes + self.operations.bytes
    }

    /// Drops the oldest trace or log record of the largest sender, until the budget is kept.
    fn evict(&mut self) {
        while self.total() > self.limit && (self.take_garbage_apart() || self.drop_oldest()) {}
    }

    /// Drops everything.
    #[cfg(test)]
    pub fn clear(&mut self) {
        while self.take_garbage_apart() || self.drop_oldest() {}
    }

    fn drop_oldest(&mut self) -> bool {
        let Some(sender) = self.senders.largest() else {
            return self.let_go_of_oldest();
        };
        let (trace, log) = (sender.traces.front(), sender.logs.front());
        if log.is_none_or(|log| trace.is_some_and(|trace| trace < log)) {
            if let Some(oldest) = sender.traces.pop_front() {
                self.push_out(oldest);
            }
        } else if let Some(oldest) = sender.logs.pop_front() {
            self.drop_loose_log(oldest);
        }
        true
    }

    fn drop_trace(&mut self, number: u64) {
        let dropped = self.order.remove(&number);
        let Some(entry) = dropped.and_then(|(id, _)| self.traces.remove(&id)) else {
            return;
        };
        self.stats.evicted_traces += 1;
        self.stats.traces -= u64::from(!entry.spans.is_empty());
        self.stats.spans -= entry.spans.len() as u64;
        self.stats.logs -= entry.logs.len() as u64;
        self.garbage.push(*entry);
    }

    fn drop_loose_log(&mut self, number: u64) {
        let Some(log) = self.loose_logs.remove(&number) else {
            return;
        };
        let bytes = cost::log(&log);
        let sender = self.resources.release(&log.resource, &mut self.senders);
        self.senders.by_index(sender).log_bytes -= bytes;
        self.discharge(sender, bytes);
        self.loose_bytes -= bytes;
        self.stats.logs -= 1;
        self.stats.evicted_logs += 1;
    }

    /// Frees one item of a dropped trace; `false` if there is none.
    fn take_garbage_apart(&mut self) -> bool {
        let Some(entry) = self.garbage.last_mut() else {
            return false;
        };
        let owner = entry.sender;
        if let Some(span) = entry.spans.pop() {
            self.forget_span(&span, owner);
        } else if let Some(log) = entry.logs.pop() {
            self.resources.release(&log.resource, &mut self.senders);
            self.discharge(owner, cost::log(&log));
        } else {
            self.garbage.pop();
            self.discharge(owner, Entry::COST);
        }
        true
    }

    /// Removes a span from the indexes, and from the account of its trace's sender.
    fn forget_span(&mut self, span: &Span, owner: usize) {
        self.discharge(owner, span.bytes);
        self.operations.remove(span);
        for link in backlinks(span) {
            self.links.remove(&link);
        }
        self.resources.release(&span.resource, &mut self.senders);
    }
}

/// The entries that a span adds to the index of links. Links inside its trace are not indexed.
fn backlinks(span: &Span) -> impl Iterator<Item = Backlink> {
    let elsewhere = span.links.iter();
    let elsewhere = elsewhere.filter(|link| link.trace_id != span.trace_id);
    elsewhere.map(|link| (link.trace_id, span.trace_id, span.span_id))
}

pub(super) fn passes(log: &LogRecord, filter: &LogFilter) -> bool {
    let service = filter.service.as_ref();
    let severity = filter.min_severity;
    service.is_none_or(|service| *service == log.resource.service)
        && severity.is_none_or(|least| severity_rank(&log.severity) >= least)
}

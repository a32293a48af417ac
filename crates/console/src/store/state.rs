//! What is behind the store's lock.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::mem::size_of;
use std::sync::Arc;
use std::time::Instant;

use super::operations::Operations;
use super::resources::Resources;
use super::{LogFilter, MAX_LINKED_FROM, MAX_TRACE_SPANS, Stats, Trace, cost, severity_rank};
use crate::model::{LogRecord, Span, SpanId, TraceId};

/// Beyond so many dead resources' worth of evictions a sweep pays.
const SWEEP_EVERY: u64 = 64;

/// One trace.
#[derive(Debug)]
struct Entry {
    spans: Vec<Arc<Span>>,
    /// Where the first span of an id is.
    index: HashMap<SpanId, usize>,
    logs: Vec<Arc<LogRecord>>,
    bytes: usize,
    dropped_spans: u64,
    arrived: Instant,
}

impl Entry {
    /// What an empty one costs, with its slots in the table and the queue.
    const COST: usize =
        cost::slot(size_of::<(TraceId, Entry)>()) + cost::slot(size_of::<TraceId>());

    fn new() -> Self {
        Self {
            spans: Vec::new(),
            index: HashMap::new(),
            logs: Vec::new(),
            bytes: Self::COST,
            dropped_spans: 0,
            arrived: Instant::now(),
        }
    }

    /// Where a span of the same id, service and kind is. Ids may be shared by the two sides of a call, so an id alone
    /// does not make a copy.
    fn copy_of(&self, span: &Span) -> Option<usize> {
        let same = |known: &Arc<Span>| {
            known.span_id == span.span_id
                && known.kind == span.kind
                && known.resource.service == span.resource.service
        };
        let first = *self.index.get(&span.span_id)?;
        let after = self.spans[first..].iter().position(same)?;
        Some(first + after)
    }
}

/// All traces and logs.
#[derive(Debug)]
pub(super) struct State {
    limit: usize,
    bytes: usize,
    traces: HashMap<TraceId, Entry>,
    /// Keys of `traces`, the oldest in front.
    order: VecDeque<TraceId>,
    loose_logs: VecDeque<Arc<LogRecord>>,
    loose_bytes: usize,
    links: HashMap<TraceId, BTreeSet<(TraceId, SpanId)>>,
    pub(super) operations: Operations,
    resources: Resources,
    stats: Stats,
}

impl State {
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            bytes: 0,
            traces: HashMap::new(),
            order: VecDeque::new(),
            loose_logs: VecDeque::new(),
            loose_bytes: 0,
            links: HashMap::new(),
            operations: Operations::default(),
            resources: Resources::default(),
            stats: Stats::default(),
        }
    }

    pub fn add_span(&mut self, mut span: Span) {
        span.resource = self.resources.shared(&span.resource);
        let bytes = cost::span(&span);
        let max_trace_bytes = self.limit / 4;
        let entry = entry(
            &mut self.traces,
            &mut self.order,
            &mut self.bytes,
            span.trace_id,
        );
        let copy = entry.copy_of(&span);
        let replaced = copy.map_or(0, |at| cost::span(&entry.spans[at]));
        let too_many = copy.is_none() && entry.spans.len() >= MAX_TRACE_SPANS;
        if too_many || entry.bytes - replaced + bytes > max_trace_bytes {
            entry.dropped_spans += 1;
            self.stats.dropped_spans += 1;
            self.evict();
            return;
        }
        let span = Arc::new(span);
        entry.bytes = entry.bytes - replaced + bytes;
        self.bytes = self.bytes - replaced + bytes;
        let before = match copy {
            Some(at) => Some(std::mem::replace(&mut entry.spans[at], span.clone())),
            None => {
                entry.index.entry(span.span_id).or_insert(entry.spans.len());
                entry.spans.push(span.clone());
                None
            }
        };
        if entry.spans.len() == 1 && before.is_none() {
            self.stats.traces += 1;
        }
        if let Some(before) = before {
            self.forget_span(&before);
        }
        self.stats.spans += 1;
        self.operations.add(&span);
        for link in span
            .links
            .iter()
            .filter(|link| link.trace_id != span.trace_id)
        {
            let sources = self.links.entry(link.trace_id).or_default();
            sources.insert((span.trace_id, span.span_id));
        }
        self.evict();
    }

    pub fn add_log(&mut self, mut log: LogRecord) {
        log.resource = self.resources.shared(&log.resource);
        let bytes = cost::log(&log);
        match log.trace_id {
            Some(trace_id) => {
                let max_trace_bytes = self.limit / 4;
                let entry = entry(&mut self.traces, &mut self.order, &mut self.bytes, trace_id);
                if entry.bytes + bytes > max_trace_bytes {
                    self.stats.dropped_logs += 1;
                } else {
                    entry.bytes += bytes;
                    self.bytes += bytes;
                    entry.logs.push(Arc::new(log));
                    self.stats.logs += 1;
                }
            }
            None => {
                self.loose_bytes += bytes;
                self.bytes += bytes;
                self.loose_logs.push_back(Arc::new(log));
                self.stats.logs += 1;
                while self.loose_bytes > self.limit / 10 && self.drop_loose_log() {}
            }
        }
        self.evict();
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
            dropped_spans: entry.dropped_spans,
            arrived: entry.arrived,
        })
    }

    pub fn newest_first(&self) -> Vec<TraceId> {
        let ids = self.order.iter().rev().copied();
        ids.filter(|id| {
            self.traces
                .get(id)
                .is_some_and(|entry| !entry.spans.is_empty())
        })
        .collect()
    }

    pub fn linked_from(&self, id: TraceId) -> Vec<(TraceId, SpanId)> {
        let sources = self.links.get(&id);
        sources
            .into_iter()
            .flatten()
            .take(MAX_LINKED_FROM)
            .copied()
            .collect()
    }

    pub fn logs(&self, filter: &LogFilter) -> Vec<Arc<LogRecord>> {
        let passes = |log: &&Arc<LogRecord>| {
            filter
                .service
                .as_ref()
                .is_none_or(|service| *service == log.resource.service)
                && filter
                    .min_severity
                    .is_none_or(|least| severity_rank(&log.severity) >= least)
        };
        match filter.trace_id {
            Some(id) => {
                let logs = self.traces.get(&id).map(|entry| entry.logs.iter());
                newest(logs.into_iter().flatten().filter(passes), filter.limit)
            }
            None => {
                let of_traces = self.traces.values().flat_map(|entry| entry.logs.iter());
                newest(
                    self.loose_logs.iter().chain(of_traces).filter(passes),
                    filter.limit,
                )
            }
        }
    }

    /// Log records without a trace, and the traces that may have some.
    pub fn log_places(&self) -> (Vec<Arc<LogRecord>>, Vec<TraceId>) {
        (
            self.loose_logs.iter().cloned().collect(),
            self.order.iter().copied().collect(),
        )
    }

    /// Log records of these traces.
    pub fn logs_of(&self, ids: &[TraceId]) -> Vec<Arc<LogRecord>> {
        let entries = ids.iter().filter_map(|id| self.traces.get(id));
        entries
            .flat_map(|entry| entry.logs.iter().cloned())
            .collect()
    }

    pub fn stats(&self) -> Stats {
        Stats {
            bytes: self.total() as u64,
            limit_bytes: self.limit as u64,
            ..self.stats
        }
    }

    fn total(&self) -> usize {
        self.bytes + self.resources.bytes
    }

    /// Drops the oldest traces, then the oldest loose logs, until the budget is kept.
    fn evict(&mut self) {
        while self.total() > self.limit {
            // Whole traces are a bad price for resources that nothing uses any more.
            if self.stats.evicted_traces.is_multiple_of(SWEEP_EVERY) || self.order.is_empty() {
                self.resources.sweep();
            }
            if self.total() > self.limit && !self.drop_oldest_trace() && !self.drop_loose_log() {
                return;
            }
        }
    }

    /// Drops everything.
    #[cfg(test)]
    pub fn clear(&mut self) {
        while self.drop_oldest_trace() || self.drop_loose_log() {}
        self.resources.sweep();
    }

    fn drop_oldest_trace(&mut self) -> bool {
        let oldest = self.order.pop_front();
        let Some(entry) = oldest.and_then(|id| self.traces.remove(&id)) else {
            return false;
        };
        self.bytes -= entry.bytes;
        self.stats.evicted_traces += 1;
        self.stats.traces -= u64::from(!entry.spans.is_empty());
        self.stats.logs -= entry.logs.len() as u64;
        for span in &entry.spans {
            self.forget_span(span);
        }
        true
    }

    fn drop_loose_log(&mut self) -> bool {
        let Some(log) = self.loose_logs.pop_front() else {
            return false;
        };
        let bytes = cost::log(&log);
        self.loose_bytes -= bytes;
        self.bytes -= bytes;
        self.stats.logs -= 1;
        self.stats.evicted_logs += 1;
        true
    }

    /// Takes a span out of the indexes.
    fn forget_span(&mut self, span: &Span) {
        self.stats.spans -= 1;
        self.operations.remove(span);
        for link in &span.links {
            if let Some(sources) = self.links.get_mut(&link.trace_id) {
                sources.remove(&(span.trace_id, span.span_id));
                if sources.is_empty() {
                    self.links.remove(&link.trace_id);
                }
            }
        }
    }
}

/// The trace's entry, made if missing.
fn entry<'a>(
    traces: &'a mut HashMap<TraceId, Entry>,
    order: &mut VecDeque<TraceId>,
    bytes: &mut usize,
    id: TraceId,
) -> &'a mut Entry {
    traces.entry(id).or_insert_with(|| {
        order.push_back(id);
        *bytes += Entry::COST;
        Entry::new()
    })
}

/// The newest `limit` records, newest first; those of one time in the reverse order of coming.
fn newest<'a>(logs: impl Iterator<Item = &'a Arc<LogRecord>>, limit: usize) -> Vec<Arc<LogRecord>> {
    let mut logs: Vec<(usize, &Arc<LogRecord>)> = logs.enumerate().collect();
    let newest_first =
        |(position, log): &(usize, &Arc<LogRecord>)| Reverse((log.time_ns, *position));
    if logs.len() > limit {
        logs.select_nth_unstable_by_key(limit, newest_first);
        logs.truncate(limit);
    }
    logs.sort_unstable_by_key(newest_first);
    logs.into_iter().map(|(_, log)| log.clone()).collect()
}

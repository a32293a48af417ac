//! Traces and logs in memory, within a budget of bytes.
//!
//! What an item costs is estimated when it comes (see `cost`): the size of its structs plus every heap block behind
//! them, rounded up as an allocator does. Over the budget whoever holds most (see `senders`) loses its oldest whole traces, by the
//! time their first item came; half a waterfall would only mislead. Those that were last read by id stay for longer (see `state::kept`). Logs without a trace have a ring of their own, a tenth of the budget.
//! No trace may hold more than [`MAX_TRACE_SPANS`] spans or a quarter of the budget, so that one runaway loop
//! does not wipe out everything else, nor more than one answer has room for; what is refused is counted in `dropped_spans` (and `dropped_logs`).

pub(crate) mod cost;
mod entry;
mod newest;
mod operations;
mod resources;
mod senders;
mod shown;
mod state;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use crate::model::{Kind, LogRecord, Span, SpanId, TraceId};
use newest::Newest;
use operations::just_after;
use state::{State, passes};

/// The most spans that one trace may hold.
pub const MAX_TRACE_SPANS: usize = 10_000;

/// The most answers of [`Store::linked_from`].
pub const MAX_LINKED_FROM: usize = 1_000;

/// How many ids are looked up at a time; no client can add items meanwhile.
const IDS: usize = 4_096;

/// A shared handle; clones see the same data.
#[derive(Debug, Clone)]
pub struct Store {
    state: Arc<RwLock<State>>,
    /// Locked by a writer before the store, so that of two writers only one waits for the store's lock, which prefers
    /// waiting writers.
    adding: Arc<Mutex<()>>,
}

/// A snapshot of one trace.
#[derive(Debug, Clone)]
pub struct Trace {
    /// Its id.
    pub id: TraceId,
    /// Its spans in the order they came; never empty.
    pub spans: Vec<Arc<Span>>,
    /// Its log records in the order they came.
    pub logs: Vec<Arc<LogRecord>>,
    /// Estimated bytes of both.
    pub bytes: usize,
    /// Spans that were refused because the trace was too large.
    pub dropped_spans: u64,
    /// When its first item came.
    pub arrived: Instant,
}

/// Conditions for log records; `None` matches all.
#[derive(Debug, Clone, Default)]
pub struct LogFilter {
    /// The trace.
    pub trace_id: Option<TraceId>,
    /// The service.
    pub service: Option<String>,
    /// The least severity, as a rank of [`severity_rank`].
    pub min_severity: Option<u8>,
    /// The maximum number; the newest count.
    pub limit: usize,
}

/// Numbers about the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Traces with at least one span.
    pub traces: u64,
    /// Spans held.
    pub spans: u64,
    /// Log records held.
    pub logs: u64,
    /// Estimated bytes held.
    pub bytes: u64,
    /// The budget.
    pub limit_bytes: u64,
    /// Traces dropped because the budget was used up.
    pub evicted_traces: u64,
    /// Log records without a trace that were dropped because their ring or the budget was full.
    pub evicted_logs: u64,
    /// Spans refused because their trace was too large.
    pub dropped_spans: u64,
    /// Log records refused because their trace was too large.
    pub dropped_logs: u64,
}

/// 1 (`TRACE`) to 6 (`FATAL`), 0 for a text that is none of the six.
pub fn severity_rank(severity: &str) -> u8 {
    const NAMES: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
    let position = NAMES
        .iter()
        .position(|name| name.eq_ignore_ascii_case(severity));
    position.map_or(0, |position| position as u8 + 1)
}

impl Store {
    /// An empty store that keeps within `limit_bytes`.
    pub fn new(limit_bytes: u64) -> Self {
        Self::with_traces_of(limit_bytes, u64::MAX)
    }

    /// Does the same, and limits each trace to `trace_bytes` and a quarter of the budget.
    pub fn with_traces_of(limit_bytes: u64, trace_bytes: u64) -> Self {
        let bytes = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
        let trace_limit = trace_bytes.min(limit_bytes / 4);
        let state = State::new(bytes(limit_bytes), bytes(trace_limit));
        Self {
            state: Arc::new(RwLock::new(state)),
            adding: Arc::default(),
        }
    }

    /// Adds spans. One that is here already (same id, service and kind, as when an exporter sends a batch again) replaces
    /// the earlier one. Answers how many found no room in their trace.
    pub fn add_spans(&self, spans: Vec<Span>) -> u64 {
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.write();
        let refused = spans
            .into_iter()
            .filter_map(|span| (!state.add_span(span)).then_some(()));
        refused.count() as u64
    }

    /// Adds log records: to their trace, also before its spans arrive, else to the ring. Returns how many did not fit into
    /// their trace.
    pub fn add_logs(&self, logs: Vec<LogRecord>) -> u64 {
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.write();
        let refused = logs
            .into_iter()
            .filter_map(|log| (!state.add_log(log)).then_some(()));
        refused.count() as u64
    }

    /// The trace, if at least one of its spans is here.
    pub fn trace(&self, id: TraceId) -> Option<Trace> {
        self.read().trace(id)
    }

    /// The same for a reader who has its id, and so a link to it: it is kept while others are pushed out.
    pub fn trace_by_id(&self, id: TraceId) -> Option<Trace> {
        self.keep(id);
        self.trace(id)
    }

    /// Keeps a trace that is read by its id.
    pub fn keep(&self, id: TraceId) {
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        self.write().keep(id);
    }

    /// The number of spans of a trace; `None` if the trace is not stored.
    pub fn span_count(&self, id: TraceId) -> Option<usize> {
        self.read().span_count(id)
    }

    /// All traces with spans, in descending order of their first arrival. It locks the store for a part of them at a time,
    /// so a trace may have been evicted before the caller reads it.
    pub fn traces_newest_first(&self) -> impl Iterator<Item = TraceId> {
        let mut before = Some(u64::MAX);
        let batches = std::iter::from_fn(move || {
            let (ids, next) = self.read().newest_first(before?);
            before = next;
            Some(ids)
        });
        batches.flatten()
    }

    /// Which of these traces have spans here.
    pub fn known(&self, ids: impl Iterator<Item = TraceId>) -> HashSet<TraceId> {
        let mut ids = ids.peekable();
        let mut known = HashSet::new();
        while ids.peek().is_some() {
            let state = self.read();
            let ids = ids.by_ref().take(IDS);
            known.extend(ids.filter(|id| state.span_count(*id).is_some()));
        }
        known
    }

    /// Services with spans, sorted. The store is locked for a part of them at a time.
    pub fn services<E>(&self, mut each: impl FnMut(&str) -> Result<(), E>) -> Result<(), E> {
        let mut least = String::new();
        loop {
            let some = self.read().operations.services(&least);
            let Some(last) = some.last() else {
                return Ok(());
            };
            least = just_after(last);
            some.iter().try_for_each(|name| each(name))?;
        }
    }

    /// Span names of a service with their kinds, sorted, each once. The store is locked for a part of them at a time.
    pub fn operations<E>(
        &self,
        service: &str,
        mut each: impl FnMut(&str, Kind) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut last = None;
        loop {
            let some = self
                .read()
                .operations
                .of_service_after(service, last.as_ref());
            some.iter().try_for_each(|(name, kind)| each(name, *kind))?;
            last = some.into_iter().last();
            if last.is_none() {
                return Ok(());
            }
        }
    }

    /// Spans of other traces whose links point into this trace, sorted by their ids; at most [`MAX_LINKED_FROM`].
    pub fn linked_from(&self, id: TraceId) -> Vec<(TraceId, SpanId)> {
        self.read().linked_from(id)
    }

    /// The newest log records that match the filter, newest first. It locks the store for a part of them at a time. In
    /// between, `holds` gets the size of the candidates, and may end the search.
    pub fn logs<E>(
        &self,
        filter: &LogFilter,
        mut holds: impl FnMut(usize) -> Result<(), E>,
    ) -> Result<Vec<Arc<LogRecord>>, E> {
        let mut newest = Newest::new(filter.limit);
        let mut look_at = |logs: Vec<Arc<LogRecord>>| {
            let passing = logs.into_iter().filter(|log| passes(log, filter));
            passing.for_each(|log| newest.add(log));
            holds(newest.bytes)
        };
        match filter.trace_id {
            Some(id) => look_at(self.read().logs_of(id))?,
            None => self.log_batches().try_for_each(look_at)?,
        }
        Ok(newest.newest_first())
    }

    /// All log records in batches, in the order in which they or their traces arrived. It locks the store per batch; records
    /// that arrive or are evicted meanwhile may be missing.
    pub fn log_batches(&self) -> impl Iterator<Item = Vec<Arc<LogRecord>>> {
        let mut at = Some((0, 0));
        std::iter::from_fn(move || {
            let (batch, next) = self.read().some_logs(at?);
            at = next;
            Some(batch)
        })
    }

    /// Numbers about the store.
    pub fn stats(&self) -> Stats {
        self.read().stats()
    }

    // A panic under the lock is a bug, but the console continues to show its data.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

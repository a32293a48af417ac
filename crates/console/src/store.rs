//! Traces and logs in memory, within a budget of bytes.
//!
//! What an item costs is estimated when it comes (see `cost`): the size of its structs plus every heap block behind
//! them, rounded up as an allocator does. Over the budget the oldest whole traces go first, by the time their
//! first item came; half a waterfall would only mislead. Logs without a trace have a ring of their own, a tenth of the budget.
//! No trace may hold more than [`MAX_TRACE_SPANS`] spans or a quarter of the budget, so that one runaway loop
//! does not wipe out everything else; what is refused is counted in `dropped_spans` (and `dropped_logs`).

pub(crate) mod cost;
mod operations;
mod resources;
mod state;
#[cfg(test)]
mod tests;

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use crate::model::{Kind, LogRecord, Span, SpanId, TraceId};
use state::State;

/// The most spans that one trace may hold.
pub const MAX_TRACE_SPANS: usize = 10_000;

/// The most answers of [`Store::linked_from`].
pub const MAX_LINKED_FROM: usize = 1_000;

/// The traces whose log records are read at once.
const TRACES_OF_BATCH: usize = 256;

/// A shared handle; clones see the same data.
#[derive(Debug, Clone)]
pub struct Store {
    state: Arc<RwLock<State>>,
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
    /// Spans that were refused because the trace was too large.
    pub dropped_spans: u64,
    /// When its first item came.
    pub arrived: Instant,
}

/// Which log records are wanted; `None` stands for any.
#[derive(Debug, Clone, Default)]
pub struct LogFilter {
    /// Of this trace.
    pub trace_id: Option<TraceId>,
    /// Of this service.
    pub service: Option<String>,
    /// At least this severe, as a rank of [`severity_rank`].
    pub min_severity: Option<u8>,
    /// At most so many, the newest.
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
    /// Log records without a trace that were dropped because their ring was full.
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
        let state = State::new(usize::try_from(limit_bytes).unwrap_or(usize::MAX));
        Self {
            state: Arc::new(RwLock::new(state)),
        }
    }

    /// Adds spans. One that is here already (same id, service and kind, as when an exporter sends a batch again) replaces
    /// the earlier one.
    pub fn add_spans(&self, spans: Vec<Span>) {
        let mut state = self.write();
        for span in spans {
            state.add_span(span);
        }
    }

    /// Adds log records: to their trace, also when its spans are yet to come, else to the ring.
    pub fn add_logs(&self, logs: Vec<LogRecord>) {
        let mut state = self.write();
        for log in logs {
            state.add_log(log);
        }
    }

    /// The trace, if at least one of its spans is here.
    pub fn trace(&self, id: TraceId) -> Option<Trace> {
        self.read().trace(id)
    }

    /// All traces with spans, the one that began to arrive last first. A snapshot: some may be gone when asked for.
    pub fn traces_newest_first(&self) -> Vec<TraceId> {
        self.read().newest_first()
    }

    /// Services with spans, sorted.
    pub fn services(&self) -> Vec<String> {
        self.read().operations.services()
    }

    /// Span names of a service with their kinds, sorted, each once.
    pub fn operations(&self, service: &str) -> Vec<(String, Kind)> {
        self.read().operations.of(service)
    }

    /// Spans elsewhere whose links point into this trace, sorted by their ids; at most [`MAX_LINKED_FROM`].
    pub fn linked_from(&self, id: TraceId) -> Vec<(TraceId, SpanId)> {
        self.read().linked_from(id)
    }

    /// The newest log records that pass the filter, newest first.
    pub fn logs(&self, filter: &LogFilter) -> Vec<Arc<LogRecord>> {
        self.read().logs(filter)
    }

    /// All log records, those without a trace first, in batches: the lock is held while one is made. What comes or goes
    /// meanwhile may be in it or not.
    pub fn log_batches(&self) -> impl Iterator<Item = Vec<Arc<LogRecord>>> {
        let (loose, ids) = self.read().log_places();
        let mut ids = ids.into_iter();
        let of_traces = std::iter::from_fn(move || {
            let some: Vec<TraceId> = ids.by_ref().take(TRACES_OF_BATCH).collect();
            (!some.is_empty()).then(|| self.read().logs_of(&some))
        });
        std::iter::once(loose).chain(of_traces)
    }

    /// Numbers about the store.
    pub fn stats(&self) -> Stats {
        self.read().stats()
    }

    // A panic while the lock was held is a bug, but no reason to stop showing what is there.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

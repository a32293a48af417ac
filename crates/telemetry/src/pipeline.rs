//! A bounded queue with its own thread between the service and an exporter.
//!
//! A dead, slow or refusing collector never slows a request: putting an item in never blocks, a full queue drops and
//! counts, a failed batch is retried with back-off and then dropped and counted. The SDK's batch processors neither
//! retry nor count, and report success when spans are lost at shutdown; hence this one, for spans and log records.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::metric::{Counter, Gauge, instrument};
use crate::names::labels::ErrorType;
use crate::names::process::{
    LOG_EXPORTED, LOG_PROCESSED, LOG_QUEUE, LOG_QUEUE_MAX, SPAN_EXPORTED, SPAN_PROCESSED,
    SPAN_QUEUE, SPAN_QUEUE_MAX,
};
use crate::pace::Pace;
use crate::settings::Batch;

/// What became of one export attempt.
#[derive(Debug)]
pub(crate) enum ExportOutcome {
    /// The backend has it, but for this many items that it rejected.
    Accepted { rejected: u64 },
    /// Worth another try, not before the given time.
    Retry {
        after: Option<Duration>,
        error_type: &'static str,
    },
    /// Would fail again.
    Refused { error_type: &'static str },
}

/// Metrics of one signal, and its thread's name.
pub(crate) struct SignalNames {
    processed: Counter<ErrorType>,
    exported: Counter<ErrorType>,
    size: Gauge,
    capacity: Gauge,
    thread: &'static str,
}

pub(crate) const SPANS: SignalNames = SignalNames {
    processed: SPAN_PROCESSED,
    exported: SPAN_EXPORTED,
    size: SPAN_QUEUE,
    capacity: SPAN_QUEUE_MAX,
    thread: "export-spans",
};

pub(crate) const LOGS: SignalNames = SignalNames {
    processed: LOG_PROCESSED,
    exported: LOG_EXPORTED,
    size: LOG_QUEUE,
    capacity: LOG_QUEUE_MAX,
    thread: "export-logs",
};

/// The queue; cheap to clone.
pub(crate) struct Pipeline<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for Pipeline<T> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<T> std::fmt::Debug for Pipeline<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipeline").finish_non_exhaustive()
    }
}

struct Shared<T> {
    settings: Batch,
    state: Mutex<State<T>>,
    wake: Condvar,
    accepted: instrument::Counter,
    queue_full: instrument::Counter,
    already_shutdown: instrument::Counter,
    names: SignalNames,
}

struct State<T> {
    queue: VecDeque<T>,
    /// Items taken from the queue whose export has not ended.
    in_flight: usize,
    /// Send at once, without waiting for a full batch.
    hurry: bool,
    /// Set at shutdown: the time by which all must be over.
    deadline: Option<Instant>,
    lost: u64,
    worker: Option<JoinHandle<()>>,
    /// Nothing more is taken.
    ended: bool,
}

impl<T: Send + 'static> Pipeline<T> {
    /// Starts the thread; `send` makes one attempt to export a batch. It may take the items, and must then remember what
    /// it makes of them: another attempt finds the batch as the last one left it.
    pub(crate) fn start(
        settings: Batch,
        names: SignalNames,
        send: impl FnMut(&mut Vec<T>) -> ExportOutcome + Send + 'static,
    ) -> std::io::Result<Self> {
        names.capacity.set(settings.max_queue as f64);
        names.size.set(0.0);
        for error_type in ["", "rejected", "timeout", "connection", "http", "shutdown"] {
            names.exported.with(error(error_type)).absolute(0);
        }
        let shared = Arc::new(Shared {
            settings,
            accepted: names.processed.with(error("")),
            queue_full: names.processed.with(error("queue_full")),
            already_shutdown: names.processed.with(error("already_shutdown")),
            state: Mutex::new(State {
                queue: VecDeque::new(),
                in_flight: 0,
                hurry: false,
                deadline: None,
                lost: 0,
                worker: None,
                ended: false,
            }),
            wake: Condvar::new(),
            names,
        });
        let worker = Arc::clone(&shared);
        let handle = std::thread::Builder::new()
            .name(shared.names.thread.to_owned())
            .spawn(move || worker.run(send))?;
        shared.lock().worker = Some(handle);
        Ok(Self { shared })
    }

    /// Puts an item in, or drops and counts it. Never blocks on the exporter.
    pub(crate) fn push(&self, item: T) {
        let mut state = self.shared.lock();
        // `close` alone does not end it: while the last batches are being sent, a worker may still be finishing a request.
        let dropped = if state.ended {
            Some(&self.shared.already_shutdown)
        } else if state.queue.len() >= self.shared.settings.max_queue {
            Some(&self.shared.queue_full)
        } else {
            None
        };
        if let Some(counter) = dropped {
            state.lost += 1;
            drop(state);
            counter.increment(1);
            return;
        }
        state.queue.push_back(item);
        // One wake-up is enough: the thread checks the queue before it waits.
        let full = state.queue.len() == self.shared.settings.max_batch;
        drop(state);
        self.shared.accepted.increment(1);
        if full {
            self.shared.wake.notify_all();
        }
    }

    /// Items that wait or are being exported.
    #[cfg(test)]
    pub(crate) fn pending(&self) -> usize {
        let state = self.shared.lock();
        state.queue.len() + state.in_flight
    }

    /// Asks for everything to be sent now and waits for it; false when `timeout` passes first.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        let mut state = self.shared.lock();
        state.hurry = true;
        self.shared.wake.notify_all();
        let end = Instant::now() + timeout;
        while !state.queue.is_empty() || state.in_flight > 0 {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || state.ended {
                return false;
            }
            state = self.shared.wait(state, left);
        }
        true
    }

    /// Sends what is left, for at most `timeout`; then drops and counts the rest. Returns how many items this
    /// pipeline lost in its whole life.
    #[cfg(test)]
    pub(crate) fn shutdown(&self, timeout: Duration) -> u64 {
        let end = Instant::now() + timeout;
        self.close(end);
        self.finish(end)
    }

    /// Starts to send the rest at once, until `end`.
    pub(crate) fn close(&self, end: Instant) {
        self.shared.lock().deadline.get_or_insert(end);
        self.shared.wake.notify_all();
    }

    /// Waits until the thread has ended, after [`Pipeline::close`]; returns how many records were lost.
    pub(crate) fn finish(&self, end: Instant) -> u64 {
        let worker = self.shared.lock().worker.take();
        if let Some(worker) = worker {
            // One attempt may still hang in its own time-out: wait for the thread no longer than promised.
            let mut state = self.shared.lock();
            let end = end + Duration::from_millis(100);
            while !state.ended && Instant::now() < end {
                state = self
                    .shared
                    .wait(state, end.saturating_duration_since(Instant::now()));
            }
            let ended = state.ended;
            if !ended {
                state.lost += (state.queue.len() + state.in_flight) as u64;
                state.ended = true;
            }
            drop(state);
            if ended {
                let _ = worker.join();
            }
        }
        self.shared.lock().lost
    }
}

impl<T: Send + 'static> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // A panic while holding the lock leaves plain data behind; telemetry goes on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State<T>>,
        time: Duration,
    ) -> MutexGuard<'a, State<T>> {
        self.wake
            .wait_timeout(state, time)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    fn run(&self, mut send: impl FnMut(&mut Vec<T>) -> ExportOutcome) {
        let mut pace = Pace::new();
        while let Some(batch) = self.next_batch() {
            self.export(batch, &mut send, &mut pace);
            let mut state = self.lock();
            state.in_flight = 0;
            self.names.size.set(state.queue.len() as f64);
            drop(state);
            self.wake.notify_all();
        }
        self.wake.notify_all();
    }

    /// Waits for a full batch, the schedule delay, a flush or the end; `None` at the end.
    fn next_batch(&self) -> Option<Vec<T>> {
        let mut state = self.lock();
        let mut due = Instant::now() + self.settings.delay;
        loop {
            self.names.size.set(state.queue.len() as f64);
            let full = state.queue.len() >= self.settings.max_batch;
            let now = Instant::now();
            if !state.queue.is_empty()
                && (full || state.hurry || state.deadline.is_some() || now >= due)
            {
                let size = state.queue.len().min(self.settings.max_batch);
                let batch: Vec<T> = state.queue.drain(..size).collect();
                state.in_flight = batch.len();
                return Some(batch);
            }
            if state.queue.is_empty() {
                state.hurry = false;
                if state.deadline.is_some() {
                    // Under the lock that found the queue empty: nothing can be put in and left there.
                    state.ended = true;
                    return None;
                }
            }
            if now >= due {
                due = now + self.settings.delay.max(Duration::from_millis(1));
            }
            state = self.wait(state, due - now);
        }
    }

    fn export(
        &self,
        mut batch: Vec<T>,
        send: &mut impl FnMut(&mut Vec<T>) -> ExportOutcome,
        pace: &mut Pace,
    ) {
        let count = batch.len() as u64;
        let mut reason = "shutdown";
        // The rest of the last batch's pause does not count against this batch's time.
        let give_up = pace.not_before.max(Instant::now()) + self.settings.timeout;
        while self.wait_until(pace.not_before) {
            match send(&mut batch) {
                ExportOutcome::Accepted { rejected } => {
                    pace.answered();
                    let rejected = rejected.min(count);
                    return self.ended(count - rejected, rejected, "rejected");
                }
                ExportOutcome::Refused { error_type } => {
                    pace.answered();
                    return self.ended(0, count, error_type);
                }
                ExportOutcome::Retry { after, error_type } => {
                    pace.failed(after);
                    reason = error_type;
                    // Our own pause must end in time. One that was asked for may be longer than all the time there is.
                    let next = after.map_or(pace.not_before, |_| Instant::now());
                    if next >= give_up {
                        break;
                    }
                }
            }
        }
        self.ended(0, count, reason);
    }

    /// Waits for another attempt. False, and at once, when the shutdown's deadline comes first.
    fn wait_until(&self, time: Instant) -> bool {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let in_time = state
                .deadline
                .is_none_or(|deadline| deadline > time.max(now));
            if now >= time || !in_time {
                return in_time;
            }
            state = self.wait(state, time - now);
        }
    }

    fn ended(&self, accepted: u64, lost: u64, error_type: &'static str) {
        self.names.exported.with(error("")).increment(accepted);
        if lost > 0 {
            self.names.exported.with(error(error_type)).increment(lost);
            self.lock().lost += lost;
        }
    }
}

fn error(error_type: &str) -> ErrorType {
    ErrorType(error_type.to_owned())
}

#[cfg(test)]
mod late;

#[cfg(test)]
mod tests;

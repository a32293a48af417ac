//! A bounded queue with its own thread between the service and an exporter.
//!
//! A dead, slow or refusing collector never slows a request: putting an item in never blocks, a full queue drops and
//! counts, a failed batch is retried with back-off and then dropped and counted. The SDK's batch processors neither
//! retry nor count, and report success when spans are lost at shutdown; hence this one, for spans and log records.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use metrics::{Counter, counter, gauge};

use crate::names;
use crate::settings::Batch;

const FIRST_BACKOFF: Duration = Duration::from_millis(250);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// What became of one export attempt.
#[derive(Debug)]
pub(crate) enum Sent {
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

/// Metric names of one signal.
pub(crate) struct SignalNames {
    processed: &'static str,
    exported: &'static str,
    size: &'static str,
    capacity: &'static str,
    thread: &'static str,
}

pub(crate) const SPANS: SignalNames = SignalNames {
    processed: names::SPAN_PROCESSED,
    exported: names::SPAN_EXPORTED,
    size: names::SPAN_QUEUE,
    capacity: names::SPAN_QUEUE_MAX,
    thread: "export-spans",
};

pub(crate) const LOGS: SignalNames = SignalNames {
    processed: names::LOG_PROCESSED,
    exported: names::LOG_EXPORTED,
    size: names::LOG_QUEUE,
    capacity: names::LOG_QUEUE_MAX,
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
    accepted: Counter,
    queue_full: Counter,
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
    ended: bool,
}

impl<T: Send + 'static> Pipeline<T> {
    /// Starts the thread; `send` makes one attempt to export a batch.
    pub(crate) fn start(
        settings: Batch,
        names: SignalNames,
        send: impl FnMut(&[T]) -> Sent + Send + 'static,
    ) -> std::io::Result<Self> {
        gauge!(names.capacity).set(settings.max_queue as f64);
        gauge!(names.size).set(0.0);
        for error_type in ["", "rejected", "timeout", "connection", "http", "shutdown"] {
            counter!(names.exported, "error_type" => error_type).absolute(0);
        }
        let shared = Arc::new(Shared {
            settings,
            accepted: counter!(names.processed, "error_type" => ""),
            queue_full: counter!(names.processed, "error_type" => "queue_full"),
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
        // Even while the last batches are being sent: a worker may still be finishing a request.
        if state.ended || state.queue.len() >= self.shared.settings.max_queue {
            state.lost += 1;
            drop(state);
            self.shared.queue_full.increment(1);
            return;
        }
        state.queue.push_back(item);
        let full = state.queue.len() >= self.shared.settings.max_batch;
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
    pub(crate) fn shutdown(&self, timeout: Duration) -> u64 {
        let end = Instant::now() + timeout;
        self.close(end);
        self.finish(end)
    }

    /// Begins to send what is left, at once, until `end`.
    pub(crate) fn close(&self, end: Instant) {
        self.shared.lock().deadline.get_or_insert(end);
        self.shared.wake.notify_all();
    }

    /// The rest of [`Pipeline::shutdown`], after [`Pipeline::close`].
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

    fn run(&self, mut send: impl FnMut(&[T]) -> Sent) {
        while let Some(batch) = self.next_batch() {
            self.export(&batch, &mut send);
            let mut state = self.lock();
            state.in_flight = 0;
            gauge!(self.names.size).set(state.queue.len() as f64);
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
            gauge!(self.names.size).set(state.queue.len() as f64);
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

    fn export(&self, batch: &[T], send: &mut impl FnMut(&[T]) -> Sent) {
        let give_up = Instant::now() + self.settings.timeout;
        let mut backoff = FIRST_BACKOFF;
        let count = batch.len() as u64;
        loop {
            if self
                .lock()
                .deadline
                .is_some_and(|deadline| Instant::now() >= deadline)
            {
                return self.ended(0, count, "shutdown");
            }
            match send(batch) {
                Sent::Accepted { rejected } => {
                    return self.ended(
                        count - rejected.min(count),
                        rejected.min(count),
                        "rejected",
                    );
                }
                Sent::Refused { error_type } => return self.ended(0, count, error_type),
                Sent::Retry { after, error_type } => {
                    let pause = jitter(after.unwrap_or(backoff));
                    backoff = (backoff * 2).min(LONGEST_BACKOFF);
                    if Instant::now() + pause >= give_up || !self.pause(pause) {
                        return self.ended(0, count, error_type);
                    }
                }
            }
        }
    }

    /// Waits between attempts; at shutdown only as long as the deadline lets it. False: no time for another attempt.
    fn pause(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let limit = state.deadline.map_or(end, |deadline| deadline.min(end));
            if now >= limit {
                return limit == end;
            }
            state = self.wait(state, limit - now);
        }
    }

    fn ended(&self, accepted: u64, lost: u64, error_type: &'static str) {
        counter!(self.names.exported, "error_type" => "").increment(accepted);
        if lost > 0 {
            counter!(self.names.exported, "error_type" => error_type).increment(lost);
            self.lock().lost += lost;
        }
    }
}

/// Spreads retries of many processes: 80 to 120 % of the time, from the clock's low bits.
fn jitter(time: Duration) -> Duration {
    let nanos = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |now| now.subsec_nanos());
    time.mul_f64(0.8 + f64::from(nanos % 1000) / 2500.0)
}

#[cfg(test)]
mod late;

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn settings(max_queue: usize, timeout: Duration) -> Batch {
        Batch {
            delay: Duration::from_secs(3600),
            max_queue,
            max_batch: 2.min(max_queue),
            timeout,
        }
    }

    #[test]
    fn a_full_queue_drops_and_a_flush_sends_the_rest() {
        let (sent, received) = mpsc::channel();
        let (release, gate) = mpsc::channel::<()>();
        let pipeline = Pipeline::start(
            settings(2, Duration::from_secs(9)),
            SPANS,
            move |batch: &[u8]| {
                sent.send(batch.to_vec()).unwrap();
                let _ = gate.recv();
                Sent::Accepted { rejected: 0 }
            },
        )
        .unwrap();
        pipeline.push(1);
        pipeline.push(2);
        assert_eq!(received.recv().unwrap(), [1, 2]);
        for item in 3..=5 {
            pipeline.push(item);
        }
        assert_eq!(
            pipeline.pending(),
            4,
            "two in flight, two queued, one dropped"
        );
        drop(release);
        assert!(pipeline.flush(Duration::from_secs(20)));
        assert_eq!(received.recv().unwrap(), [3, 4]);
        assert_eq!(pipeline.shutdown(Duration::from_secs(20)), 1);
    }

    #[test]
    fn a_failure_is_retried_and_a_refusal_is_not() {
        let mut answers = vec![
            Sent::Refused { error_type: "http" },
            Sent::Accepted { rejected: 1 },
            Sent::Retry {
                after: Some(Duration::from_millis(1)),
                error_type: "connection",
            },
        ];
        let pipeline = Pipeline::start(
            settings(2, Duration::from_secs(9)),
            SPANS,
            move |_: &[u8]| answers.pop().unwrap(),
        )
        .unwrap();
        pipeline.push(1);
        pipeline.push(2);
        assert!(pipeline.flush(Duration::from_secs(20)));
        pipeline.push(3);
        assert!(pipeline.flush(Duration::from_secs(20)));
        assert_eq!(
            pipeline.shutdown(Duration::from_secs(20)),
            2,
            "one rejected, one refused"
        );
    }

    #[test]
    fn shutdown_with_a_dead_backend_keeps_its_deadline_and_counts() {
        let pipeline = Pipeline::start(
            settings(10, Duration::from_secs(3600)),
            SPANS,
            |_: &[u8]| Sent::Retry {
                after: Some(Duration::from_secs(3600)),
                error_type: "connection",
            },
        )
        .unwrap();
        for item in 0..5 {
            pipeline.push(item);
        }
        assert_eq!(pipeline.shutdown(Duration::from_millis(50)), 5);
    }
}

//! Beside a histogram sample: the exemplar that leads from it to a trace.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use metrics::Key;
use opentelemetry::trace::TraceContextExt;
use tracing::Span;

use crate::{Metric, names, spans};

crate::label! {
    /// How an operation ended; the `outcome` label.
    pub enum Outcome {
        /// Success, and every 4xx: the caller's mistake is not ours.
        Ok = "ok",
        /// 5xx, error, panic, time-out.
        Error = "error",
        /// The caller went away first.
        Cancelled = "cancelled",
    }
}

/// Known methods by name; anything else is `_OTHER`, so that a caller cannot create series.
pub(crate) fn method_name(method: &str) -> &'static str {
    const KNOWN: [&str; 9] = [
        "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE",
    ];
    KNOWN
        .into_iter()
        .find(|known| *known == method)
        .unwrap_or("_OTHER")
}

/// A trace that stands for a bucket.
#[derive(Debug, Clone)]
pub(crate) struct Exemplar {
    pub(crate) trace_id: String,
    pub(crate) span_id: String,
    pub(crate) value: f64,
    pub(crate) time: SystemTime,
}

#[derive(Debug)]
struct Slot {
    exemplar: Exemplar,
    replaceable_at: Instant,
}

/// The exemplars of a series: one slot per bucket; the last one is `+Inf`.
#[derive(Debug)]
pub(crate) struct Slots {
    /// How long an exemplar stays in its slot.
    interval: Duration,
    taken: Mutex<Vec<Option<Slot>>>,
}

impl Slots {
    fn lock(&self) -> MutexGuard<'_, Vec<Option<Slot>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For the scrape, by name and labels.
static TABLE: LazyLock<Mutex<HashMap<String, Arc<Slots>>>> = LazyLock::new(Mutex::default);
static INTERVAL: OnceLock<Option<Duration>> = OnceLock::new();

/// Sets how long an exemplar stays before another may take its place; `None`: there are none. The first call wins.
pub(crate) fn configure(interval: Option<Duration>) {
    let _ = INTERVAL.set(interval);
}

fn table() -> MutexGuard<'static, HashMap<String, Arc<Slots>>> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The slots of a series; `None` without exemplars.
pub(crate) fn slots(metric: &Metric, series: &Key) -> Option<Arc<Slots>> {
    let interval = INTERVAL.get().copied().flatten()?;
    let labels = series.labels().map(|label| (label.key(), label.value()));
    let key = series_key(metric.name, labels);
    let mut table = table();
    let slots = table.entry(key).or_insert_with(|| {
        let slots = (0..=metric.buckets.len()).map(|_| None);
        Arc::new(Slots {
            interval,
            taken: Mutex::new(slots.collect()),
        })
    });
    Some(Arc::clone(slots))
}

/// When `span` is sampled and the slot of `elapsed`'s bucket is free, makes it the bucket's exemplar.
///
/// The span is marked then, before it ends, so that tail sampling keeps the trace and the link is never dead.
pub(crate) fn offer(slots: &Slots, buckets: &[f64], elapsed: Duration, span: &Span) {
    let seconds = elapsed.as_secs_f64();
    let bucket = buckets.partition_point(|bound| *bound < seconds);
    let now = Instant::now();
    let free = |slots: &[Option<Slot>]| {
        let taken = slots[bucket].as_ref();
        taken.is_none_or(|slot| now >= slot.replaceable_at)
    };
    if !free(&slots.lock()) {
        return;
    }
    let context = spans::context(span);
    let (trace_id, span_id) = match context.span().span_context() {
        sampled if sampled.is_sampled() => (
            sampled.trace_id().to_string(),
            sampled.span_id().to_string(),
        ),
        _ => return,
    };
    let exemplar = Exemplar {
        trace_id,
        span_id,
        value: seconds,
        time: SystemTime::now(),
    };
    let mut taken = slots.lock();
    if free(&taken) {
        taken[bucket] = Some(Slot {
            exemplar,
            replaceable_at: now + slots.interval,
        });
        drop(taken);
        spans::mark(span, "omnitrace.exemplar");
    }
}

/// The exemplar of a series' bucket with the upper bound `le`.
pub(crate) fn exemplar(key: &str, buckets: &[f64], le: &str) -> Option<Exemplar> {
    let bucket = if le == "+Inf" {
        buckets.len()
    } else {
        buckets.iter().position(|bound| le.parse() == Ok(*bound))?
    };
    let slots = Arc::clone(table().get(key)?);
    let slots = slots.lock();
    slots
        .get(bucket)?
        .as_ref()
        .map(|slot| slot.exemplar.clone())
}

/// Name and labels in one canonical string.
pub(crate) fn series_key<'a>(
    metric: &str,
    labels: impl Iterator<Item = (&'a str, &'a str)>,
) -> String {
    let mut labels: Vec<_> = labels
        .filter(|(name, _)| !names::GLOBAL_LABELS.contains(name))
        .collect();
    labels.sort_unstable();
    let mut key = metric.to_owned();
    for (name, value) in labels {
        for part in ["\u{1e}", name, "\u{1f}", value] {
            key.push_str(part);
        }
    }
    key
}

//! Beside a histogram sample: the exemplar that leads from it to a trace.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
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

/// Known methods by name; anything else is `_OTHER`, so that a caller cannot make series.
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

struct Slot {
    exemplar: Exemplar,
    replaceable_at: Instant,
}

/// Per series (name and labels), one slot a bucket; the last is `+Inf`.
static TABLE: LazyLock<Mutex<HashMap<String, Vec<Option<Slot>>>>> = LazyLock::new(Mutex::default);
static INTERVAL: OnceLock<Option<Duration>> = OnceLock::new();

/// Sets how long an exemplar stays before another may take its place; `None`: there are none. The first call wins.
pub(crate) fn configure(interval: Option<Duration>) {
    let _ = INTERVAL.set(interval);
}

fn table() -> MutexGuard<'static, HashMap<String, Vec<Option<Slot>>>> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// When `span` is sampled and the slot of `elapsed`'s bucket is free, makes it the bucket's exemplar.
///
/// The span is marked then, before it ends, so that tail sampling keeps the trace and the link is never dead.
pub(crate) fn offer(metric: &Metric, series: &Key, elapsed: Duration, span: &Span) {
    let Some(interval) = INTERVAL.get().copied().flatten() else {
        return;
    };
    let seconds = elapsed.as_secs_f64();
    let labels = series.labels().map(|label| (label.key(), label.value()));
    let key = series_key(metric.name, labels);
    let bucket = metric.buckets.partition_point(|bound| *bound < seconds);
    let now = Instant::now();
    let free = |slots: &Vec<Option<Slot>>| {
        slots[bucket]
            .as_ref()
            .is_none_or(|slot| now >= slot.replaceable_at)
    };
    if table().get(&key).is_some_and(|slots| !free(slots)) {
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
    let mut table = table();
    let slots = table
        .entry(key)
        .or_insert_with(|| (0..=metric.buckets.len()).map(|_| None).collect());
    if free(slots) {
        slots[bucket] = Some(Slot {
            exemplar,
            replaceable_at: now + interval,
        });
        drop(table);
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
    table()
        .get(key)?
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

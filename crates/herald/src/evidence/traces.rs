//! The worst traces, from exemplars and from Jaeger's search.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use telemetry::names::http_server::HTTP_SERVER_DURATION;

use super::answer::{excerpt, head};
use super::backend::Backend;
use super::dependencies::Kind;
use super::prometheus::{Exemplar, Prometheus, literal};
use super::store::Weigh;
use super::{Part, Window, jaeger};

/// How many are shown.
const SHOWN: usize = 5;

/// How many traces of each kind Jaeger searches for, and how many come from exemplars.
pub(super) const SEARCHED: usize = 10;

/// How long spans may take to arrive: services send them in batches (every 5 s by default), and so does a collector.
const SETTLES_S: i64 = 10;

/// The duration from which Jaeger's search treats a trace as slow.
const SLOW: &str = "250ms";

/// One trace.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Trace {
    pub(crate) trace_id: String,
    /// `GET /api/data`.
    pub(crate) operation: String,
    pub(crate) duration_s: f64,
    pub(crate) error: bool,
    /// `downstream GET /quotes/{sku}: 503`, the deepest span with an error.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) failed_at: String,
    /// That span.
    #[serde(skip)]
    pub(crate) failed: Option<FailedSpan>,
    /// Jaeger has the trace; of other traces only an exemplar is known.
    pub(crate) in_jaeger: bool,
}

/// A span with an error.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct FailedSpan {
    pub(crate) service: String,
    /// What it called, if it is a call: the service or the database.
    pub(crate) called: Option<(Kind, String)>,
    pub(crate) error_type: String,
}

impl Weigh for Trace {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.trace_id.len() + self.operation.len() + self.failed_at.len()
    }
}

/// The traces that exemplars name.
pub(super) async fn exemplars(
    prometheus: &Prometheus,
    service: Option<&str>,
    window: Window,
) -> Part<Vec<Trace>> {
    let of = service.map_or_else(String::new, |service| {
        format!("{{service_name={}}}", literal(service))
    });
    let query = format!("{}_bucket{of}", HTTP_SERVER_DURATION.name());
    let range = (window.start, window.end);
    let mut part = Part::default();
    part.value = part.take(prometheus.exemplars(&query, range, worst_exemplars).await);
    part
}

/// The candidates for the worst traces.
fn worst_exemplars(mut exemplars: Vec<Exemplar<'_>>) -> Vec<Trace> {
    let failed = |exemplar: &Exemplar<'_>| exemplar.series.label("outcome") == "error";
    exemplars.sort_by(|a, b| failed(b).cmp(&failed(a)).then(b.value.total_cmp(&a.value)));
    // Several series name the same trace.
    let mut seen = HashSet::new();
    exemplars.retain(|exemplar| seen.insert(exemplar.trace_id));
    exemplars
        .iter()
        .filter_map(from_exemplar)
        .take(SEARCHED)
        .collect()
}

fn from_exemplar(exemplar: &Exemplar<'_>) -> Option<Trace> {
    let label = |name: &str| exemplar.series.label(name);
    let operation = format!(
        "{} {}",
        label("http_request_method"),
        head(label("http_route"))
    );
    Some(Trace {
        trace_id: trace_id(exemplar.trace_id)?,
        operation: excerpt(&operation, 100),
        duration_s: exemplar.value,
        error: label("outcome") == "error",
        ..Trace::default()
    })
}

/// The traces that Jaeger finds: those with errors, and slow ones.
pub(super) async fn search(
    jaeger: &Backend,
    service: Option<&str>,
    window: Window,
) -> Part<Vec<Trace>> {
    let Some(service) = service else {
        return Part::default();
    };
    let (failed, slow) = futures_util::join!(
        newest(jaeger, service, window, ("tags", r#"{"error":"true"}"#)),
        newest(jaeger, service, window, ("minDuration", SLOW))
    );
    let mut part = Part::default();
    part.value = part.take(failed);
    let slow: Vec<Trace> = part.take(slow);
    part.value.extend(slow);
    part
}

/// The newest complete traces; if there is none yet, the incomplete ones.
async fn newest(
    jaeger: &Backend,
    service: &str,
    window: Window,
    filter: (&'static str, &str),
) -> Result<Vec<Trace>, String> {
    let settled = window.end - TimeDelta::seconds(SETTLES_S);
    let ask = async |start: DateTime<Utc>, end: DateTime<Utc>| {
        let parameters = [
            ("service", service.to_owned()),
            ("start", start.timestamp_micros().to_string()),
            ("end", end.timestamp_micros().to_string()),
            ("limit", SEARCHED.to_string()),
            (filter.0, filter.1.to_owned()),
        ];
        jaeger.ask("/api/traces", &parameters, jaeger::read).await
    };
    match ask(window.start, settled).await {
        Ok(none) if none.is_empty() => ask(settled, window.end).await,
        found => found,
    }
}

/// Reads the traces that are shown by their id. The console keeps what was read so while it pushes out other traces, and a person may follow
/// the link a while later. Nothing is missing if this fails.
pub(super) async fn keep(jaeger: &Backend, traces: &[Trace]) {
    let ids = traces
        .iter()
        .map(|trace| ("traceID", trace.trace_id.clone()));
    let ids: Vec<_> = ids.collect();
    if !ids.is_empty() {
        jaeger.ask("/api/traces", &ids, |_| Ok(())).await.ok();
    }
}

/// 32 hexadecimal digits; Jaeger omits leading zeros.
pub(super) fn trace_id(text: &str) -> Option<String> {
    let digits =
        (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| format!("{text:0>32}"))
}

/// Each trace once: failed before slow ones, those in Jaeger before those known only from an exemplar, the longest first.
pub(crate) fn worst(from_exemplars: Vec<Trace>, from_jaeger: Vec<Trace>) -> Vec<Trace> {
    let mut each: BTreeMap<String, Trace> = BTreeMap::new();
    for trace in from_exemplars.into_iter().chain(from_jaeger) {
        each.insert(trace.trace_id.clone(), trace);
    }
    let mut traces: Vec<Trace> = each.into_values().collect();
    traces.sort_by(|a, b| {
        (b.error, b.in_jaeger)
            .cmp(&(a.error, a.in_jaeger))
            .then(b.duration_s.total_cmp(&a.duration_s))
    });
    traces.truncate(SHOWN);
    traces
}

#[cfg(test)]
mod tests {
    use super::super::prometheus::tests::series;
    use super::*;

    #[test]
    fn of_many_exemplars_the_worst_are_kept_each_trace_once() {
        let (good, bad) = (
            series(&[("outcome", "success")]),
            series(&[("outcome", "error")]),
        );
        let ids: Vec<String> = (0..50_000).map(|id| format!("{:x}", id + 1)).collect();
        let exemplar = |(index, id): (usize, &'_ String)| (index % 25_000, id.clone());
        let values: Vec<(usize, String)> = ids.iter().enumerate().map(exemplar).collect();
        let exemplars = values
            .iter()
            .enumerate()
            .map(|(index, (value, id))| Exemplar {
                series: if index == 7 { &bad } else { &good },
                trace_id: id,
                value: *value as f64,
            });
        let twice: Vec<Exemplar<'_>> = exemplars.clone().chain(exemplars).collect();
        let worst = worst_exemplars(twice);
        let shown: Vec<_> = worst
            .iter()
            .take(3)
            .map(|trace| (trace.error, trace.duration_s))
            .collect();
        assert_eq!(shown, [(true, 7.0), (false, 24_999.0), (false, 24_999.0)]);
        assert_eq!(worst.len(), SEARCHED);
    }

    #[test]
    fn errors_come_first_and_each_trace_once() {
        let trace = |id: &str, error, duration_s, in_jaeger| Trace {
            trace_id: id.to_owned(),
            error,
            duration_s,
            in_jaeger,
            ..Trace::default()
        };
        let exemplars = vec![trace("a", true, 0.1, false), trace("b", false, 9.0, false)];
        let found = vec![
            trace("a", true, 0.1, true),
            trace("c", true, 0.2, true),
            trace("d", false, 1.0, true),
        ];
        let order: Vec<String> = worst(exemplars, found)
            .into_iter()
            .map(|trace| trace.trace_id)
            .collect();
        assert_eq!(order, ["c", "a", "d", "b"]);
        assert_eq!(trace_id("not a trace id"), None);
    }
}

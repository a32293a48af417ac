//! The console's own state: `/api/stats`, `/metrics`, `/ready`, `/live`.

use std::fmt::{Display, Write};

use actix_web::{HttpResponse, web};
use serde_json::{Map, Value, json};
use telemetry::metric::{Declared, Labels};

use crate::budget::Budget;
use crate::counters::{Counters, Counts, Notifications};
use crate::metadata::Metadata;
use crate::metrics::{
    ALERTS_DROPPED, DROPPED_LOGS, DROPPED_SAMPLES, DROPPED_SPANS, EVICTED_LOGS, EVICTED_SAMPLES,
    EVICTED_TRACES, LOGS, NOTIFICATIONS_FAILED, NOTIFICATIONS_SENT, OUT_OF_ORDER_SAMPLES, Path,
    REJECTED, REQUESTS, RULE_DURATION, RULE_EVALUATIONS, RULE_FAILURES, RULE_INTERVAL,
    RULE_ITERATIONS, RULE_ITERATIONS_MISSED, RULE_LAST, Reason, Receiver, RuleGroup,
    SKIPPED_SCRAPES, SPANS, STORE, STORE_LIMIT, Status, TRACES, UNDER_WAY,
};
use crate::otlp::Signal;
use crate::rules::{GroupReport, Reports};
use crate::series::SeriesStore;
use crate::store::{Stats, Store};

/// The sources of the numbers.
#[derive(Debug, Clone)]
pub(crate) struct Sources {
    /// Traces and logs.
    pub store: Store,
    /// Metrics.
    pub series: SeriesStore,
    /// The metadata of metrics.
    pub metadata: Metadata,
    /// Requests and refusals.
    pub counters: Counters,
    /// The results of the rules.
    pub reports: Reports,
    /// The memory of requests.
    pub budget: Budget,
    /// The whole budget.
    pub limit_bytes: u64,
}

impl Sources {
    /// The size of all stored data.
    fn bytes(&self, stats: &Stats) -> u64 {
        stats.bytes + self.series.bytes() + self.metadata.bytes()
    }
}

/// Adds the routes.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config
        .route("/api/stats", web::get().to(stats))
        .route("/metrics", web::get().to(metrics))
        .route("/ready", web::get().to(fine))
        .route("/live", web::get().to(fine));
}

/// The console has no dependencies: it is ready once it listens.
async fn fine() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "ok"}))
}

async fn stats(sources: web::Data<Sources>) -> HttpResponse {
    let stats = sources.store.stats();
    let lost = sources.series.lost();
    let counts = sources.counters.snapshot();
    let mut requests = Map::new();
    for ((route, status), count) in &counts.requests {
        let statuses = requests.entry(route.clone()).or_insert_with(|| json!({}));
        statuses[status] = json!(count);
    }
    HttpResponse::Ok().json(json!({
        "traces": stats.traces,
        "spans": stats.spans,
        "logs": stats.logs,
        "bytes": sources.bytes(&stats),
        "under_way_bytes": sources.budget.under_way(),
        "limit_bytes": sources.limit_bytes,
        "evicted_traces": stats.evicted_traces,
        "evicted_logs": stats.evicted_logs,
        "dropped_spans": stats.dropped_spans,
        "dropped_logs": stats.dropped_logs,
        "dropped_samples": lost.no_room,
        "out_of_order_samples": lost.out_of_order,
        "evicted_samples": lost.evicted,
        "rejected_spans": rejected(&counts, Signal::Traces),
        "rejected_logs": rejected(&counts, Signal::Logs),
        "rejected_data_points": rejected(&counts, Signal::Metrics),
        "skipped_scrapes": counts.skipped_scrapes,
        "requests": Value::Object(requests),
    }))
}

fn rejected(counts: &Counts, signal: Signal) -> u64 {
    let of_signal = counts
        .rejected
        .iter()
        .filter(|((known, _), _)| *known == signal);
    of_signal.map(|(_, count)| count).sum()
}

async fn metrics(sources: web::Data<Sources>) -> HttpResponse {
    let mut page = String::new();
    write_store(&mut page, &sources.store.stats(), &sources);
    let counts = sources.counters.snapshot();
    write_counts(&mut page, &counts);
    write_rules(&mut page, &sources.reports);
    write_notifications(&mut page, &counts);
    HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(page)
}

fn write_store(page: &mut String, stats: &Stats, sources: &Sources) {
    let series = &sources.series;
    single(page, &STORE, sources.bytes(stats));
    single(page, &UNDER_WAY, sources.budget.under_way());
    single(page, &STORE_LIMIT, sources.limit_bytes);
    single(page, &TRACES, stats.traces);
    single(page, &SPANS, stats.spans);
    single(page, &LOGS, stats.logs);
    single(page, &EVICTED_TRACES, stats.evicted_traces);
    single(page, &EVICTED_LOGS, stats.evicted_logs);
    single(page, &DROPPED_SPANS, stats.dropped_spans);
    single(page, &DROPPED_LOGS, stats.dropped_logs);
    let lost = series.lost();
    single(page, &DROPPED_SAMPLES, lost.no_room);
    single(page, &OUT_OF_ORDER_SAMPLES, lost.out_of_order);
    single(page, &EVICTED_SAMPLES, lost.evicted);
}

fn write_counts(page: &mut String, counts: &Counts) {
    let rejected = counts.rejected.iter();
    let rejected = rejected.map(|((signal, reason), count)| ((*signal, Reason(reason)), *count));
    family(page, &REJECTED, rejected);
    single(page, &SKIPPED_SCRAPES, counts.skipped_scrapes);
    let requests = counts.requests.iter().map(|((path, status), count)| {
        let labels = (Path(path.clone()), Status(status.clone()));
        (labels, *count)
    });
    family(page, &REQUESTS, requests);
}

fn write_rules(page: &mut String, reports: &Reports) {
    let reports = reports.all();
    let each = |of: fn(&GroupReport) -> f64| {
        let groups = reports.iter();
        groups.map(move |group| (RuleGroup(group.name().to_owned()), of(group)))
    };
    let counts = [
        (
            &RULE_EVALUATIONS,
            each(|group| group.counts.evaluations as f64),
        ),
        (&RULE_FAILURES, each(|group| group.counts.failures as f64)),
        (
            &RULE_ITERATIONS,
            each(|group| group.counts.iterations as f64),
        ),
        (
            &RULE_ITERATIONS_MISSED,
            each(|group| group.counts.missed as f64),
        ),
    ];
    for (metric, values) in counts {
        family(page, metric, values);
    }
    let seconds = each(|group| group.interval().as_secs_f64());
    family(page, &RULE_INTERVAL, seconds);
    let seconds = each(|group| group.took.as_secs_f64());
    family(page, &RULE_DURATION, seconds);
    let last = each(|group| group.at_ms.unwrap_or_default() as f64 / 1e3);
    family(page, &RULE_LAST, last);
}

fn write_notifications(page: &mut String, counts: &Counts) {
    let each = |of: fn(&Notifications) -> u64| {
        let receivers = counts.notifications.iter();
        receivers.map(move |(name, counts)| (Receiver(name.clone()), of(counts)))
    };
    family(page, &NOTIFICATIONS_SENT, each(|counts| counts.sent));
    family(page, &NOTIFICATIONS_FAILED, each(|counts| counts.failed));
    single(page, &ALERTS_DROPPED, counts.dropped_alerts);
}

fn single<I>(page: &mut String, metric: &Declared<I, ()>, value: u64) {
    family(page, metric, [((), value)].into_iter());
}

// Writing to a string cannot fail.
fn family<I, L: Labels>(
    page: &mut String,
    metric: &Declared<I, L>,
    series: impl Iterator<Item = (L, impl Display)>,
) {
    let metric = metric.metric();
    let (name, kind) = (metric.name, metric.kind.as_str());
    let _ = writeln!(page, "# HELP {name} {}\n# TYPE {name} {kind}", metric.help);
    for (labels, value) in series {
        let pairs = metric.labels.iter().zip(labels.values());
        let labels: Vec<_> = pairs
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(&value)))
            .collect();
        let _ = match labels.as_slice() {
            [] => writeln!(page, "{name} {value}"),
            labels => writeln!(page, "{name}{{{}}} {value}", labels.join(",")),
        };
    }
}

/// The name of a group of rules is any text.
fn escaped(value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    value.replace('\n', "\\n")
}

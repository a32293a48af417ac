//! What the console says about itself: `/api/stats`, `/metrics`, `/ready`, `/live`.

use std::fmt::Write;

use actix_web::{HttpResponse, web};
use serde_json::{Map, Value, json};

use crate::budget::Budget;
use crate::counters::{Counters, Counts};
use crate::otlp::Signal;
use crate::series::SeriesStore;
use crate::store::{Stats, Store};

/// What the numbers come from.
#[derive(Debug, Clone)]
pub(crate) struct Sources {
    /// Traces and logs.
    pub store: Store,
    /// Metrics.
    pub series: SeriesStore,
    /// Requests and refusals.
    pub counters: Counters,
    /// What requests use.
    pub budget: Budget,
    /// The whole budget.
    pub limit_bytes: u64,
}

/// Adds the routes.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config
        .route("/api/stats", web::get().to(stats))
        .route("/metrics", web::get().to(metrics))
        .route("/ready", web::get().to(fine))
        .route("/live", web::get().to(fine));
}

/// It has no dependencies: once it listens it is ready.
async fn fine() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "ok"}))
}

async fn stats(sources: web::Data<Sources>) -> HttpResponse {
    let stats = sources.store.stats();
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
        "bytes": stats.bytes + sources.series.bytes(),
        "under_way_bytes": sources.budget.under_way(),
        "limit_bytes": sources.limit_bytes,
        "evicted_traces": stats.evicted_traces,
        "evicted_logs": stats.evicted_logs,
        "dropped_spans": stats.dropped_spans,
        "dropped_logs": stats.dropped_logs,
        "dropped_samples": sources.series.dropped(),
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
    let counts = sources.counters.snapshot();
    let mut page = String::new();
    write_store(&mut page, &sources.store.stats(), &sources);
    family(
        &mut page,
        "console_rejected_items_total",
        "counter",
        "Items of OTLP requests that were not taken.",
    );
    for ((signal, reason), count) in &counts.rejected {
        let signal = signal.as_str();
        let _ = writeln!(
            page,
            "console_rejected_items_total{{signal=\"{signal}\",reason=\"{reason}\"}} {count}"
        );
    }
    let name = "console_skipped_scrapes_total";
    let help = "Scrapes whose page found no room. What was known of the target stays.";
    family(&mut page, name, "counter", help);
    let _ = writeln!(page, "{name} {}", counts.skipped_scrapes);
    family(
        &mut page,
        "console_requests_total",
        "counter",
        "HTTP requests by route and status.",
    );
    for ((path, status), count) in &counts.requests {
        let _ = writeln!(
            page,
            "console_requests_total{{path=\"{path}\",status=\"{status}\"}} {count}"
        );
    }
    HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(page)
}

fn write_store(page: &mut String, stats: &Stats, sources: &Sources) {
    let rows = [
        (
            "console_store_bytes",
            "gauge",
            "Estimated bytes of traces, logs and metrics held.",
            stats.bytes + sources.series.bytes(),
        ),
        (
            "console_under_way_bytes",
            "gauge",
            "Bytes of bodies and answers under way.",
            sources.budget.under_way(),
        ),
        (
            "console_store_limit_bytes",
            "gauge",
            "Budget for what is held and what is under way.",
            sources.limit_bytes,
        ),
        ("console_traces", "gauge", "Traces held.", stats.traces),
        ("console_spans", "gauge", "Spans held.", stats.spans),
        ("console_logs", "gauge", "Log records held.", stats.logs),
        (
            "console_evicted_traces_total",
            "counter",
            "Traces that made room for newer ones.",
            stats.evicted_traces,
        ),
        (
            "console_evicted_logs_total",
            "counter",
            "Log records without a trace that made room for newer items.",
            stats.evicted_logs,
        ),
        (
            "console_dropped_spans_total",
            "counter",
            "Spans that did not fit into their trace.",
            stats.dropped_spans,
        ),
        (
            "console_dropped_logs_total",
            "counter",
            "Log records that did not fit into their trace.",
            stats.dropped_logs,
        ),
        (
            "console_dropped_samples_total",
            "counter",
            "Samples of series that found no room.",
            sources.series.dropped(),
        ),
    ];
    for (name, kind, help, value) in rows {
        family(page, name, kind, help);
        let _ = writeln!(page, "{name} {value}");
    }
}

// Writing to a string cannot fail.
fn family(page: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

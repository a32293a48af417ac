//! The report for people who read text.

use std::fmt::Write;

use telemetry::redact::plain;

use crate::summary::{Quantiles, Summary};

/// The whole report.
pub fn markdown(summary: &Summary) -> String {
    let mut out = String::new();
    let load = &summary.load;
    let _ = writeln!(
        out,
        "# Load test of {}\n\n{} users, profile {}, pauses {} to {} ms, {:.0} s, loadtest {}.\n",
        cell(&summary.target),
        load.users,
        load.profile,
        load.think_min_ms,
        load.think_max_ms,
        summary.duration_seconds,
        cell(&summary.version),
    );
    let _ = writeln!(
        out,
        "{} requests ({:.1}/s), {} failed ({:.3} %). Times corrected for coordinated omission ({} requests back-filled), raw in parentheses.\n",
        summary.requests,
        summary.requests_per_second,
        summary.failed,
        summary.error_share * 100.0,
        summary.backfilled,
    );
    thresholds(&mut out, summary);
    routes(&mut out, summary);
    failures(&mut out, summary);
    if !summary.spans_delivered {
        out.push_str("\nSpans were lost: some traces lack their root. OTEL_EXPORTER_OTLP_ENDPOINT says where they go.\n");
    }
    out
}

fn thresholds(out: &mut String, summary: &Summary) {
    out.push_str("| Threshold | Limit | Measured | |\n|---|---:|---:|---|\n");
    for verdict in &summary.thresholds {
        let held = if verdict.held { "held" } else { "**not held**" };
        let _ = writeln!(
            out,
            "| {} | {} | {:.4} | {held} |",
            verdict.name, verdict.limit, verdict.measured
        );
    }
}

fn routes(out: &mut String, summary: &Summary) {
    out.push_str("\n| Method | Route | Requests | Failed | p50 ms | p95 ms | p99 ms | max ms |\n|---|---|---:|---:|---:|---:|---:|---:|\n");
    for route in &summary.routes {
        let pair = |of: fn(&Quantiles) -> f64| {
            format!(
                "{:.1} ({:.1})",
                of(&route.times.corrected),
                of(&route.times.raw)
            )
        };
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {:.1} |",
            cell(&route.method),
            cell(&route.route),
            route.requests,
            route.failed,
            pair(|times| times.p50_ms),
            pair(|times| times.p95_ms),
            pair(|times| times.p99_ms),
            route.times.raw.max_ms,
        );
    }
}

fn failures(out: &mut String, summary: &Summary) {
    if summary.failures.is_empty() {
        return;
    }
    out.push_str("\n| Method | Route | Reason | Times |\n|---|---|---|---:|\n");
    for failure in &summary.failures {
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} |",
            cell(&failure.method),
            cell(&failure.route),
            cell(&failure.reason),
            failure.count
        );
    }
}

/// Text that stays in its cell and is nothing but text.
fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            '|' | '`' | '*' | '[' | ']' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if plain::is_hidden(c) => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

//! The report as one page that stands alone: no script, no style sheet, no picture from elsewhere.

use std::fmt::Write;

use telemetry::redact::plain::html as escape;

use super::chart::chart;
use crate::summary::{Quantiles, Summary};

// The browser is told as well: even a mistake in escaping could load nothing.
const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
<meta name=\"viewport\" content=\"width=device-width\"><title>Load test</title><style>\
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2733;background:#fff}\
table{border-collapse:collapse;width:100%;margin:1rem 0}th,td{text-align:right;padding:.3rem .6rem;border-bottom:1px solid #dde3ea}\
.t{text-align:left;overflow-wrap:anywhere}.no{color:#b3261e;font-weight:600}.yes{color:#1a7f37}small{color:#5b6875}\
figure{margin:1rem 0}svg{width:100%;height:auto;background:#f6f8fa}figure p{margin:0}\
@media(prefers-color-scheme:dark){body{background:#11161c;color:#dde3ea}svg{background:#1a222b}th,td{border-color:#2b3641}}\
</style></head><body>";

/// The whole page.
pub fn html(summary: &Summary) -> String {
    let mut out = HEAD.to_owned();
    let load = &summary.load;
    let _ = write!(
        out,
        "<h1>Load test of {}</h1><p>{} users, profile {}, pauses {} to {} ms, {:.0} s, loadtest {}.</p>\
         <p><b>{}</b> requests ({:.1}/s), <b>{}</b> failed ({:.3} %).</p>",
        escape(&summary.target),
        load.users,
        load.profile,
        load.think_min_ms,
        load.think_max_ms,
        summary.duration_seconds,
        escape(&summary.version),
        summary.requests,
        summary.requests_per_second,
        summary.failed,
        summary.error_share * 100.0,
    );
    if !summary.spans_delivered {
        out.push_str("<p class=no>Spans were lost: some traces lack their root.</p>");
    }
    thresholds(&mut out, summary);
    charts(&mut out, summary);
    routes(&mut out, summary);
    failures(&mut out, summary);
    counts(&mut out, summary);
    out.push_str("</body></html>\n");
    out
}

fn thresholds(out: &mut String, summary: &Summary) {
    out.push_str(
        "<h2>Thresholds</h2><table><tr><th class=t>Threshold<th>Limit<th>Measured<th></tr>",
    );
    for verdict in &summary.thresholds {
        let (class, word) = if verdict.held {
            ("yes", "held")
        } else {
            ("no", "not held")
        };
        let _ = write!(
            out,
            "<tr><td class=t>{}<td>{}<td>{:.4}<td class={class}>{word}</tr>",
            verdict.name, verdict.limit, verdict.measured
        );
    }
    out.push_str("</table>");
}

fn charts(out: &mut String, summary: &Summary) {
    let points = &summary.timeline;
    if points.len() < 2 {
        return;
    }
    out.push_str("<h2>Over time</h2>");
    out.push_str(&chart(
        "Users",
        "",
        points,
        &[("users", "#6f42c1", |point| point.users as f64)],
    ));
    out.push_str(&chart(
        "Requests",
        "a second",
        points,
        &[
            ("requests", "#0969da", |point| point.requests_per_second),
            ("failed", "#b3261e", |point| {
                point.requests_per_second * point.error_share
            }),
        ],
    ));
    out.push_str(&chart(
        "Time of a request, as sent",
        "ms",
        points,
        &[
            ("p50", "#1a7f37", |point| point.p50_ms),
            ("p95", "#bf8700", |point| point.p95_ms),
            ("p99", "#b3261e", |point| point.p99_ms),
        ],
    ));
}

fn routes(out: &mut String, summary: &Summary) {
    let _ = write!(
        out,
        "<h2>Routes</h2><p><small>Milliseconds, corrected for coordinated omission ({} requests back-filled); as sent in \
         parentheses.</small></p><table><tr><th class=t>Method<th class=t>Route<th>Requests<th>Failed<th>p50<th>p90<th>p95<th>p99<th>max</tr>",
        summary.backfilled
    );
    for route in &summary.routes {
        let pair = |of: fn(&Quantiles) -> f64| {
            format!(
                "<td>{:.1} <small>({:.1})</small>",
                of(&route.times.corrected),
                of(&route.times.raw)
            )
        };
        let _ = write!(
            out,
            "<tr><td class=t>{}<td class=t>{}<td>{}<td>{}{}{}{}{}<td>{:.1}</tr>",
            escape(&route.method),
            escape(&route.route),
            route.requests,
            route.failed,
            pair(|times| times.p50_ms),
            pair(|times| times.p90_ms),
            pair(|times| times.p95_ms),
            pair(|times| times.p99_ms),
            route.times.raw.max_ms,
        );
    }
    out.push_str("</table>");
}

fn failures(out: &mut String, summary: &Summary) {
    if summary.failures.is_empty() {
        return;
    }
    out.push_str("<h2>Failures</h2><table><tr><th class=t>Method<th class=t>Route<th class=t>Reason<th>Times</tr>");
    for failure in &summary.failures {
        let _ = write!(
            out,
            "<tr><td class=t>{}<td class=t>{}<td class=t>{}<td>{}</tr>",
            escape(&failure.method),
            escape(&failure.route),
            escape(&failure.reason),
            failure.count
        );
    }
    out.push_str("</table>");
}

fn counts(out: &mut String, summary: &Summary) {
    out.push_str(
        "<h2>Counts</h2><p><small>As sent, to be compared with http_server_request_duration_seconds_count of the gateway.\
         </small></p><table><tr><th class=t>Method<th class=t>Route<th>Status<th>Outcome<th>Requests</tr>",
    );
    for count in &summary.counts {
        let _ = write!(
            out,
            "<tr><td class=t>{}<td class=t>{}<td>{}<td>{}<td>{}</tr>",
            escape(count.series.method),
            escape(count.series.route),
            escape(&count.series.status),
            count.series.outcome,
            count.count
        );
    }
    out.push_str("</table>");
}

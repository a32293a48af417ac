//! The tables of docs/SCALE.md.

use std::collections::BTreeSet;

use serde::Serialize;

use super::prometheus::Scraped;
use super::series::Metrics;
use super::spans::Sample;
use crate::cost::report::number;
use crate::cost::spread::Spread;

/// The whole run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Cores and processor.
    pub machine: String,
    /// Load average over a minute before the start: others' work.
    pub load_before: f64,
    /// Counted spans of each measurement.
    pub spans_each_time: u64,
    /// Round by round.
    pub spans: Vec<Sample>,
    /// Of the whole stack.
    pub metrics: Metrics,
    /// Prometheus alone, by the number of services.
    pub scraped: Vec<Scraped>,
}

impl Report {
    /// Tables, medians first, with the lowest and the highest round.
    pub fn markdown(&self) -> String {
        let mut rows = vec![
            format!(
                "{}; load average {:.2} before. {} spans each time; `median (lowest..highest)` of the rounds.\n",
                self.machine, self.load_before, self.spans_each_time
            ),
            "| tiers | part | CPU per span sent, µs | spans sent per second and core | peak memory, MiB |\n|---|---|---|---|---|".to_owned(),
        ];
        for tiers in [1, 2] {
            let names: BTreeSet<_> = self
                .of(tiers)
                .flat_map(|sample| sample.cpu_us.keys())
                .collect();
            rows.extend(names.into_iter().map(|name| self.part(tiers, name)));
        }
        let stored = self
            .of(2)
            .map(|sample| sample.stored as f64 / sample.sent as f64 * 100.0);
        rows.push(format!(
            "\nJaeger's files: {} bytes per span. The second tier kept {} % of the spans; {} traces at most were seen to wait for their decision. Spans that came twice: {}.\n\n| series | |\n|---|---|",
            number(Spread::of(self.of(1).map(|sample| sample.bytes_per_span)), 0),
            number(Spread::of(stored), 1),
            number(Spread::of(self.of(2).map(|sample| sample.waiting_traces as f64)), 0),
            self.spans.iter().map(|sample| sample.repeated).sum::<u64>(),
        ));
        let metrics = &self.metrics;
        rows.extend(
            metrics
                .series
                .iter()
                .map(|(what, series)| format!("| {what} | {series} |")),
        );
        rows.push(format!(
            "| edges of the service graph | {} |",
            metrics.edges
        ));
        rows.push(format!("| all in Prometheus | {} |", metrics.head_series));
        rows.push(format!(
            "\n{:.0} samples/s. Per request ({:.0} requests): {:.1} spans, {:.1} log records with {:.0} bytes, {:.0} µs of the collector's CPU.\n\n| services | series | samples/s | CPU per sample, µs | cores | rules, s | memory, MiB |\n|---|---|---|---|---|---|---|",
            metrics.samples_per_second,
            metrics.requests,
            metrics.spans_per_request,
            metrics.log_records_per_request,
            metrics.log_bytes_per_request,
            metrics.collector_cpu_us_per_request,
        ));
        rows.extend(self.scraped.iter().map(Scraped::row));
        rows.join("\n")
    }

    fn of(&self, tiers: u32) -> impl Iterator<Item = &Sample> {
        self.spans
            .iter()
            .filter(move |sample| sample.tiers == tiers)
    }

    fn part(&self, tiers: u32, name: &str) -> String {
        let cpu = || self.of(tiers).map(|sample| sample.cpu_us[name]);
        let peak = self
            .of(tiers)
            .map(|sample| sample.peak_kib[name] as f64 / 1024.0);
        format!(
            "| {tiers} | {name} | {} | {} | {} |",
            number(Spread::of(cpu()), 1),
            number(Spread::of(cpu().map(|us| 1e6 / us)), 0),
            number(Spread::of(peak), 0)
        )
    }
}

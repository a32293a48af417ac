//! The numbers, as JSON and as the tables of docs/OVERHEAD.md.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::Result;
use serde::Serialize;

use super::sink::Received;
use super::spread::Spread;
use super::steps::STEPS;

/// What is asked for. Orders last: deliveries go on after the answers.
pub const ROUTES: [&str; 3] = ["/health", "/api/data", "/api/orders"];
/// CPU of all three services.
pub const ALL: &str = "services";
/// CPU of the sink or the console.
pub const BACKEND: &str = "backend";
const COLUMNS: [&str; 5] = ["gateway", "data", "downstream", ALL, BACKEND];

/// One measurement.
#[derive(Debug, Serialize)]
pub struct Sample {
    /// From 1.
    pub round: u32,
    /// Name of the step.
    pub step: &'static str,
    /// What was asked for.
    pub route: &'static str,
    /// `rate` or `saturation`.
    pub load: &'static str,
    /// Requests sent, and those that failed.
    pub requests: u64,
    /// Not answered with 2xx.
    pub failed: u64,
    /// Answered.
    pub requests_per_second: f64,
    /// Latency; of a rate from when a request was due.
    pub p50_ms: f64,
    /// The same.
    pub p99_ms: f64,
    /// CPU time per request by process.
    pub cpu_us: BTreeMap<&'static str, f64>,
    /// Allocations of all services per request, if they count them.
    pub allocations: Option<f64>,
    /// Bytes that these were for.
    pub allocated_bytes: Option<f64>,
}

/// What was seen of one run of a step, warm-up and everything, once the services had ended.
#[derive(Debug, Serialize)]
pub struct Export {
    /// From 1.
    pub round: u32,
    /// Name of the step.
    pub step: &'static str,
    /// By route.
    pub requests: BTreeMap<&'static str, u64>,
    /// Requests in the gateway's `/metrics`.
    pub counted: u64,
    /// What arrived at the sink.
    #[serde(flatten)]
    pub received: Received,
}

/// The whole run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Cores and processor.
    pub machine: String,
    /// Load average over a minute before the start: others' work.
    pub load_before: f64,
    /// How often.
    pub rounds: u32,
    /// Each time.
    pub seconds: u32,
    /// Connections at saturation.
    pub connections: u32,
    /// Requests/s in the open loop by route.
    pub rates: BTreeMap<&'static str, u32>,
    /// Every measurement.
    pub samples: Vec<Sample>,
    /// Every run of a step.
    pub exports: Vec<Export>,
}

impl Report {
    /// One object.
    pub fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)?)
    }

    /// Tables, medians first, with the lowest and the highest round.
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "{}; load average {:.2} before. {} rounds of {} s; saturation: {} connections. `median (lowest..highest)` of the rounds.\n",
            self.machine, self.load_before, self.rounds, self.seconds, self.connections
        );
        for route in ROUTES {
            let rate = self.rates[route];
            for load in ["rate", "saturation"] {
                let at = match load {
                    "rate" => format!("{rate} requests/s, open loop"),
                    _ => load.to_owned(),
                };
                let _ = write!(text, "\n### `{route}`, {at}\n\n{}", self.table(route, load));
            }
        }
        let _ = write!(
            text,
            "\n### What is seen of a request, in `/metrics` and at the sink\n\n{}",
            self.arrived()
        );
        text
    }

    fn table(&self, route: &str, load: &str) -> String {
        let mut text = "| | gateway µs | data µs | downstream µs | services µs | more than nothing, % | backend µs | p50 ms | p99 ms | requests/s | allocations | bytes | failed |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n".to_owned();
        for step in &STEPS {
            let of = |step: &'static str| {
                let fits = move |sample: &&Sample| {
                    (sample.step, sample.route, sample.load) == (step, route, load)
                };
                self.samples.iter().filter(fits)
            };
            let spread = |value: &dyn Fn(&Sample) -> f64| Spread::of(of(step.name).map(value));
            let cpu = COLUMNS.map(|name| number(spread(&|sample| sample.cpu_us[name]), 0));
            let more = of(step.name).flat_map(|sample| {
                let same_round = of(STEPS[0].name).find(|other| other.round == sample.round)?;
                Some((sample.cpu_us[ALL] / same_round.cpu_us[ALL] - 1.0) * 100.0)
            });
            let more = Spread::of(more).map_or("-".to_owned(), |more| format!("{more:+.0}"));
            let failed: u64 = of(step.name).map(|sample| sample.failed).sum();
            let [gateway, data, downstream, all, backend] = cpu;
            let _ = writeln!(
                text,
                "| {} | {gateway} | {data} | {downstream} | {all} | {more} | {backend} | {} | {} | {} | {} | {} | {failed} |",
                step.name,
                number(spread(&|sample| sample.p50_ms), 2),
                number(spread(&|sample| sample.p99_ms), 2),
                number(spread(&|sample| sample.requests_per_second), 0),
                number(
                    Spread::of(of(step.name).filter_map(|sample| sample.allocations)),
                    0
                ),
                number(
                    Spread::of(of(step.name).filter_map(|sample| sample.allocated_bytes)),
                    0
                ),
            );
        }
        text
    }

    fn arrived(&self) -> String {
        let mut text =
            "| | counted | spans | log records | bytes |\n|---|---|---|---|---|\n".to_owned();
        for step in &STEPS {
            let per_request = |value: fn(&Export) -> u64| {
                let of_step = self.exports.iter().filter(|run| run.step == step.name);
                let values = of_step.map(|run| {
                    let requests: u64 = run.requests.values().sum();
                    value(run) as f64 / requests as f64
                });
                number(Spread::of(values), 2)
            };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} |",
                step.name,
                per_request(|run| run.counted),
                per_request(|run| run.received.spans),
                per_request(|run| run.received.logs),
                per_request(|run| run.received.bytes)
            );
        }
        text
    }
}

/// A table's cell.
pub fn number(spread: Option<Spread>, digits: usize) -> String {
    spread.map_or("-".to_owned(), |spread| format!("{spread:.digits$}"))
}

/// Cores and processor, and the load average of the last minute.
pub fn machine() -> (String, f64) {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown processor", |name| {
        name.trim_matches([' ', '\t', ':'])
    });
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let average = read("/proc/loadavg");
    let average = average.split(' ').next().and_then(|text| text.parse().ok());
    (
        format!("{cores} cores, {model}"),
        average.unwrap_or(f64::NAN),
    )
}

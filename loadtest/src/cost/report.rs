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
    /// Requests sent.
    pub requests: u64,
    /// Not answered with 2xx, those of the warm-up included.
    pub failed: u64,
    /// Whether the services rested before and after. If not, their CPU time is in part that of other requests, or incomplete.
    pub rested: bool,
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
    /// Requests in the gateway's `/metrics`.
    pub counted: u64,
    /// What arrived at the sink.
    #[serde(flatten)]
    pub received: Received,
}

impl Sample {
    /// Whether its numbers are those of answered requests, and of nothing else.
    pub fn sound(&self) -> bool {
        self.failed == 0 && self.rested
    }
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
            let Some(rate) = self.rates.get(route) else {
                continue;
            };
            for load in ["rate", "saturation"] {
                let at = match load {
                    "rate" => format!("{rate} requests/s, open loop"),
                    _ => load.to_owned(),
                };
                let _ = write!(text, "\n### `{route}`, {at}\n\n{}", self.table(route, load));
            }
            let _ = write!(
                text,
                "\n### `{route}`, {rate} requests/s: what is seen of a request, in `/metrics` and at the sink\n\n{}",
                self.arrived(route)
            );
        }
        text
    }

    fn of(&self, step: &str, route: &str, load: &str) -> impl Iterator<Item = &Sample> {
        let fits =
            move |sample: &&Sample| (sample.step, sample.route, sample.load) == (step, route, load);
        self.samples.iter().filter(fits)
    }

    fn table(&self, route: &str, load: &str) -> String {
        let mut text = "| | gateway µs | data µs | downstream µs | services µs | more than nothing, % | backend µs | p50 ms | p99 ms | requests/s | allocations | bytes | faults |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n".to_owned();
        for step in &STEPS {
            let of = |step: &'static str| self.of(step, route, load);
            let spread = |value: &dyn Fn(&Sample) -> f64| Spread::of(of(step.name).map(value));
            let cpu = COLUMNS.map(|name| number(spread(&|sample| sample.cpu_us[name]), 0));
            let more = of(step.name).flat_map(|sample| {
                let same_round = of(STEPS[0].name).find(|other| other.round == sample.round)?;
                Some((sample.cpu_us[ALL] / same_round.cpu_us[ALL] - 1.0) * 100.0)
            });
            let more = Spread::of(more).map_or("-".to_owned(), |more| format!("{more:+.0}"));
            let faults = faults(of(step.name));
            let [gateway, data, downstream, all, backend] = cpu;
            let _ = writeln!(
                text,
                "| {} | {gateway} | {data} | {downstream} | {all} | {more} | {backend} | {} | {} | {} | {} | {} | {faults} |",
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

    /// At the rate only: at saturation the log is cut short, at each step from another rate.
    fn arrived(&self, route: &str) -> String {
        let mut text =
            "| | counted | spans | log records | bytes |\n|---|---|---|---|---|\n".to_owned();
        for step in &STEPS {
            let per_request = |value: fn(&Sample) -> u64, digits| {
                let samples = self.of(step.name, route, "rate");
                let values = samples.map(|sample| value(sample) as f64 / sample.requests as f64);
                number(Spread::of(values), digits)
            };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} |",
                step.name,
                per_request(|sample| sample.counted, 2),
                per_request(|sample| sample.received.spans, 2),
                per_request(|sample| sample.received.logs, 2),
                per_request(|sample| sample.received.bytes, 0)
            );
        }
        text
    }
}

/// Why a row is not to be believed.
fn faults<'a>(samples: impl Iterator<Item = &'a Sample>) -> String {
    let (mut failed, mut restless) = (0, 0);
    for sample in samples {
        failed += sample.failed;
        restless += u32::from(!sample.rested);
    }
    match (failed, restless) {
        (0, 0) => "none".to_owned(),
        (_, 0) => format!("requests failed: {failed}"),
        (0, _) => format!("rounds without rest: {restless}"),
        _ => format!("requests failed: {failed}; rounds without rest: {restless}"),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(failed: u64, rested: bool) -> Sample {
        Sample {
            round: 1,
            step: STEPS[0].name,
            route: "/health",
            load: "rate",
            requests: 10,
            failed,
            rested,
            requests_per_second: 10.0,
            p50_ms: 1.0,
            p99_ms: 1.0,
            cpu_us: COLUMNS.map(|name| (name, 1.0)).into(),
            allocations: None,
            allocated_bytes: None,
            counted: 10,
            received: Received::default(),
        }
    }

    #[test]
    fn a_row_says_what_is_wrong_with_it() {
        let text = |samples: &[Sample]| faults(samples.iter());
        assert_eq!(text(&[sample(0, true)]), "none");
        let both = [sample(3, true), sample(0, false)];
        assert_eq!(text(&both), "requests failed: 3; rounds without rest: 1");
        assert_eq!(text(&both[..1]), "requests failed: 3");
        assert_eq!(text(&both[1..]), "rounds without rest: 1");
        assert!(sample(0, true).sound());
        assert!(both.iter().all(|sample| !sample.sound()));
    }

    #[test]
    fn a_route_that_was_not_measured_has_no_table() {
        let report = Report {
            machine: "2 cores".to_owned(),
            load_before: 0.0,
            rounds: 1,
            seconds: 1,
            connections: 4,
            rates: [("/health", 50)].into(),
            samples: vec![sample(0, true)],
        };
        let text = report.markdown();
        assert!(
            text.contains("### `/health`, 50 requests/s: what is seen"),
            "{text}"
        );
        assert!(
            text.contains("| nothing | 1.00 | 0.00 | 0.00 | 0 |"),
            "{text}"
        );
        assert!(!text.contains("/api/"), "{text}");
    }
}

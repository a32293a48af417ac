//! Two engines, one definition: Prometheus and `slo::Engine` read the same series, and agree about every alert at every step.
//! `just test-stack` (needs promtool).

use std::fmt::Write;

use slo::{Definition, Engine, Gone, Indicator, Profile, Sample, Series, Severity};

use crate::harness::run_tool;

/// Windows 60 times shorter than in production, so that all four pairs are lived through in 72 minutes.
const COMPRESSION: &str = "60";
const SECONDS: usize = 4_920;
const STEP: usize = 10;

/// Requests a second, share that fails, share that is slow; for so many seconds.
const PHASES: [(usize, f64, f64, f64); 9] = [
    (600, 40.0, 0.0, 0.0),
    (60, 40.0, 1.0, 0.0),
    (700, 40.0, 0.0, 0.02),
    (200, 60.0, 0.03, 0.3),
    (700, 40.0, 0.0, 0.0),
    (700, 80.0, 0.008, 0.08),
    (300, 0.0, 0.0, 0.0),
    (60, 0.2, 0.6, 0.0),
    (3_000, 60.0, 0.004, 0.04),
];

const ROUTES: [(&str, &str, &str); 4] = [
    ("gateway", "/api/data", "0.25"),
    ("gateway", "/api/orders", "0.5"),
    ("data", "/orders/{id}", "0.5"),
    ("a-fourth", "/x", "0.5"),
];

/// A counter, once a second: nothing was scraped, a value, or a staleness marker.
struct Counter {
    name: &'static str,
    labels: Vec<(&'static str, String)>,
    values: Vec<Option<Result<f64, Gone>>>,
}

impl Counter {
    fn new(route: usize, instance: usize, outcome: &str, le: Option<&str>) -> Self {
        let (service, path, _) = ROUTES[route];
        let mut labels = vec![
            ("service_name", service.to_owned()),
            ("service_instance_id", instance.to_string()),
            ("http_route", path.to_owned()),
            ("outcome", outcome.to_owned()),
        ];
        labels.extend(le.map(|le| ("le", le.to_owned())));
        Self {
            name: match le {
                Some(_) => "http_server_request_duration_seconds_bucket",
                None => "http_server_request_duration_seconds_count",
            },
            labels,
            values: Vec::new(),
        }
    }

    /// As promtool reads it.
    fn input(&self) -> String {
        let labels: Vec<String> = self
            .labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{value}\""))
            .collect();
        let values: Vec<String> = self
            .values
            .iter()
            .map(|value| match value {
                None => "_".to_owned(),
                Some(Ok(value)) => value.to_string(),
                Some(Err(Gone)) => "stale".to_owned(),
            })
            .collect();
        format!(
            "      - series: '{}{{{}}}'\n        values: '{}'\n",
            self.name,
            labels.join(","),
            values.join(" ")
        )
    }

    /// As our engine reads it.
    fn series(&self) -> Series {
        let labels = self
            .labels
            .iter()
            .map(|(name, value)| (*name, value.as_str()));
        let mut series = Series::of(self.name, labels).expect("one that objectives read");
        let samples = self.values.iter().enumerate();
        series.samples = samples
            .filter_map(|(second, value)| {
                let at_ms = second as i64 * 1_000;
                value.map(|value| Sample { at_ms, value })
            })
            .collect();
        series
    }
}

/// Repeatable noise.
struct Noise(u64);

impl Noise {
    fn share(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A whole number, on average this.
    fn around(&mut self, mean: f64) -> f64 {
        (mean * 2.0 * self.share()).round()
    }
}

/// Each route moves through the phases a little later than the one before.
fn phase(route: usize, second: usize) -> (f64, f64, f64) {
    let mut left = second.saturating_sub(route * 35);
    for (length, rate, failing, slow) in PHASES {
        if left < length {
            return (rate, failing, slow);
        }
        left -= length;
    }
    (0.0, 0.0, 0.0)
}

/// One instance of a route: it is scraped every 1 to 3 seconds, not always; it begins, ends, and once starts anew.
fn instance(noise: &mut Noise, route: usize, instance: usize) -> Vec<Counter> {
    let bound = ROUTES[route].2;
    let mut counters = [
        Counter::new(route, instance, "ok", None),
        Counter::new(route, instance, "error", None),
        Counter::new(route, instance, "cancelled", None),
        Counter::new(route, instance, "ok", Some(bound)),
    ];
    let (from, to) = [(0, SECONDS), (0, 1_900), (1_905, SECONDS)][instance];
    let reset = 700 + 800 * instance;
    let mut counts = [0.0; 4];
    for second in 0..SECONDS {
        let (rate, failing, slow) = phase(route, second);
        if second == reset {
            counts = [0.0; 4];
        }
        if (from..to).contains(&second) {
            let all = noise.around(rate / 2.0);
            let failed = (all * failing + noise.share()).floor().min(all);
            let late = ((all - failed) * slow + noise.share())
                .floor()
                .min(all - failed);
            let late = if slow > 0.0 { late } else { 0.0 };
            let failed = if failing > 0.0 { failed } else { 0.0 };
            let risen = [all - failed, failed, noise.around(1.0), all - failed - late];
            counts
                .iter_mut()
                .zip(risen)
                .for_each(|(count, risen)| *count += risen);
        }
        let is_scraped = (second + instance).is_multiple_of(1 + instance) && noise.share() > 0.03;
        for (counter, count) in counters.iter_mut().zip(counts) {
            counter.values.push(match second {
                _ if (from..to).contains(&second) => is_scraped.then_some(Ok(count)),
                _ if second == to => Some(Err(Gone)),
                _ => None,
            });
        }
    }
    counters.into()
}

fn world() -> Vec<Counter> {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let mut counters = Vec::new();
    for route in 0..ROUTES.len() {
        for number in 0..3 {
            counters.extend(instance(&mut noise, route, number));
        }
    }
    counters
}

/// What our engine says at one time, as a test of promtool's; returns the alerts too.
fn expectations(
    tests: &mut String,
    engine: Engine<'_>,
    series: &[Series],
    second: usize,
) -> Vec<String> {
    let readings = engine.read(series, second as i64 * 1_000);
    let mut alerts = Vec::new();
    let mut measured = vec![(String::new(), Vec::new()); 8];
    for reading in &readings {
        let alert = match reading.objective.indicator {
            Indicator::Availability => "AvailabilityBurnRate",
            Indicator::Latency { .. } => "LatencyBurnRate",
        };
        for (windows, burn) in [(Severity::Page, "fast"), (Severity::Ticket, "slow")] {
            if let Some((severity, _)) = reading.alert(windows) {
                alerts.push(format!(
                    "{{alertname=\"{alert}\",severity=\"{}\",service=\"{}\",route=\"{}\",burn=\"{burn}\"}}",
                    severity.as_str(),
                    reading.service,
                    reading.route
                ));
            }
        }
        let labels = format!(
            "{{slo=\"{}\",service_name=\"{}\",http_route=\"{}\"}}",
            reading.objective.indicator.name(),
            reading.service,
            reading.route
        );
        for (index, burn) in reading.burns.iter().enumerate() {
            let short = burn.short.map(|rate| rate * reading.objective.budget());
            let figures = [
                (
                    format!("slo:sli_error:ratio_rate{}", burn.pair.short),
                    short,
                ),
                (
                    format!("slo:bad_events:increase{}", burn.pair.long),
                    burn.bad_events,
                ),
            ];
            for (slot, (name, value)) in figures.into_iter().enumerate() {
                let slot = &mut measured[2 * index + slot];
                slot.0 = name;
                slot.1.extend(value.map(|value| (labels.clone(), value)));
            }
        }
    }
    let fired: Vec<(String, f64)> = alerts.iter().map(|labels| (labels.clone(), 1.0)).collect();
    let firing = "count by (alertname, severity, service, route, burn) (ALERTS{alertstate=\"firing\",burn!=\"\"})";
    expect(tests, firing, second, &fired);
    for (name, samples) in measured.iter().filter(|_| second.is_multiple_of(60)) {
        expect(
            tests,
            &format!("max by (slo, service_name, http_route) ({name})"),
            second,
            samples,
        );
    }
    alerts
}

fn expect(tests: &mut String, expr: &str, second: usize, samples: &[(String, f64)]) {
    let _ = writeln!(
        tests,
        "      - expr: '{expr}'\n        eval_time: {second}s"
    );
    if !samples.is_empty() {
        tests.push_str("        exp_samples:\n");
    }
    for (labels, value) in samples {
        let _ = writeln!(tests, "          - {{labels: '{labels}', value: {value}}}");
    }
}

fn compressed() -> (Definition, Profile) {
    let objectives = slo::embedded::OBJECTIVES
        .replace("compression = 15", &format!("compression = {COMPRESSION}"))
        .replace("scrape_interval = \"5s\"", "scrape_interval = \"1s\"");
    let causes = ("causes.toml", slo::embedded::CAUSES);
    let definition = Definition::parse(("slo.toml", &objectives), causes)
        .unwrap_or_else(|error| panic!("{error}"));
    let profile = definition.profile("demo").unwrap().clone();
    (definition, profile)
}

#[test]
#[ignore = "needs promtool: just test-stack"]
fn both_engines_see_the_same_alerts_at_every_step() {
    let (definition, profile) = compressed();
    let world = world();
    let series: Vec<Series> = world.iter().map(Counter::series).collect();
    let engine = Engine::new(&definition, &profile);
    let mut tests = String::new();
    let mut seen: Vec<String> = Vec::new();
    let mut changes = 0;
    let mut before: Vec<String> = Vec::new();
    for second in (0..SECONDS).step_by(STEP) {
        let alerts = expectations(&mut tests, engine, &series, second);
        changes += usize::from(alerts != before);
        seen.extend(
            alerts
                .iter()
                .filter(|alert| !before.contains(alert))
                .cloned(),
        );
        before = alerts;
    }
    // The comparison means something: alerts of every kind come and go.
    for kind in [
        "severity=\"page\"",
        "severity=\"ticket\"",
        "\"fast\"",
        "\"slow\"",
        "Availability",
        "Latency",
        "a-fourth",
    ] {
        assert!(
            seen.iter().any(|alert| alert.contains(kind)),
            "no {kind} in {seen:?}"
        );
    }
    assert!(changes > 20, "{changes} changes");

    let directory = tempfile::tempdir().unwrap();
    let rules = directory.path().join("rules.yml");
    std::fs::write(&rules, slo::rules(&definition, &profile)).unwrap();
    let input: String = world.iter().map(Counter::input).collect();
    let file = directory.path().join("test.yml");
    let text = format!(
        "rule_files: [rules.yml]\nevaluation_interval: {STEP}s\nfuzzy_compare: true\ntests:\n  - interval: 1s\n    input_series:\n{input}    promql_expr_test:\n{tests}"
    );
    std::fs::write(&file, text).unwrap();
    let (agree, said) = run_tool("promtool", &["test", "rules", file.to_str().unwrap()]);
    let said: Vec<&str> = said
        .lines()
        .filter(|line| !line.trim().is_empty())
        .take(40)
        .collect();
    assert!(
        agree,
        "the engines differ (exp: ours, got: Prometheus's):\n{}",
        said.join("\n")
    );
}

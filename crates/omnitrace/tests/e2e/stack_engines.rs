//! One file of rules, two that evaluate it: Prometheus and the console read the same series, and agree about every alert, every
//! recorded series and every text at every step. `just test-stack` (needs promtool).

use console::Rehearsal;
use serde_json::{Map, Value, json};
use telemetry::names::process::{BUILD_INFO, PROCESS_START};

use crate::harness::run_tool;

/// Five and a half hours: all pairs of windows of the demo profile are lived through.
const SECONDS: usize = 4 * 4_920;
/// Time between two samples.
const SCRAPE: usize = 5;
/// Time between two evaluations.
const STEP: usize = 40;

/// Requests per sample, share that fails, share that is slow; for so many seconds.
const PHASES: [(usize, f64, f64, f64); 9] = [
    (2_400, 40.0, 0.0, 0.0),
    (240, 40.0, 1.0, 0.0),
    (2_800, 40.0, 0.0, 0.02),
    (800, 60.0, 0.03, 0.3),
    (2_800, 40.0, 0.0, 0.0),
    (2_800, 80.0, 0.008, 0.08),
    (1_200, 0.0, 0.0, 0.0),
    (240, 0.2, 0.6, 0.0),
    (12_000, 60.0, 0.004, 0.04),
];

const ROUTES: [(&str, &str, &str); 4] = [
    ("gateway", "/api/data", "0.25"),
    ("gateway", "/api/orders", "0.5"),
    ("data", "/orders/{id}", "0.5"),
    ("a-fourth", "/x", "0.5"),
];

/// What was scraped.
#[derive(Clone, Copy, PartialEq)]
enum Scraped {
    Nothing,
    Value(f64),
    Gone,
}

/// A series, once per scrape.
struct Counter {
    name: String,
    labels: Vec<(String, String)>,
    values: Vec<Scraped>,
}

impl Counter {
    fn new(name: &str, labels: &[(&str, &str)]) -> Self {
        let labels = labels.iter();
        Self {
            name: name.to_owned(),
            labels: labels
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            values: Vec::new(),
        }
    }

    /// Requests of a route.
    fn requests(route: usize, instance: usize, outcome: &str, le: Option<&str>) -> Self {
        let (service, path, _) = ROUTES[route];
        let name = match le {
            Some(_) => "http_server_request_duration_seconds_bucket",
            None => "http_server_request_duration_seconds_count",
        };
        let instance = instance.to_string();
        let mut labels = vec![
            ("service_name", service),
            ("service_instance_id", &instance),
            ("service_version", version(service, &instance)),
            ("http_route", path),
            ("outcome", outcome),
        ];
        labels.extend(le.map(|le| ("le", le)));
        Self::new(name, &labels)
    }

    /// As promtool reads it.
    fn input(&self) -> Value {
        let values: Vec<String> = self
            .values
            .iter()
            .map(|value| match value {
                Scraped::Nothing => "_".to_owned(),
                Scraped::Value(value) => value.to_string(),
                Scraped::Gone => "stale".to_owned(),
            })
            .collect();
        let labels: Vec<String> = self
            .labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{value}\""))
            .collect();
        let series = format!("{}{{{}}}", self.name, labels.join(","));
        json!({"series": series, "values": values.join(" ")})
    }

    /// Gives the console what was scraped at a time.
    fn give(&self, to: &Rehearsal, scrape: usize) {
        let at_ms = (scrape * SCRAPE * 1_000) as i64;
        let source = format!("{}{:?}", self.name, self.labels);
        match self.values[scrape] {
            Scraped::Nothing => {}
            Scraped::Value(value) => {
                to.add(&source, &self.name, (self.labels.clone(), value), at_ms);
            }
            Scraped::Gone => to.end(&source, at_ms),
        }
    }
}

/// The last instance of one service is a newer release; of one only, since Prometheus names several in no order.
fn version(service: &str, instance: &str) -> &'static str {
    match (service, instance) {
        ("data", "2") => "2.0.0",
        _ => "1.0.0",
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
    let mut left = second.saturating_sub(route * 140);
    for (length, rate, failing, slow) in PHASES {
        if left < length {
            return (rate, failing, slow);
        }
        left -= length;
    }
    (0.0, 0.0, 0.0)
}

/// When an instance starts and ends.
fn lives(instance: usize) -> (usize, usize) {
    [(0, SECONDS), (0, 7_600), (7_620, SECONDS)][instance]
}

/// One instance of a route: it is scraped every 5 to 15 seconds, not always; it begins, ends, and once starts anew.
fn instance(noise: &mut Noise, route: usize, instance: usize) -> Vec<Counter> {
    let bound = ROUTES[route].2;
    let mut counters = [
        Counter::requests(route, instance, "ok", None),
        Counter::requests(route, instance, "error", None),
        Counter::requests(route, instance, "cancelled", None),
        Counter::requests(route, instance, "ok", Some(bound)),
        Counter::requests(route, instance, "ok", Some("+Inf")),
    ];
    let (from, to) = lives(instance);
    let reset = 2_800 + 3_200 * instance;
    let mut counts = [0.0; 5];
    for (scrape, second) in (0..SECONDS).step_by(SCRAPE).enumerate() {
        let (rate, failing, slow) = phase(route, second);
        if second == reset {
            counts = [0.0; 5];
        }
        if (from..to).contains(&second) {
            let all = noise.around(rate / 2.0);
            let failed = (all * failing + noise.share()).floor().min(all);
            let late = ((all - failed) * slow + noise.share())
                .floor()
                .min(all - failed);
            let late = if slow > 0.0 { late } else { 0.0 };
            let failed = if failing > 0.0 { failed } else { 0.0 };
            let served = all - failed;
            let risen = [served, failed, noise.around(1.0), served - late, served];
            counts
                .iter_mut()
                .zip(risen)
                .for_each(|(count, risen)| *count += risen);
        }
        let is_scraped = (scrape + instance).is_multiple_of(1 + instance) && noise.share() > 0.03;
        for (counter, count) in counters.iter_mut().zip(counts) {
            counter.values.push(match second {
                _ if (from..to).contains(&second) && is_scraped => Scraped::Value(count),
                _ if second == to => Scraped::Gone,
                _ => Scraped::Nothing,
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
    counters.extend(processes());
    counters
}

/// What says that instances run, since when and of which version; all of the fourth service end for a while.
fn processes() -> Vec<Counter> {
    let mut series = Vec::new();
    for service in ["gateway", "data", "a-fourth"] {
        for instance in 0..3 {
            let number = instance.to_string();
            // One process per address: of several, `topk` would take any.
            let address = format!("{service}-{number}:9080");
            let labels = [
                ("job", "services"),
                ("instance", &address),
                ("service_name", service),
                ("service_instance_id", &number),
                ("service_version", version(service, &number)),
            ];
            let (from, to) = lives(instance);
            let is_out = |second| service == "a-fourth" && (9_000..9_300).contains(&second);
            let said = |second| (from..to).contains(&second) && !is_out(second);
            for (name, value) in [
                (BUILD_INFO.name(), 1.0),
                (PROCESS_START.name(), from as f64),
            ] {
                let mut one = Counter::new(name, &labels);
                for second in (0..SECONDS).step_by(SCRAPE) {
                    let before = second.checked_sub(SCRAPE).is_some_and(said);
                    one.values.push(match (said(second), before) {
                        (true, _) => Scraped::Value(value),
                        (false, true) => Scraped::Gone,
                        (false, false) => Scraped::Nothing,
                    });
                }
                series.push(one);
            }
            let mut up = Counter::new("up", &labels);
            let values = (0..SECONDS).step_by(SCRAPE);
            up.values = values
                .map(|second| Scraped::Value(f64::from(u8::from(said(second)))))
                .collect();
            series.push(up);
        }
    }
    series
}

/// All that rules record.
const RECORDED: &str = "{__name__=~\"(slo|release):.+\"}";

/// What the console says after an evaluation, as promtool's tests; returns the alerts that fire.
fn expectations(
    console: &Rehearsal,
    second: usize,
    series: &mut Vec<Value>,
    alerts: &mut Vec<Value>,
) -> Vec<String> {
    let at_ms = (second * 1_000) as i64;
    let time = format!("{second}s");
    let often = second.is_multiple_of(10 * STEP);
    let asked = [
        ("ALERTS", true),
        ("ALERTS_FOR_STATE", true),
        (RECORDED, often),
    ];
    for (expression, _) in asked.into_iter().filter(|(_, wanted)| *wanted) {
        let found = console.ask(expression, at_ms).expect("an answer");
        let samples: Vec<Value> = found
            .iter()
            .map(|(labels, value)| json!({"labels": selector(labels), "value": number(*value)}))
            .collect();
        series.push(json!({"expr": expression, "eval_time": time, "exp_samples": samples}));
    }
    let firing = console.firing();
    let named = |labels: &[(String, String)]| object(labels)["alertname"].clone();
    let mut names: Vec<Value> = firing.iter().map(|(labels, _)| named(labels)).collect();
    names.dedup();
    for name in names.into_iter().filter(|_| often) {
        let those = firing.iter().filter(|(labels, _)| named(labels) == name);
        let told: Vec<Value> = those
            .map(|(labels, annotations)| {
                let mut labels = object(labels);
                labels.remove("alertname");
                json!({"exp_labels": labels, "exp_annotations": object(annotations)})
            })
            .collect();
        alerts.push(json!({"eval_time": time, "alertname": name, "exp_alerts": told}));
    }
    firing.iter().map(|(labels, _)| selector(labels)).collect()
}

fn object(pairs: &[(String, String)]) -> Map<String, Value> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| (name.clone(), value.as_str().into()))
        .collect()
}

fn selector(labels: &[(String, String)]) -> String {
    let name = labels.iter().find(|(name, _)| name == "__name__");
    let name = name.map_or("", |(_, value)| value);
    let others: Vec<String> = labels
        .iter()
        .filter(|(name, _)| name != "__name__")
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    format!("{name}{{{}}}", others.join(","))
}

/// What JSON has no number for, YAML writes without quotes.
const SPECIAL: [(&str, &str); 3] = [
    ("\"NaN\"", ".nan"),
    ("\"inf\"", ".inf"),
    ("\"-inf\"", "-.inf"),
];

fn number(value: f64) -> Value {
    serde_json::Number::from_f64(value).map_or_else(|| json!(value.to_string()), Value::Number)
}

/// What the console says at every step.
fn rehearsed(world: &[Counter]) -> (Vec<Value>, Vec<Value>, Vec<String>) {
    let mut console = Rehearsal::new(None).expect("the rules that ship");
    let (mut series, mut alerts, mut seen) = (Vec::new(), Vec::new(), Vec::new());
    let mut before = Vec::new();
    for second in (0..SECONDS).step_by(SCRAPE) {
        let give = |counter: &Counter| counter.give(&console, second / SCRAPE);
        world.iter().for_each(give);
        if second.is_multiple_of(STEP) {
            console
                .evaluate((second * 1_000) as i64)
                .expect("no rule fails");
            let now = expectations(&console, second, &mut series, &mut alerts);
            seen.extend(now.iter().filter(|alert| !before.contains(*alert)).cloned());
            before = now;
        }
    }
    (series, alerts, seen)
}

#[tokio::test]
#[ignore = "needs promtool: just test-stack"]
async fn the_console_sees_what_prometheus_does_at_every_step() {
    let input: Vec<Value> = world().iter().map(Counter::input).collect();
    let rehearsed = tokio::task::spawn_blocking(|| rehearsed(&world()));
    let (series, alerts, seen) = rehearsed.await.expect("no panic");
    // The comparison means something: alerts of every kind come and go.
    for kind in [
        "severity=\"page\"",
        "severity=\"ticket\"",
        "\"fast\"",
        "\"slow\"",
        "Availability",
        "Latency",
        "a-fourth",
        "ServiceDown",
        "Watchdog",
    ] {
        assert!(
            seen.iter().any(|alert| alert.contains(kind)),
            "no {kind} in {seen:?}"
        );
    }
    assert!(seen.len() > 20, "{} begin", seen.len());

    let directory = tempfile::tempdir().unwrap();
    let rules = directory.path().join("rules.yml");
    std::fs::write(&rules, include_str!("../../../../alerts/rules/demo.yml")).unwrap();
    let file = directory.path().join("test.yml");
    // JSON is YAML.
    let text = json!({
        "rule_files": ["rules.yml"],
        "evaluation_interval": format!("{STEP}s"),
        "group_eval_order": ["slo", "slo-slow", "releases", "outages", "causes", "watchers"],
        "fuzzy_compare": true,
        "tests": [{
            "interval": format!("{SCRAPE}s"),
            "input_series": input,
            "promql_expr_test": series,
            "alert_rule_test": alerts,
        }],
    });
    let text = SPECIAL.iter().fold(text.to_string(), |text, (json, yaml)| {
        text.replace(json, yaml)
    });
    std::fs::write(&file, text).unwrap();
    let (agree, said) = run_tool("promtool", &["test", "rules", file.to_str().unwrap()]);
    let said: Vec<&str> = said
        .lines()
        .filter(|line| !line.trim().is_empty())
        .take(40)
        .collect();
    assert!(
        agree,
        "they differ (exp: the console's, got: Prometheus's):\n{}",
        said.join("\n")
    );
}

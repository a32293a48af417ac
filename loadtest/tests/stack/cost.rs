//! The measurements of docs/OVERHEAD.md: that they measure what they say. What the numbers are is no test's business.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Child, POLL, binary, repository};
use crate::support::{Run, finish};

/// Longer than the harness waits for anything: the ladder starts 24 processes, one after the other.
const PATIENCE: Duration = Duration::from_secs(600);

async fn loadtest(arguments: &[&str], variables: &[(&str, &str)]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(arguments).envs(variables.iter().copied());
    let mut child = Child::spawn("loadtest", command);
    let start = Instant::now();
    while child.try_wait().is_none() && start.elapsed() < PATIENCE {
        tokio::time::sleep(POLL).await;
    }
    finish(child).await
}

const STEPS: [&str; 7] = [
    "nothing",
    "metrics",
    "+ logs",
    "+ traces, none sampled",
    "10 % sampled",
    "all",
    "all, to the console",
];

fn number(value: &Value, name: &str) -> u64 {
    value[name]
        .as_u64()
        .unwrap_or_else(|| panic!("{name}: {value}"))
}

/// Spans per request: the gateway's, and those of whom it calls.
const SPANS: [(&str, u64); 2] = [("/health", 1), ("/api/data", 7)];

#[tokio::test]
async fn each_step_of_the_ladder_adds_what_it_says_and_no_number_is_missing() {
    let omnitrace = binary();
    let omnitrace = omnitrace.to_str().expect("UTF-8");
    let run = loadtest(
        &["overhead", "--quick", "--json", "--omnitrace", omnitrace],
        &[],
    )
    .await;
    assert_eq!(run.code, 0, "{}", run.output);
    let report = run.json();
    every_number_is_there(&report);
    let sum = |step: &str, route: &str, what: &str| -> u64 {
        let samples = report["samples"].as_array().expect("samples").iter();
        let of_step = samples.filter(|sample| sample["step"] == step);
        let fitting = of_step.filter(|sample| route.is_empty() || sample["route"] == route);
        fitting.map(|sample| number(sample, what)).sum()
    };
    let seen = |step: &str| ["counted", "logs", "spans"].map(|what| sum(step, "", what));
    let all = |step: &str| sum(step, "", "requests");
    assert_eq!(seen("nothing"), [0, 0, 0]);
    assert_eq!(seen("metrics"), [all("metrics"), 0, 0]);
    for step in ["+ logs", "+ traces, none sampled"] {
        let [counted, logs, spans] = seen(step);
        assert_eq!((counted, logs > 0, spans), (all(step), true, 0), "{step}");
    }
    let least = |step: &str| {
        let spans = SPANS.map(|(route, spans)| sum(step, route, "requests") * spans);
        // An order has the spans of a look at data, and more.
        spans.iter().sum::<u64>() + sum(step, "/api/orders", "requests") * 7
    };
    let [counted, logs, spans] = seen("all");
    assert_eq!((counted, logs > 0), (all("all"), true));
    // Each measurement waits for its own exports, so none of its spans is in the next one.
    assert!(spans > least("all"), "{spans} of {}", least("all"));
    for (route, spans) in SPANS {
        let requests = sum("all", route, "requests");
        assert!(sum("all", route, "spans") >= requests * spans, "{route}");
    }
    let [_, _, some] = seen("10 % sampled");
    assert!(some > 0 && some < least("10 % sampled"), "{some}");
    let [counted, logs, spans] = seen("all, to the console");
    assert_eq!((counted, logs, spans), (all("all, to the console"), 0, 0));
}

fn every_number_is_there(report: &Value) {
    let samples = report["samples"].as_array().expect("samples");
    assert_eq!(samples.len(), STEPS.len() * 3 * 2);
    for step in STEPS {
        for route in ["/health", "/api/data", "/api/orders"] {
            for load in ["rate", "saturation"] {
                let here = |sample: &&Value| {
                    sample["step"] == step && sample["route"] == route && sample["load"] == load
                };
                let found: Vec<&Value> = samples.iter().filter(here).collect();
                let [sample] = found[..] else {
                    panic!("{step}, {route}, {load}: {found:?}");
                };
                let positive = |value: &Value| value.as_f64().is_some_and(|number| number > 0.0);
                for name in ["requests", "requests_per_second", "p50_ms", "p99_ms"] {
                    assert!(positive(&sample[name]), "{name}: {sample}");
                }
                assert_eq!(sample["rested"], true, "{sample}");
                for name in ["gateway", "services"] {
                    assert!(positive(&sample["cpu_us"][name]), "{name}: {sample}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_soak_counts_what_it_makes_and_what_arrives() {
    let run = loadtest(&["soak", "--rate", "3000", "--seconds", "3", "--json"], &[]).await;
    assert_eq!(run.code, 0, "{}", run.output);
    let report = run.json();
    assert_eq!(number(&report, "spans"), 9000);
    assert_eq!(number(&report, "received"), 9000);
    assert_eq!(number(&report, "lost"), 0);
    assert_eq!(number(&report, "dropped"), 0);
    assert_eq!(number(&report, "asked_per_second"), 3000);
    for moment in ["start", "settled", "end"] {
        assert!(number(&report["resident_kib"], moment) > 1000, "{report}");
    }
}

#[tokio::test]
async fn a_soak_that_loses_spans_says_so() {
    let arguments = ["soak", "--rate", "3000", "--seconds", "1", "--json"];
    let run = loadtest(&arguments, &[("OTEL_BSP_MAX_QUEUE_SIZE", "1")]).await;
    assert_eq!(run.code, 1, "{}", run.output);
    let report = run.json();
    assert!(number(&report, "lost") > 0, "{report}");
    // What the sink lacks is what the process itself counted as dropped.
    assert_eq!(number(&report, "lost"), number(&report, "dropped"));
}

#[tokio::test]
async fn what_spans_cost_a_backend_is_measured_of_spans_that_it_kept() {
    let omnitrace = binary();
    let omnitrace = omnitrace.to_str().expect("UTF-8");
    let few = ["--rounds", "1", "--batches", "4", "--searches", "2"];
    let mut arguments = vec!["ingest", "--json", "--omnitrace", omnitrace];
    arguments.extend(few);
    let run = loadtest(&arguments, &[]).await;
    assert_eq!(run.code, 0, "{}", run.output);
    let report = run.json();
    assert_eq!(number(&report, "spans"), 4 * 512);
    assert!(report["console_us"][0].as_f64() > Some(0.0), "{report}");
    assert_eq!(report["jaeger_us"], serde_json::json!([]));
    assert!(number(&report["held"], "spans") > 10_000, "{report}");
    let searches = report["searches"].as_array().expect("searches");
    let found: Vec<u64> = searches
        .iter()
        .map(|search| number(search, "found"))
        .collect();
    assert_eq!(found, [1, 20, 20, 20, 1, 0, 0, 0], "{report}");
    for search in searches {
        assert!(search["p99_ms"].as_f64() > Some(0.0), "{search}");
    }
    arguments.extend(["--jaeger", "/bin/false"]);
    let run = loadtest(&arguments, &[]).await;
    assert_eq!(run.code, 2, "{}", run.output);
    assert!(run.output.contains("jaeger: "), "{}", run.output);
}

#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh: just test-scale"]
async fn what_a_part_costs_is_measured_of_spans_that_all_arrived() {
    let (omnitrace, deploy) = (binary(), repository("deploy"));
    let mut arguments = vec!["scale", "--json", "--rounds", "1", "--batches", "20"];
    arguments.extend([
        "--seconds",
        "10",
        "--deploy",
        deploy.to_str().expect("UTF-8"),
    ]);
    arguments.extend(["--omnitrace", omnitrace.to_str().expect("UTF-8")]);
    let run = loadtest(&arguments, &[]).await;
    assert_eq!(run.code, 0, "{}", run.output);
    let report = run.json();
    let positive = |value: &Value| value.as_f64().is_some_and(|number| number > 0.0);
    let [one, two] = &report["spans"].as_array().expect("samples")[..] else {
        panic!("{report}");
    };
    let sent = 22 * 512;
    assert_eq!((number(one, "sent"), number(two, "sent")), (sent, sent));
    assert_eq!(number(one, "stored"), sent);
    // Every 25th trace has an error; of the others the second tier keeps a tenth.
    let kept = number(two, "stored");
    assert!((sent / 25..sent / 3).contains(&kept), "{two}");
    for (sample, part) in [
        (one, "collector"),
        (one, "jaeger"),
        (two, "first tier"),
        (two, "second tier"),
    ] {
        assert!(positive(&sample["cpu_us"][part]), "{part}: {sample}");
        assert!(positive(&sample["peak_kib"][part]), "{part}: {sample}");
    }
    let metrics = &report["metrics"];
    for what in [
        "instance of a service, scraped: data",
        "instance of another part, scraped: otel-collector",
        "span metrics of a service: downstream",
        "service graph",
        "recorded by rules",
    ] {
        assert!(positive(&metrics["series"][what]), "{what}: {metrics}");
    }
    assert!(
        metrics["spans_per_request"].as_f64() > Some(1.0),
        "{metrics}"
    );
    assert!(positive(&metrics["log_bytes_per_request"]), "{metrics}");
    let missing = [("OMNITRACE_TOOLS", "/nowhere")];
    let run = loadtest(&arguments, &missing).await;
    assert_eq!(run.code, 2, "{}", run.output);
    assert!(run.output.contains("just stack-tools"), "{}", run.output);
}

#[tokio::test]
async fn a_peer_that_does_not_serve_is_named() {
    let run = loadtest(&["peers", "--peer", "nobody=/bin/true"], &[]).await;
    assert_eq!(run.code, 2, "{}", run.output);
    assert!(run.output.contains("peer nobody: "), "{}", run.output);
    let run = loadtest(&["peers", "--peer", "/bin/true"], &[]).await;
    assert_eq!(run.code, 2, "{}", run.output);
    assert!(run.output.contains("NAME=COMMAND"), "{}", run.output);
    let twice = [
        "peers",
        "--peer",
        "go=/bin/true",
        "--peer",
        "go/9=/bin/true",
    ];
    let run = loadtest(&twice, &[]).await;
    assert_eq!(run.code, 2, "{}", run.output);
    assert!(run.output.contains("--peer: go "), "{}", run.output);
}

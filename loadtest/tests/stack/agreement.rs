//! The clients' numbers against the servers': nothing is missed by the telemetry.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Kind, Scrape, Signal, Span, Stack, complete, eventually};
use crate::support::{finish, load, loadtest, roomy_stack};

const SERVER: &str = "http_server_request_duration_seconds_count";
const CLIENT: &str = "loadtest_request_duration_seconds_count";

/// Requests by method, route and status.
type Counts = BTreeMap<[String; 3], u64>;

fn counted_by_client(report: &Value) -> Counts {
    let mut counts = Counts::new();
    for count in report["counts"].as_array().expect("counts") {
        let text = |name: &str| count[name].as_str().expect("text").to_owned();
        let key = ["method", "route", "status"].map(text);
        *counts.entry(key).or_default() += count["count"].as_u64().expect("a number");
    }
    counts
}

fn counted_in(scrape: &Scrape, metric: &str) -> Counts {
    let mut counts = Counts::new();
    for sample in scrape.matching(metric, &[]) {
        let label = |name: &str| sample.labels.get(name).cloned().unwrap_or_default();
        let key = [
            "http_request_method",
            "http_route",
            "http_response_status_code",
        ]
        .map(label);
        *counts.entry(key).or_default() += sample.value as u64;
    }
    counts.retain(|_, count| *count > 0);
    counts
}

/// What the gateway counted, once nothing is under way.
async fn counted_by_gateway(stack: &Stack, at_least: u64) -> Counts {
    eventually("the gateway counted every request", async || {
        let counts = counted_in(&stack.scrape("gateway").await, SERVER);
        (counts.values().sum::<u64>() >= at_least).then_some(counts)
    })
    .await
}

#[tokio::test]
async fn raw_counts_agree_with_the_gateways_and_every_trace_has_its_root() {
    let stack = roomy_stack().await;
    let run = load(
        &stack,
        &[
            "--json",
            "--profile",
            "spike",
            "--duration",
            "10s",
            "--quiet",
        ],
    )
    .await;
    assert_eq!(run.code, 0, "{}", run.output);
    let report = run.json();
    let client = counted_by_client(&report);
    let total: u64 = client.values().sum();
    assert!(total > 200, "{}", run.output);
    assert_eq!(report["requests"], total);
    assert_eq!(report["spans_delivered"], true);
    for route in ["/api/data", "/api/orders", "/api/orders/{id}", "/health"] {
        assert!(
            client.keys().any(|key| key[1] == route),
            "{route}: {client:?}"
        );
    }
    assert_eq!(counted_by_gateway(&stack, total).await, client);

    let receiver = stack.stop().await;
    let mut traces: BTreeMap<String, Vec<Span>> = BTreeMap::new();
    for span in receiver.spans() {
        traces.entry(span.trace_id.clone()).or_default().push(span);
    }
    let mut roots = Counts::new();
    for spans in traces
        .values()
        .filter(|spans| spans.iter().any(|span| span.service == "gateway"))
    {
        complete(spans);
        let root = spans.iter().find(|span| span.is_root()).expect("a root");
        assert_eq!((root.service.as_str(), root.kind), ("load", Kind::Client));
        let entry = spans
            .iter()
            .find(|span| span.service == "gateway" && span.kind == Kind::Server);
        let agent = entry
            .expect("the gateway's span")
            .text("user_agent.original");
        assert!(agent.starts_with("omnitrace-load/"), "{agent}");
        let key = [
            "http.request.method",
            "url.template",
            "http.response.status_code",
        ];
        *roots.entry(key.map(|name| root.text(name))).or_default() += 1;
    }
    assert_eq!(roots, client, "one trace for each request");
}

#[tokio::test]
async fn failures_agree_as_well_and_break_the_threshold() {
    let stack = roomy_stack().await;
    stack
        .fault_set("downstream", "errors", json!({"share": 0.5}))
        .await
        .expect(200);
    let run = load(&stack, &["--json", "--quiet", "--max-error-share", "0.05"]).await;
    assert_eq!(run.code, 1, "{}", run.output);
    assert!(
        run.output.contains("error: --max-error-share 0.05"),
        "{}",
        run.output
    );
    let report = run.json();
    let client = counted_by_client(&report);
    let statuses: BTreeSet<&str> = client.keys().map(|key| key[2].as_str()).collect();
    assert!(
        statuses.iter().any(|status| status.starts_with('5')),
        "{client:?}"
    );
    let total: u64 = client.values().sum();
    assert_eq!(counted_by_gateway(&stack, total).await, client);
    let failed: u64 = client
        .iter()
        .filter(|(key, _)| key[2].starts_with('5'))
        .map(|(_, count)| count)
        .sum();
    assert_eq!(report["failed"], failed);
    let held = |name: &str| {
        let verdicts = report["thresholds"].as_array().expect("thresholds");
        verdicts
            .iter()
            .find(|verdict| verdict["name"] == name)
            .expect("a verdict")["held"]
            .clone()
    };
    assert_eq!(
        (held("max-error-share"), held("min-requests")),
        (json!(false), json!(true))
    );
}

/// A stall of the whole stack is in no count, whether goose back-fills it or not: it compares a user's round with the average
/// of its rounds so far, so that is the machine's to say. What it does back-fill makes the corrected times worse.
#[tokio::test]
async fn a_stall_is_in_no_count() {
    let stack = roomy_stack().await;
    let target = stack.url("gateway");
    let child = loadtest(
        &stack.receiver,
        &[
            // So long that the stop is ours; all users are there after a tenth of it.
            ["--target", &target, "--users", "2"],
            ["--duration", "2m", "--json", "--quiet"],
            ["--think-min-ms", "1", "--think-max-ms", "5"],
        ]
        .concat(),
    );
    // Users go through their twenty steps a few times before goose knows their cadence, and once more after the stall.
    let requests = async |count: f64| {
        let counted = stack.wait_for_metric("gateway", SERVER, &[], |counted| counted > count);
        counted.await
    };
    let before = requests(900.0).await;
    // Shorter than the gateway's patience with data: slow, and nothing fails.
    stack.signal("data", Signal::SIGSTOP);
    tokio::time::sleep(Duration::from_millis(3400)).await;
    stack.signal("data", Signal::SIGCONT);
    requests(before + 200.0).await;
    child.signal(Signal::SIGTERM);
    let run = finish(child).await;
    let report = run.json();
    let client = counted_by_client(&report);
    assert_eq!(
        counted_by_gateway(&stack, client.values().sum()).await,
        client
    );
    let p99 = |which: &str| report["times"][which]["p99_ms"].as_f64().expect("a number");
    let worse = match report["backfilled"].as_u64().expect("a number") {
        0 => p99("corrected") == p99("raw"),
        _ => p99("corrected") >= p99("raw"),
    };
    assert!(worse, "{}", run.output);
}

#[tokio::test]
async fn the_metrics_say_the_same_while_it_runs() {
    let stack = roomy_stack().await;
    let target = stack.url("gateway");
    let mut child = loadtest(
        &stack.receiver,
        &[
            "--target",
            &target,
            "--users",
            "3",
            "--duration",
            "1h",
            "--json",
        ],
    );
    let url = child
        .wait_for("the address of its metrics", |child| {
            let line = child
                .stderr()
                .into_iter()
                .find(|line| line.contains("metrics on "))?;
            Some(
                line.split("metrics on ")
                    .nth(1)?
                    .split(',')
                    .next()?
                    .to_owned(),
            )
        })
        .await;
    let mut last = None;
    eventually("three users and two hundred requests", async || {
        let text = stack
            .client
            .get(&url)
            .send()
            .await
            .ok()?
            .text()
            .await
            .ok()?;
        let scrape = Scrape::parse("text/plain", text);
        let enough = scrape.value("loadtest_users", &[]) == Some(3.0)
            && scrape.value(CLIENT, &[("outcome", "ok")])? > 50.0;
        last = Some(scrape);
        enough.then_some(())
    })
    .await;
    let seen = counted_in(&last.expect("a scrape"), CLIENT);
    // As a container is stopped: the test ends early, with its report.
    child.signal(Signal::SIGTERM);
    let run = finish(child).await;
    assert_eq!(run.code, 0, "{}", run.output);
    let client = counted_by_client(&run.json());
    assert_eq!(
        counted_by_gateway(&stack, client.values().sum()).await,
        client
    );
    for (key, count) in seen {
        assert!(client[&key] >= count, "{key:?}");
    }
}

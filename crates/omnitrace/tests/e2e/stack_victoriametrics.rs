//! Metrics by remote write: Prometheus sends every sample to VictoriaMetrics, which answers as Prometheus does, keeps what arrived over a
//! restart, and knows a budget of 30 days.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::catalogue::evaluated::expressions_in;
use crate::harness::{
    Directory, NativeStack, eventually, free_port, http, list, repository, spawn_tool,
    victoriametrics_arguments,
};
use crate::stack_outages::{Load, MEANWHILE};

const PROMETHEUS: &str = "prometheus:9090";
const VICTORIAMETRICS: &str = "victoriametrics:8428";

#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh: just test-stack"]
async fn victoriametrics_has_every_sample_after_a_restart_and_the_slo_dashboard_reads_the_same() {
    let mut native = NativeStack::builder()
        .victoriametrics()
        .without(&[
            "loki",
            "jaeger",
            "collector",
            "alertmanager",
            "blackbox",
            "postgres-exporter",
        ])
        .start()
        .await;
    let sku = native.stack.sku().await;
    let load = Load::start(native.stack.url("gateway"), sku);
    load.more(MEANWHILE).await;
    native.terminate("victoriametrics").await;
    load.more(MEANWHILE).await;
    let sending = "increase(prometheus_remote_storage_samples_retried_total[2m]) > 0";
    eventually("Prometheus could not send", async || {
        let retried = native.prometheus_query(sending).await;
        (!retried.is_empty()).then_some(())
    })
    .await;
    native.restart("victoriametrics").await;
    load.more(MEANWHILE).await;
    eventually("a budget is recorded", async || {
        let budgets = native.prometheus_query("slo:error_budget:remaining").await;
        (!budgets.is_empty()).then_some(())
    })
    .await;
    load.stop().await;
    let time = now();
    sent_until(&native, time).await;
    every_sample_arrived(&native, time).await;
    the_dashboard_reads_the_same(&native, time).await;
}

fn now() -> f64 {
    chrono::Utc::now().timestamp_millis() as f64 / 1e3
}

/// Waits until Prometheus has sent on everything that is older than this.
async fn sent_until(native: &NativeStack, time: f64) {
    let name = "prometheus_remote_storage_queue_highest_sent_timestamp_seconds";
    eventually("every sample is sent on", async || {
        let scrape = native.scrape_part(PROMETHEUS).await;
        let sent = scrape.value(name, &[("remote_name", "long-term")])?;
        // Several senders share the series, and each sends within five seconds.
        (sent > time + 20.0).then_some(())
    })
    .await;
}

async fn every_sample_arrived(native: &NativeStack, time: f64) {
    for selector in [
        "{job=\"services\"}",
        "{__name__=~\"(slo|release|service):.+|ALERTS|ALERTS_FOR_STATE\"}",
    ] {
        let expression = format!("{selector}[1h]");
        let here = samples(&native.promql_at(PROMETHEUS, &expression, time).await);
        let there = samples(&native.promql_at(VICTORIAMETRICS, &expression, time).await);
        assert!(here.len() > 50, "{selector}: {} series", here.len());
        for (labels, samples) in &here {
            let other = there.get(labels).map_or(&[][..], Vec::as_slice);
            let same = |(one, other): (&(i64, f64), &(i64, f64))| {
                one.0 == other.0 && is_close(one.1, other.1)
            };
            let all = samples.len() == other.len() && samples.iter().zip(other).all(same);
            assert!(all, "{labels}: {samples:?} and {other:?}");
        }
        assert_eq!(here.len(), there.len(), "{selector}");
    }
}

/// To one part in a million: VictoriaMetrics rounds.
fn is_close(one: f64, other: f64) -> bool {
    one == other || one.is_nan() && other.is_nan() || (one - other).abs() <= 1e-6 * one.abs()
}

/// The labels of a series as a text. Whatever leaves Prometheus has its external label, too.
fn labels_of(series: &Value) -> String {
    let labels = series["metric"].as_object().expect("labels");
    let own = |(name, _): &(&String, &Value)| *name != "deployment_environment_name";
    let sorted: BTreeMap<_, _> = labels.iter().filter(own).collect();
    format!("{sorted:?}")
}

/// Milliseconds and values of each series, without the marks that it has ended.
fn samples(matrix: &Value) -> BTreeMap<String, Vec<(i64, f64)>> {
    let sample = |sample: &Value| {
        let value = sample[1].as_str()?.parse::<f64>().ok()?;
        let time = (sample[0].as_f64()? * 1e3).round() as i64;
        (!value.is_nan()).then_some((time, value))
    };
    let of = |series: &Value| {
        let samples = list(&series["values"]);
        (
            labels_of(series),
            samples.iter().filter_map(sample).collect(),
        )
    };
    let series = list(matrix);
    let series = series.iter().map(of);
    let with_samples = series.filter(|(_, samples): &(_, Vec<_>)| !samples.is_empty());
    with_samples.collect()
}

/// Every expression of dashboards/slo.json: the same series, and the same values to one part in a million.
async fn the_dashboard_reads_the_same(native: &NativeStack, time: f64) {
    let text = std::fs::read_to_string(repository("dashboards/slo.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let mut expressions = Vec::new();
    expressions_in(&dashboard, &mut expressions);
    assert!(expressions.len() > 10, "{expressions:#?}");
    let mut answered = 0;
    for expression in expressions {
        let expression = expression.replace("$service", ".*");
        let here = vector(&native.promql_at(PROMETHEUS, &expression, time).await);
        let there = vector(&native.promql_at(VICTORIAMETRICS, &expression, time).await);
        let labels = |vector: &BTreeMap<String, f64>| vector.keys().cloned().collect::<Vec<_>>();
        assert_eq!(labels(&here), labels(&there), "{expression}");
        for (labels, value) in &here {
            let other = there[labels];
            assert!(
                is_close(*value, other),
                "{expression}: {labels}: {value} and {other}"
            );
        }
        answered += usize::from(!here.is_empty());
    }
    assert!(answered > 6, "only {answered} expressions have an answer");
}

fn vector(result: &Value) -> BTreeMap<String, f64> {
    let samples = list(result).into_iter().map(|sample| {
        let value = sample["value"][1].as_str().unwrap_or_default().to_owned();
        (labels_of(&sample), value.parse().expect("a number"))
    });
    samples.collect()
}

/// How often the production profile records what a budget is made of.
const STEP: i64 = 120;
const DAY: i64 = 86_400;

/// Requests and bad requests per second: each of 30 days has other ones, so a budget that misses a day is another budget.
fn rates(day: i64) -> (f64, f64) {
    let all = 10.0 + day as f64;
    (all, all * 0.0001 * (1 + day % 7) as f64)
}

#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh: just test-stack"]
async fn thirty_days_in_victoriametrics_give_the_budget_and_older_data_are_gone() {
    let directory = Directory::new();
    let listen = format!("127.0.0.1:{}", free_port());
    let data = directory.path().display().to_string();
    let _engine = spawn_tool(
        "victoriametrics",
        &victoriametrics_arguments(&listen, &data),
        &[],
    );
    let client = http();
    eventually("VictoriaMetrics is ready", async || {
        let health = client.get(format!("http://{listen}/health")).send().await;
        health.ok()?.status().is_success().then_some(())
    })
    .await;

    let now = chrono::Utc::now().timestamp() / STEP * STEP;
    let labels = json!({"slo": "availability", "service_name": "shop", "http_route": "/"});
    let times: Vec<i64> = (1..=36 * DAY / STEP)
        .map(|step| now - 36 * DAY + step * STEP)
        .collect();
    let of_day = |time: &i64| rates((now - time) / DAY);
    let (all, bad): (Vec<f64>, Vec<f64>) = times.iter().map(of_day).unzip();
    let objective = (vec![0.999], vec![now]);
    let mut lines = String::new();
    for (name, values, times) in [
        ("slo:events:rate", &all, &times),
        ("slo:bad_events:rate", &bad, &times),
        ("slo:objective:ratio", &objective.0, &objective.1),
    ] {
        let mut metric = labels.clone();
        metric["__name__"] = name.into();
        let milliseconds: Vec<i64> = times.iter().map(|time| time * 1_000).collect();
        let line = json!({"metric": metric, "values": values, "timestamps": milliseconds});
        lines += &format!("{line}\n");
    }
    let import = client
        .post(format!("http://{listen}/api/v1/import"))
        .body(lines);
    let answer = import.send().await.expect("an answer");
    assert!(answer.status().is_success(), "{answer:?}");

    let ask = async |expression: &str, time: i64| {
        let parameters = [
            ("query", expression),
            ("time", &time.to_string()),
            ("nocache", "1"),
        ];
        let url = url::Url::parse_with_params(&format!("http://{listen}/api/v1/query"), parameters);
        let answer = client
            .get(url.expect("a URL"))
            .send()
            .await
            .expect("an answer");
        let answer: Value = answer.json().await.expect("JSON");
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        let value = answer["data"]["result"][0]["value"][1].as_str()?;
        value.parse::<f64>().ok()
    };
    // The rule of the production profile, and the formula of docs/SLO.md.
    let in_period = |time: &&i64| **time > now - 30 * DAY;
    let (requests, failures) = times
        .iter()
        .filter(in_period)
        .map(of_day)
        .fold((0.0, 0.0), |(requests, failures), (all, bad)| {
            (requests + all, failures + bad)
        });
    let expected = 1.0 - failures / requests / (1.0 - 0.999);
    let budget = recorded("slo:error_budget:remaining");
    eventually("the budget is that of 30 days", async || {
        let found = ask(&budget, now).await?;
        ((found - expected).abs() < 1e-6).then_some(())
    })
    .await;
    let covered = ask(&recorded("slo:error_budget:covered_seconds"), now).await;
    assert_eq!(covered, Some(30.0 * DAY as f64));

    // Retention: 34 days ago is there, and what is older than 35 days is not.
    assert!(ask("slo:events:rate", now - 34 * DAY).await.is_some());
    assert_eq!(ask("slo:events:rate", now - 35 * DAY - DAY / 2).await, None);
}

/// What a rule of the production profile evaluates.
fn recorded(name: &str) -> String {
    let text = std::fs::read_to_string(repository("alerts/rules/production.yml")).expect("rules");
    let rules: Value = serde_saphyr::from_str(&text).expect("YAML");
    let groups = list(&rules["groups"]);
    let mut rules = groups.iter().flat_map(|group| list(&group["rules"]));
    let rule = rules.find(|rule| rule["record"] == name).expect("a rule");
    rule["expr"].as_str().expect("an expression").to_owned()
}

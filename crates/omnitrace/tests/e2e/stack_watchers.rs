//! Rules that watch the watchers: what they read is there, on the standard stack. A rule about a metric that nobody has is silent for ever.
//!
//! That each fires when it should, and not before, is in `alerts/tests/watchers.yml`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::catalogue::{Known, names_of};
use crate::harness::{DEADLINE, NativeStack, eventually, list, repository};
use crate::stack_metrics::send_some;

/// What they read and nothing here says, and why.
const NOT_HERE: [(&str, &str); 1] = [("loki_discarded_samples_total", "no Loki runs in the tests")];

/// Metrics of other programs in the causes with `watches`; those of this project's own are declared in its code.
fn read_by_watchers() -> BTreeSet<String> {
    let text = std::fs::read_to_string(repository("alerts/causes.toml")).expect("causes.toml");
    let causes: toml::Table = text.parse().expect("TOML");
    let known = Known::read();
    let others: BTreeSet<&String> = known.third_party().collect();
    let causes = causes["cause"].as_array().expect("causes");
    let watchers = causes.iter().filter(|cause| cause.get("watches").is_some());
    watchers
        .flat_map(|cause| {
            let expr = cause["expr"].as_str().expect("PromQL");
            names_of(
                &known,
                &expr
                    .replace("<window>", "1m")
                    .replace("<memory>", "24m")
                    .replace("<period_seconds>", "172800"),
            )
        })
        .filter(|name| others.contains(name))
        .collect()
}

async fn missing(native: &NativeStack, names: &BTreeSet<String>) -> Vec<String> {
    let mut missing = Vec::new();
    for name in names {
        if native.prometheus_query(name).await.is_empty() {
            missing.push(name.clone());
        }
    }
    missing
}

#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh: just test-stack"]
async fn every_metric_that_watches_the_watchers_exists() {
    let mut names = read_by_watchers();
    for (name, _) in NOT_HERE {
        assert!(names.remove(name), "no watcher reads {name} any more");
    }
    assert!(names.len() > 15, "{names:?}");
    let native = NativeStack::builder()
        .overlay("production.yaml")
        .start()
        .await;
    // The collector counts metric points once it has seen some.
    send_some(&native).await;
    let start = Instant::now();
    loop {
        native.stack.get_data().await;
        let missing = missing(&native, &names).await;
        if missing.is_empty() {
            break;
        }
        assert!(start.elapsed() < 2 * DEADLINE, "nobody says {missing:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    for (name, why) in NOT_HERE {
        let found = native.prometheus_query(name).await;
        assert!(
            found.is_empty(),
            "{name} is found after all, so no exception: {why}"
        );
    }
}

/// Every rule of every group, once all have been evaluated.
async fn evaluated(native: &NativeStack) -> Vec<Value> {
    let url = native.url("prometheus:9090") + "/api/v1/rules";
    eventually("every rule is evaluated", async || {
        let answer = native.stack.client.get(&url).send().await.ok()?;
        let answer: Value = answer.json().await.ok()?;
        let groups = list(&answer["data"]["groups"]);
        let rules: Vec<Value> = groups
            .iter()
            .flat_map(|group| list(&group["rules"]))
            .collect();
        let is_done = rules.len() > 90 && rules.iter().all(|rule| rule["health"] != "unknown");
        is_done.then_some(rules)
    })
    .await
}

/// Two series where one is expected, or with the same labels after a function: nothing but real series shows that.
#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh: just test-stack"]
async fn no_rule_fails_on_what_the_stack_says() {
    let native = NativeStack::builder()
        .overlay("production.yaml")
        .start()
        .await;
    native.stack.get_data().await;
    let failing = evaluated(&native).await;
    let failing = failing.iter().filter(|rule| rule["health"] != "ok");
    let failing: Vec<String> = failing
        .map(|rule| format!("{}: {}", rule["name"], rule["lastError"]))
        .collect();
    assert_eq!(failing, [] as [String; 0]);
}

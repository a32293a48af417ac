//! Rules that watch the watchers: what they read is there, on the standard stack. A rule about a metric that nobody has is silent for ever.
//! And who watches is missed: each is killed, or hangs, and somebody is told.
//!
//! That each rule fires when it should, and not before, is in `alerts/tests/watchers.yml` and `pipeline.yml`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::catalogue::{Known, names_of};
use crate::harness::{
    Capture, DEADLINE, Directory, NativeStack, Signal, eventually, list, repository,
};
use crate::herald::{Herald, arrived};
use crate::stack_alertmanager_config::rendered;
use crate::stack_metrics::send_some;

/// What they read and nothing here says, and why.
const NOT_HERE: [(&str, &str); 2] = [
    ("loki_discarded_samples_total", "no Loki runs in the tests"),
    (
        "otelcol_loadbalancer_backend_outcome_total",
        "one tier of collectors: `stack_tiers` has two",
    ),
];

/// Metrics of other programs in the rules that watch; those of this project's own are declared in its code.
fn read_by_watchers() -> BTreeSet<String> {
    let text = std::fs::read_to_string(repository("alerts/rules/demo.yml")).expect("rules");
    let rules: Value = serde_saphyr::from_str(&text).expect("YAML");
    let known = Known::read();
    let others: BTreeSet<&String> = known.third_party().collect();
    let groups = list(&rules["groups"]).into_iter();
    let watchers = groups.filter(|group| group["name"] == "watchers");
    watchers
        .flat_map(|group| list(&group["rules"]))
        .flat_map(|rule| names_of(&known, rule["expr"].as_str().expect("PromQL")))
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
        .victoriametrics()
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
pub(crate) async fn evaluated(native: &NativeStack) -> Vec<Value> {
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

/// Part, what a notification calls it, and whether it ends or hangs.
const PARTS: [(&str, &str, Signal); 6] = [
    ("collector", "otel-collector", Signal::SIGKILL),
    ("jaeger", "jaeger", Signal::SIGSTOP),
    ("loki", "loki", Signal::SIGKILL),
    ("blackbox", "blackbox", Signal::SIGSTOP),
    ("postgres-exporter", "postgres", Signal::SIGKILL),
    ("probe", "probe", Signal::SIGSTOP),
];

/// docs/SLO.md: in the demo profile half a minute until it counts, as long for others of its kind, and two looks at it.
const TOLD_WITHIN: Duration = Duration::from_secs(90);

/// The alert that always fires is sent once per minute.
const BEAT: Duration = Duration::from_secs(60);

/// Waits until a notification has named each of these, from the moment of its trouble on.
async fn told(people: &Capture, mut since: BTreeMap<&str, Instant>) {
    while !since.is_empty() {
        for request in people.take() {
            for alert in list(&request.json()["alerts"]) {
                let service = alert["labels"]["service"].as_str().unwrap_or_default();
                if let Some(at) = since.remove(service) {
                    let name = &alert["labels"]["alertname"];
                    eprintln!(
                        "{service}: {name} after {:.0} s",
                        at.elapsed().as_secs_f64()
                    );
                }
            }
        }
        for (service, at) in &since {
            assert!(at.elapsed() < TOLD_WITHIN, "nobody is told of {service}");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh: just test-stack"]
async fn whoever_watches_is_missed() {
    let (people, outside) = (
        Capture::answering(&json!({})),
        Capture::answering(&json!({})),
    );
    let (state, files) = (Directory::new(), Directory::new());
    let (webhook_url, watchdog_url) = (people.url(), outside.url());
    let receivers = [
        ("webhook_url", &*webhook_url),
        ("watchdog_url", &watchdog_url),
    ];
    let herald = Herald::start(state.path(), &[]).await;
    let at = format!("127.0.0.1:{}", herald.port());
    let url = format!("http://{at}");
    let config = rendered(files.path(), &receivers, Some(&url)).await;
    let native = NativeStack::builder().alertmanager(config).herald(&at);
    let mut native = native.start().await;
    let page = native.stack.url("gateway") + "/health";
    native.probe("page", &page, "http_2xx");
    eventually("Prometheus scrapes all of them", async || {
        let up = native.prometheus_sum("sum(up)").await;
        let all = native.prometheus_sum("count(up)").await;
        (up == all && all > 11.0).then_some(())
    })
    .await;
    arrived(&outside, 1).await;

    let mut since = BTreeMap::new();
    for (part, name, signal) in PARTS {
        match signal {
            Signal::SIGKILL => native.kill(part).await,
            _ => native.signal(part, signal),
        }
        since.insert(name, Instant::now());
    }
    told(&people, since).await;
    for (part, _, signal) in PARTS {
        if signal == Signal::SIGSTOP {
            native.signal(part, Signal::SIGCONT);
        }
    }

    drop(herald);
    told(&people, BTreeMap::from([("herald", Instant::now())])).await;

    outside.take();
    arrived(&outside, 1).await;
    native.kill("alertmanager").await;
    outside.take();
    // What a dead man's switch does: it waits for longer than from one beat to the next.
    tokio::time::sleep(BEAT * 3 / 2).await;
    assert_eq!(outside.take().len(), 0, "Alertmanager is dead");
}

/// docs/SLO.md: Alertmanager keeps what Prometheus has sent for four intervals of the rule, 5 s each in the demo profile; and what the machine takes.
const KEPT: Duration = Duration::from_secs(30);

/// Waits until Alertmanager has no alert that fires.
async fn nothing_fires(native: &NativeStack, since: Instant) {
    let url = native.url("alertmanager:9093") + "/api/v2/alerts?active=true";
    eventually("Alertmanager forgets what fired", async || {
        let answer = native.stack.client.get(&url).send().await.ok()?;
        let alerts: Value = answer.json().await.ok()?;
        list(&alerts).is_empty().then_some(())
    })
    .await;
    let after = since.elapsed();
    eprintln!("nothing fires after {:.0} s", after.as_secs_f64());
    assert!(after < KEPT, "{after:?}");
}

/// A switch that waits for two minutes bears one beat that is late, if they come once per minute.
async fn beats_once_a_minute(way: &Capture) {
    way.take();
    arrived(way, 1).await;
    way.take();
    let last = Instant::now();
    arrived(way, 1).await;
    assert!(last.elapsed() < BEAT * 3 / 2, "{:?}", last.elapsed());
}

/// The alert that always fires goes two ways, and both are silent.
#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh: just test-stack"]
async fn a_prometheus_that_hangs_or_is_dead_is_missed() {
    let beats = [(); 2].map(|()| Capture::answering(&json!({})));
    let [by_herald, around] = beats.each_ref().map(Capture::url);
    let (state, files) = (Directory::new(), Directory::new());
    let herald = Herald::start(state.path(), &[("HERALD_WATCHDOG_URL", &by_herald)]).await;
    let url = format!("http://127.0.0.1:{}", herald.port());
    let config = rendered(files.path(), &[("watchdog_url", &around)], Some(&url)).await;
    let native = NativeStack::builder().alertmanager(config).without(&[
        "loki",
        "jaeger",
        "collector",
        "postgres-exporter",
        "blackbox",
        "probe",
    ]);
    let mut native = native.start().await;
    beats_once_a_minute(&beats[1]).await;
    for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
        for way in &beats {
            arrived(way, 1).await;
        }
        let since = Instant::now();
        match signal {
            Signal::SIGKILL => native.kill("prometheus").await,
            _ => native.signal("prometheus", signal),
        }
        nothing_fires(&native, since).await;
        // What was on its way.
        let soon = Duration::from_secs(1);
        tokio::time::sleep(soon).await;
        let _ = beats.each_ref().map(Capture::take);
        tokio::time::sleep(BEAT + soon).await;
        assert_eq!(beats.each_ref().map(|way| way.take().len()), [0, 0]);
        if signal == Signal::SIGSTOP {
            native.signal("prometheus", Signal::SIGCONT);
        }
    }
}

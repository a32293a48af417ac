//! Two targets, one of them flaky, and herald killed again and again: nothing is lost, and every group arrives in order.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use regex::Regex;
use serde_json::{Value, json};

use super::{Herald, alert, arrived, queued};
use crate::harness::{Capture, Captured, Signal, eventually_now, http};

/// Two stand-ins for targets.
struct Targets {
    slack: Capture,
    webhook: Capture,
    urls: [String; 2],
}

impl Targets {
    fn new() -> Self {
        let [slack, webhook] = [(); 2].map(|()| Capture::answering(&json!({})));
        let urls = [slack.url(), webhook.url()];
        Self {
            slack,
            webhook,
            urls,
        }
    }

    async fn herald(&self, state: &std::path::Path) -> Herald {
        let [slack, webhook] = &self.urls;
        let settings = [
            ("HERALD_SLACK_WEBHOOK_URL", slack.as_str()),
            ("HERALD_WEBHOOK_URL", webhook),
        ];
        Herald::start(state, &settings).await
    }
}

#[tokio::test]
async fn killed_between_the_files_of_two_targets_it_delivers_the_repeated_request_to_both() {
    let (state, targets) = (tempfile::tempdir().unwrap(), Targets::new());
    targets.slack.answer_with(503);
    targets.webhook.answer_with(503);
    let mut herald = targets.herald(state.path()).await;
    let firing = alert("ServiceDown", "firing");
    let key = herald.accepted(&firing).await;
    herald.kill().await;
    // The state that a kill after the first file leaves.
    std::fs::remove_file(&queued(state.path(), "queue", "webhook")[0]).unwrap();

    let mut herald = targets.herald(state.path()).await;
    assert_eq!(herald.accepted(&firing).await, key);
    targets.slack.answer_with(200);
    targets.webhook.answer_with(200);
    for (name, target) in [("slack", &targets.slack), ("webhook", &targets.webhook)] {
        herald
            .until("herald_queue_size", &[("target", name)], 0.0)
            .await;
        let delivered: Vec<Captured> = target
            .take()
            .into_iter()
            .filter(|request| request.answered == 200)
            .collect();
        let keys: Vec<_> = delivered
            .iter()
            .map(|request| request.header("idempotency-key"))
            .collect();
        assert_eq!(keys, [Some(key.clone())], "{name}");
    }
    assert!(herald.child.terminate().await.success());
}

#[tokio::test]
async fn a_group_that_fires_again_while_one_target_is_away_reaches_both_three_times() {
    let (state, targets) = (tempfile::tempdir().unwrap(), Targets::new());
    targets.slack.answer_with(503);
    let mut herald = targets.herald(state.path()).await;
    let firing = alert("ServiceDown", "firing");
    let mut keys = Vec::new();
    for payload in [&firing, &alert("ServiceDown", "resolved"), &firing] {
        let key = herald.accepted(payload).await;
        let request = arrived(&targets.webhook, 1).await.remove(0);
        assert_eq!(request.header("idempotency-key"), Some(key.clone()));
        herald
            .until("herald_queue_size", &[("target", "webhook")], 0.0)
            .await;
        keys.push(key);
    }
    targets.slack.answer_with(200);
    herald
        .until("herald_queue_size", &[("target", "slack")], 0.0)
        .await;
    let mut delivered = targets.slack.take();
    delivered.retain(|request| request.answered == 200);
    let delivered: Vec<_> = delivered
        .iter()
        .filter_map(|request| request.header("idempotency-key"))
        .collect();
    assert_eq!(delivered, keys);
    assert!(herald.child.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_kills_lose_nothing_and_change_no_order() {
    Storm::new(30, 10).survives(15).await;
}

/// Minutes: `cargo test -p omnitrace --test e2e two_thousand -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
async fn fifty_kills_during_two_thousand_alerts_lose_nothing_and_change_no_order() {
    Storm::new(100, 20).survives(50).await;
}

/// Groups of alerts that fire and resolve in turn.
struct Storm {
    groups: usize,
    each: usize,
    /// Where herald listens now.
    address: Arc<Mutex<String>>,
    accepted: Arc<AtomicUsize>,
    random: Random,
}

impl Storm {
    fn new(groups: usize, each: usize) -> Self {
        Self {
            groups,
            each,
            address: Arc::default(),
            accepted: Arc::default(),
            random: Random::new(),
        }
    }

    async fn survives(mut self, kills: usize) {
        let (state, targets) = (tempfile::tempdir().unwrap(), Arc::new(Targets::new()));
        let mut herald = targets.herald(state.path()).await;
        *self.address.lock().unwrap() = herald.url.clone();
        let flaky = tokio::spawn(flaky(targets.clone(), self.random.fork()));
        let senders: Vec<_> = (0..self.groups)
            .map(|group| {
                tokio::spawn(send(
                    group,
                    self.each,
                    self.address.clone(),
                    self.accepted.clone(),
                ))
            })
            .collect();
        for kill in 1..=kills {
            let share = self.groups * self.each * kill / (kills + 1);
            self.reached(share).await;
            // A random moment is the point; every other time one between the files of two targets.
            tokio::time::sleep(self.random.up_to(Duration::from_millis(60))).await;
            tokio::task::block_in_place(|| {
                if kill % 2 == 0 {
                    first_file(&state.path().join("queue/slack"));
                }
                herald.child.signal(Signal::SIGKILL);
            });
            herald.child.wait().await;
            herald = targets.herald(state.path()).await;
            *self.address.lock().unwrap() = herald.url.clone();
        }
        for sender in senders {
            sender.await.expect("a sender that got its 200s");
        }
        flaky.abort();
        targets.slack.answer_with(200);
        // A start tries everything at once, however long its last pause was.
        assert!(herald.child.terminate().await.success());
        let mut herald = targets.herald(state.path()).await;
        for (name, target) in [("slack", &targets.slack), ("webhook", &targets.webhook)] {
            herald
                .until("herald_queue_size", &[("target", name)], 0.0)
                .await;
            self.check(name, &target.take());
        }
        assert!(herald.child.terminate().await.success());
    }

    async fn reached(&self, share: usize) {
        let accepted = self.accepted.clone();
        let enough = || (accepted.load(Ordering::Acquire) >= share).then_some(());
        eventually_now(&format!("{share} alerts are accepted"), enough).await;
    }

    /// What arrived twice arrived before its successor.
    fn check(&self, name: &str, requests: &[Captured]) {
        let mark = Regex::new(r"G(\d+)-S(\d+)").unwrap();
        let mut arrived: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let taken = requests.iter().filter(|request| request.answered == 200);
        for request in taken {
            let text = String::from_utf8_lossy(&request.body);
            let found = mark.captures(&text).expect("the alert's name");
            let number = |index: usize| found[index].parse::<usize>().unwrap();
            arrived.entry(number(1)).or_default().push(number(2));
        }
        let total: usize = arrived.values().map(Vec::len).sum();
        eprintln!(
            "{name}: {total} deliveries of {} alerts",
            self.groups * self.each
        );
        for group in 0..self.groups {
            let mut steps = arrived.remove(&group).unwrap_or_default();
            assert!(steps.is_sorted(), "{name}, group {group}: {steps:?}");
            steps.dedup();
            let all: Vec<usize> = (0..self.each).collect();
            assert_eq!(steps, all, "{name}, group {group}");
        }
    }
}

/// Sends like Alertmanager: the notifications of a group in turn, each until herald answers 200.
async fn send(group: usize, each: usize, address: Arc<Mutex<String>>, accepted: Arc<AtomicUsize>) {
    for step in 0..each {
        let payload = step_of(group, step);
        let mut progress = (0, Instant::now());
        while !taken(&address, &payload).await {
            // Which client gets its turn is random; that one gets it is not.
            let all = accepted.load(Ordering::Acquire);
            if all != progress.0 {
                progress = (all, Instant::now());
            }
            assert!(
                progress.1.elapsed() < crate::harness::DEADLINE,
                "group {group}, step {step}: {all} are accepted, and no more"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        accepted.fetch_add(1, Ordering::Release);
    }
}

/// Waits until a notification is on disk for the first of the targets. The other's file needs two more flushes of the disk.
fn first_file(directory: &std::path::Path) {
    let names = || -> BTreeSet<OsString> {
        let entries = std::fs::read_dir(directory).expect("a directory");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        names
            .filter(|name| name.to_string_lossy().ends_with(".json"))
            .collect()
    };
    let (before, start) = (names(), Instant::now());
    while names().is_subset(&before) && start.elapsed() < Duration::from_secs(1) {}
}

fn step_of(group: usize, step: usize) -> Value {
    let status = ["firing", "resolved"][step % 2];
    let mut payload = alert(&format!("G{group}-S{step}"), status);
    payload["groupKey"] = json!(format!("G{group}"));
    payload
}

async fn taken(address: &Mutex<String>, payload: &Value) -> bool {
    let url = format!("{}/alerts", address.lock().unwrap());
    let answer = http().post(url).json(payload).send().await;
    answer.is_ok_and(|answer| answer.status() == 200)
}

/// Slack comes and goes.
async fn flaky(targets: Arc<Targets>, mut random: Random) {
    for status in [200, 503, 429, 503].into_iter().cycle() {
        targets.slack.answer_with(status);
        tokio::time::sleep(random.up_to(Duration::from_millis(300))).await;
    }
}

/// `SplitMix64`: the same seed gives the same kills, as far as the machine's timing allows.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let seed = std::env::var("HERALD_KILL_SEED").ok();
        let seed = seed.map(|seed| seed.parse().expect("HERALD_KILL_SEED: a whole number"));
        let seed = seed.unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0);
        eprintln!("HERALD_KILL_SEED={seed}");
        Self(seed)
    }

    fn fork(&mut self) -> Self {
        Self(self.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn up_to(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.next() as f64 / u64::MAX as f64)
    }
}

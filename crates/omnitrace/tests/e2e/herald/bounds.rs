//! What herald may take: memory, the room on the disk, the length of its queue.

use std::path::Path;
use std::process::Command;

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Herald, alert, queued};
use crate::harness::{Capture, eventually};

/// Half of what Compose gives it ([`deploy/compose.yaml`]), in MiB; the program's own pages, which the kernel can drop, are not counted.
const MEMORY: u64 = 24;

impl Herald {
    async fn ready(&self) -> (u16, Value) {
        let reply = self.api(Method::GET, "/ready", None).await;
        (reply.status, reply.json())
    }

    async fn until_ready(&self) {
        eventually("it is ready", async || {
            (self.ready().await.0 == 200).then_some(())
        })
        .await;
        assert_eq!(self.ready().await.1, json!({"ready": true, "reasons": []}));
    }
}

#[tokio::test]
async fn a_full_queue_makes_it_unready_until_there_is_room() {
    let state = tempfile::tempdir().unwrap();
    let webhook = Capture::answering(&json!({}));
    webhook.answer_with(503);
    let url = webhook.url();
    let settings = [
        ("HERALD_WEBHOOK_URL", url.as_str()),
        ("HERALD_QUEUE_LIMIT", "2"),
    ];
    let mut herald = Herald::start(state.path(), &settings).await;
    herald.until_ready().await;
    herald.accepted(&alert("ServiceDown", "firing")).await;
    herald.until_ready().await;
    herald.accepted(&alert("ProbeFailing", "firing")).await;
    let why = "2 notifications wait for webhook, as many as HERALD_QUEUE_LIMIT allows: herald's log says why webhook \
               does not take them; mend that, or raise the limit";
    let full = json!({"ready": false, "reasons": [why]});
    assert_eq!(herald.ready().await, (503, full));
    let refused = herald.post(&alert("LogStorm", "firing")).await;
    assert_eq!(refused.expect(503).json()["detail"], why);
    webhook.answer_with(200);
    herald.until_ready().await;
    assert!(herald.child.terminate().await.success());
}

/// The shell's limit on the size of a file stands in for a disk without room: a write goes as far as it can and fails.
#[tokio::test]
async fn what_the_disk_refuses_leaves_nothing_behind_and_smaller_ones_are_taken() {
    let state = tempfile::tempdir().unwrap();
    let webhook = Capture::answering(&json!({}));
    webhook.answer_with(503);
    let plain = Herald::command(state.path());
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 256; exec \"$0\" \"$@\""]);
    limited.arg(plain.get_program()).args(plain.get_args());
    limited.env("HERALD_WEBHOOK_URL", webhook.url());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    limited.env("HERALD_WEBHOOK_URL", webhook.url());
    let mut herald = Herald::of(limited).await;
    herald.until_ready().await;

    let mut large = alert("Large", "firing");
    for index in 0..60 {
        large["commonLabels"][format!("a{index}")] = "v".repeat(2000).into();
        large["commonAnnotations"][format!("a{index}")] = "v".repeat(2000).into();
        large["alerts"][0]["annotations"][format!("a{index}")] = "v".repeat(2000).into();
    }
    for _ in 0..2 {
        let refused = herald.post(&large).await.expect(503).json();
        let detail = refused["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("HERALD_STATE_DIR"), "{detail}");
        assert_eq!(
            queued(state.path(), "queue", "webhook"),
            [] as [std::path::PathBuf; 0]
        );
    }
    let (status, body) = herald.ready().await;
    let reason = body["reasons"][0].as_str().unwrap_or_default();
    assert!(
        status == 503 && reason.starts_with("the disk does not take notifications: "),
        "{body}"
    );
    let errors = herald
        .metric("herald_storage_errors_total", &[("operation", "write")])
        .await;
    assert!(errors >= 2.0, "{errors}");

    herald.accepted(&alert("Small", "firing")).await;
    herald.until_ready().await;
    assert_eq!(queued(state.path(), "queue", "webhook").len(), 1);
    assert!(herald.child.terminate().await.success());
}

/// 50 alerts, 65 KB.
fn large(group: usize) -> Value {
    let mut payload = alert("Many", "firing");
    payload["groupKey"] = json!(format!("group {group}"));
    let mut one = payload["alerts"][0].clone();
    one["annotations"] = json!({"summary": "s".repeat(400), "description": "d".repeat(600)});
    payload["alerts"] = vec![one; 50].into();
    payload
}

/// A queue with so many accepted groups.
fn fill(state: &Path, groups: usize) {
    let [first] = queued(state, "queue", "webhook").try_into().unwrap();
    let stored: Value = serde_json::from_slice(&std::fs::read(first).unwrap()).unwrap();
    for group in 1..groups {
        let mut stored = stored.clone();
        stored["payload"]["groupKey"] = large(group)["groupKey"].clone();
        let name = format!("{}.json", Uuid::now_v7());
        for target in ["slack", "webhook"] {
            std::fs::write(
                state.join("queue").join(target).join(&name),
                stored.to_string(),
            )
            .unwrap();
        }
    }
}

#[tokio::test]
async fn a_thousand_groups_that_wait_for_two_targets_fit_into_its_memory_after_a_restart_too() {
    let state = tempfile::tempdir().unwrap();
    let targets = [(); 2].map(|()| Capture::answering(&json!({})));
    for target in &targets {
        target.answer_with(503);
    }
    let urls = targets.each_ref().map(Capture::url);
    let settings = [
        ("HERALD_WEBHOOK_URL", urls[0].as_str()),
        ("HERALD_SLACK_WEBHOOK_URL", &urls[1]),
    ];
    let mut herald = Herald::start(state.path(), &settings).await;
    herald.accepted(&large(0)).await;
    herald.kill().await;
    fill(state.path(), 900);

    let mut herald = Herald::start(state.path(), &settings).await;
    for group in 900..1000 {
        herald.accepted(&large(group)).await;
    }
    for target in ["slack", "webhook"] {
        let labels = [("target", target)];
        assert_eq!(herald.metric("herald_queue_size", &labels).await, 1000.0);
        eventually("it tries to deliver many", async || {
            (herald
                .metric("herald_delivery_retries_total", &labels)
                .await
                >= 100.0)
                .then_some(())
        })
        .await;
    }
    let peak = (herald.child.peak_kib() - herald.child.file_kib()) / 1024;
    eprintln!("peak: {peak} MiB");
    assert!(peak <= MEMORY, "{peak} MiB");
    assert!(herald.child.terminate().await.success());
}

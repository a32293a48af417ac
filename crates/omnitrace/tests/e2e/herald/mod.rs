//! `omnitrace herald`: no alert is lost, whatever is sent and whoever is down.

mod access;
mod acknowledged;
mod blame;
mod bounds;
mod command;
mod dripping;
mod hanging;
mod heavy;
mod history;
mod hostile;
mod kills;
mod ledger;
mod left_behind;
mod locks;
mod measured;
mod releases;
mod restart;
mod settled;
mod setup;
mod silenced;
mod storm;
mod text;
mod watchdog;

use std::path::{Path, PathBuf};
use std::process::Command;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Capture, Captured, Child, Reply, Signal, eventually, http, omnitrace};

/// A running herald and its client.
pub struct Herald {
    child: Child,
    url: String,
    client: reqwest::Client,
}

impl Herald {
    /// `omnitrace herald` on a free port, free of the caller's own settings.
    pub fn command(state: &Path) -> Command {
        let mut command = omnitrace(["herald", "--listen", "127.0.0.1:0", "--state-dir"]);
        command
            .arg(state)
            .env("OTEL_SDK_DISABLED", "true")
            .env("NO_PROXY", "127.0.0.1");
        for name in [
            "PROMETHEUS_URL",
            "JAEGER_URL",
            "LOKI_URL",
            "GRAFANA_URL",
            "JAEGER_PUBLIC_URL",
            "RUNBOOKS_URL",
            "BACKEND_CERTIFICATE",
            "BACKEND_CLIENT_CERTIFICATE",
            "BACKEND_CLIENT_KEY",
            "HERALD_SLACK_WEBHOOK_URL",
            "HERALD_WEBHOOK_URL",
            "HERALD_WATCHDOG_URL",
            "HERALD_WATCHDOG_URL_FILE",
            "HERALD_SECRET",
            "HERALD_SECRET_FILE",
            "HERALD_TLS_CERTIFICATE",
            "HERALD_TLS_KEY",
            "HERALD_TLS_CLIENT_CA",
        ] {
            command.env_remove(name);
        }
        command
    }

    pub async fn start(state: &Path, settings: &[(&str, &str)]) -> Self {
        let mut command = Self::command(state);
        command.envs(settings.iter().copied());
        Self::of(command).await
    }

    async fn of(command: Command) -> Self {
        let mut child = Child::spawn("herald", command);
        let listening = child.listening().await;
        Self {
            child,
            url: format!("http://{}", listening.http_addr),
            client: http(),
        }
    }

    /// The port that it listens on.
    pub fn port(&self) -> &str {
        self.url.rsplit(':').next().unwrap_or_default()
    }

    /// SIGKILL, and its end.
    async fn kill(&mut self) {
        self.child.signal(Signal::SIGKILL);
        self.child.wait().await;
    }

    /// Asks it.
    pub async fn api(&self, method: Method, path: &str, body: Option<&Value>) -> Reply {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if let Some(body) = body {
            request = request.json(body);
        }
        Reply::read(request.send().await.expect("an answer")).await
    }

    async fn post(&self, payload: &Value) -> Reply {
        self.api(Method::POST, "/alerts", Some(payload)).await
    }

    /// Sends a notification and returns its key.
    pub async fn accepted(&self, payload: &Value) -> String {
        let reply = self.post(payload).await.expect(200).json();
        reply["key"].as_str().expect("a key").to_owned()
    }

    async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let reply = self.api(Method::GET, "/metrics", None).await.expect(200);
        let scrape = crate::harness::Scrape::parse("text/plain", reply.body.clone());
        scrape
            .value(name, labels)
            .unwrap_or_else(|| panic!("no {name} {labels:?} in {}", reply.body))
    }

    async fn until(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        eventually(&format!("{name} {labels:?} is {value}"), async || {
            (self.metric(name, labels).await == value).then_some(())
        })
        .await;
    }
}

/// What Alertmanager sends about one alert.
pub fn alert(name: &str, status: &str) -> Value {
    let now = chrono::Utc::now();
    let labels = json!({"alertname": name, "service": "gateway", "severity": "page", "team": "shop", "route": "/api/data"});
    json!({
        "version": "4", "groupKey": format!("{{}}:{{alertname=\"{name}\"}}"), "truncatedAlerts": 0, "status": status,
        "receiver": "herald", "groupLabels": {"alertname": name}, "commonLabels": labels,
        "commonAnnotations": {"summary": "users see errors", "runbook_url": "https://example.org/runbooks/A.md"},
        "externalURL": "http://alertmanager.example:9093",
        "alerts": [{"status": status, "labels": labels, "annotations": {}, "startsAt": now,
                    "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "", "fingerprint": "f"}]
    })
}

fn queued(state: &Path, kind: &str, target: &str) -> Vec<PathBuf> {
    let directory = state.join(kind).join(target);
    std::fs::read_dir(directory)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

/// Waits for the next requests to a stand-in.
pub async fn arrived(target: &Capture, count: usize) -> Vec<Captured> {
    let mut all = Vec::new();
    eventually(&format!("{count} requests arrive"), async || {
        all.extend(target.take());
        (all.len() >= count).then_some(())
    })
    .await;
    all
}

#[tokio::test]
async fn a_notification_arrives_and_says_which_evidence_is_missing() {
    let state = tempfile::tempdir().unwrap();
    let (webhook, slack) = (
        Capture::answering(&json!({})),
        Capture::answering(&json!("ok")),
    );
    let settings = [
        ("HERALD_WEBHOOK_URL", webhook.url()),
        ("HERALD_SLACK_WEBHOOK_URL", slack.url()),
    ];
    let settings = settings.each_ref().map(|(name, url)| (*name, url.as_str()));
    let mut herald = Herald::start(state.path(), &settings).await;
    let key = herald
        .accepted(&alert("AvailabilityBurnRate", "firing"))
        .await;

    let request = arrived(&webhook, 1).await.remove(0);
    assert_eq!(
        (request.method.as_str(), request.header("idempotency-key")),
        ("POST", Some(key.clone()))
    );
    let body = request.json();
    assert_eq!(
        (&body["key"], &body["status"]),
        (&json!(key), &json!("firing"))
    );
    assert_eq!(
        body["title"],
        "[page] AvailabilityBurnRate: gateway /api/data"
    );
    assert_eq!(
        body["links"]["runbook"],
        "https://example.org/runbooks/A.md"
    );
    let missing = body["evidence"]["missing"].as_array().unwrap();
    let reasons: Vec<&str> = missing
        .iter()
        .map(|missing| missing["reason"].as_str().unwrap())
        .collect();
    assert_eq!(
        reasons,
        [
            "PROMETHEUS_URL is not set",
            "JAEGER_URL is not set",
            "LOKI_URL is not set"
        ]
    );

    // The rule declares nothing: without evidence the alert's service is all that is known.
    let why = "users see errors; evidence from prometheus, jaeger, loki is missing";
    let first = format!("Look at gateway (https://example.org/runbooks/A.md): {why}.");
    assert_eq!(
        body["diagnosis"],
        json!({
            "causes": [{"service": "gateway", "dependency": null, "kind": "unknown", "why": why}],
            "first_action": {"do": "look_at", "target": "gateway", "why": why, "text": first}
        })
    );

    let message = arrived(&slack, 1).await.remove(0).json().to_string();
    for part in [
        "*First* Look at gateway: users see errors",
        "<https://example.org/runbooks/A.md|Page>",
        "• gateway: unknown, users see errors",
        "users see errors",
        "JAEGER_URL is not set",
        "<https://example.org/runbooks/A.md|Runbook>",
        &key,
    ] {
        assert!(message.contains(part), "{part} in {message}");
    }
    for target in ["slack", "webhook"] {
        herald
            .until(
                "herald_notifications_total",
                &[("target", target), ("outcome", "delivered")],
                1.0,
            )
            .await;
        herald
            .until("herald_queue_size", &[("target", target)], 0.0)
            .await;
        assert_eq!(queued(state.path(), "queue", target), [] as [PathBuf; 0]);
    }
    assert_eq!(
        herald
            .metric("herald_evidence_missing_total", &[("backend", "loki")])
            .await,
        1.0
    );
    assert!(herald.child.terminate().await.success());
}

#[tokio::test]
async fn killed_after_it_accepted_it_delivers_after_the_restart_under_the_same_key_and_once() {
    let state = tempfile::tempdir().unwrap();
    let webhook = Capture::answering(&json!({}));
    webhook.answer_with(503);
    let settings = [("HERALD_WEBHOOK_URL", webhook.url())];
    let settings = settings.each_ref().map(|(name, url)| (*name, url.as_str()));
    let mut herald = Herald::start(state.path(), &settings).await;
    let firing = alert("ServiceDown", "firing");
    let key = herald.accepted(&firing).await;
    // Alertmanager did not hear the answer and asks again: still one notification.
    assert_eq!(herald.accepted(&firing).await, key);
    arrived(&webhook, 1).await;
    herald.kill().await;
    assert_eq!(queued(state.path(), "queue", "webhook").len(), 1);

    webhook.take();
    webhook.answer_with(200);
    let mut herald = Herald::start(state.path(), &settings).await;
    herald
        .until(
            "herald_notifications_total",
            &[("target", "webhook"), ("outcome", "delivered")],
            1.0,
        )
        .await;
    let request = webhook.take_one();
    assert_eq!(request.header("idempotency-key"), Some(key.clone()));
    assert_eq!(
        request.json()["title"],
        "[page] ServiceDown: gateway /api/data"
    );
    assert!(herald.child.terminate().await.success());

    // Nothing is left to be sent again; the same alert, sent anew, is a new notification.
    let mut herald = Herald::start(state.path(), &settings).await;
    assert_ne!(herald.accepted(&firing).await, key);
    herald
        .until(
            "herald_notifications_total",
            &[("target", "webhook"), ("outcome", "delivered")],
            1.0,
        )
        .await;
    webhook.take_one();
    assert!(herald.child.terminate().await.success());
}

#[tokio::test]
async fn a_target_that_is_away_for_a_while_gets_everything_in_order() {
    let state = tempfile::tempdir().unwrap();
    let webhook = Capture::answering(&json!({}));
    webhook.answer_with(429);
    let settings = [("HERALD_WEBHOOK_URL", webhook.url())];
    let settings = settings.each_ref().map(|(name, url)| (*name, url.as_str()));
    let mut herald = Herald::start(state.path(), &settings).await;
    let mut keys = Vec::new();
    for status in ["firing", "resolved"] {
        keys.push(herald.accepted(&alert("LatencyBurnRate", status)).await);
    }
    let retries = [("target", "webhook")];
    eventually("it tries again", async || {
        (herald
            .metric("herald_delivery_retries_total", &retries)
            .await
            >= 2.0)
            .then_some(())
    })
    .await;
    let before = webhook.take();
    assert!(
        before
            .iter()
            .all(|request| request.header("idempotency-key").as_ref() == Some(&keys[0])),
        "{before:?}"
    );
    webhook.answer_with(200);
    let after: Vec<String> = arrived(&webhook, 2)
        .await
        .iter()
        .filter_map(|request| request.header("idempotency-key"))
        .collect();
    assert_eq!(after, keys, "the end does not overtake the beginning");
    assert!(herald.child.terminate().await.success());
}

#[tokio::test]
async fn what_a_target_refuses_for_good_is_kept_aside_and_holds_nothing_up() {
    let state = tempfile::tempdir().unwrap();
    let webhook = Capture::answering(&json!({}));
    webhook.answer_with(403);
    let url = format!("{}/hook/s3cret-part", webhook.url());
    let mut herald = Herald::start(state.path(), &[("HERALD_WEBHOOK_URL", &url)]).await;
    let key = herald.accepted(&alert("ProbeFailing", "firing")).await;
    herald
        .until(
            "herald_notifications_total",
            &[("target", "webhook"), ("outcome", "failed")],
            1.0,
        )
        .await;
    herald
        .until("herald_failed_notifications", &[("target", "webhook")], 1.0)
        .await;
    assert_eq!(webhook.take().len(), 1, "not tried again");
    let [kept] = queued(state.path(), "failed", "webhook")
        .try_into()
        .unwrap();
    assert_eq!(kept.file_stem().unwrap().to_str(), Some(key.as_str()));

    webhook.answer_with(200);
    herald.accepted(&alert("ServiceDown", "firing")).await;
    assert_eq!(arrived(&webhook, 1).await[0].target, "/hook/s3cret-part");
    // docs/HERALD.md: after the file was moved back, the next start delivers it.
    assert!(herald.child.terminate().await.success());
    assert!(
        !herald.child.output().contains("s3cret-part"),
        "the token stays out of the log"
    );
    std::fs::rename(
        &kept,
        state
            .path()
            .join("queue/webhook")
            .join(kept.file_name().unwrap()),
    )
    .unwrap();
    let mut herald = Herald::start(state.path(), &[("HERALD_WEBHOOK_URL", &url)]).await;
    assert_eq!(
        arrived(&webhook, 1).await[0].header("idempotency-key"),
        Some(key)
    );
    assert!(herald.child.terminate().await.success());
}

#[tokio::test]
async fn a_full_queue_says_so_and_a_second_herald_is_refused() {
    let state = tempfile::tempdir().unwrap();
    let webhook = Capture::answering(&json!({}));
    webhook.answer_with(500);
    let url = webhook.url();
    let mut herald = Herald::start(
        state.path(),
        &[("HERALD_WEBHOOK_URL", &url), ("HERALD_QUEUE_LIMIT", "1")],
    )
    .await;
    herald.accepted(&alert("ServiceDown", "firing")).await;
    let refused = herald
        .post(&alert("ProbeFailing", "firing"))
        .await
        .expect(503);
    assert_eq!(refused.header("content-type"), "application/problem+json");
    assert_eq!(
        herald
            .metric(
                "herald_notifications_received_total",
                &[("outcome", "unavailable")]
            )
            .await,
        1.0
    );

    let mut second = Child::spawn("second", Herald::command(state.path()));
    assert!(!second.wait().await.success());
    assert!(
        second.output().contains("another herald uses"),
        "{}",
        second.output()
    );
    assert!(herald.child.terminate().await.success());
}

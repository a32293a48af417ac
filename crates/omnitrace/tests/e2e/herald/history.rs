//! The history of alerts: what became of each, through kills, damage and too much.

use std::path::{Path, PathBuf};

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::setup::Case;
use super::{Herald, alert, arrived};
use crate::harness::{Reply, eventually};

impl Herald {
    pub async fn get(&self, path: &str) -> Value {
        self.api(Method::GET, path, None).await.expect(200).json()
    }

    /// The history, newest first.
    pub async fn alerts(&self) -> Vec<Value> {
        let listed = self.get("/api/alerts?limit=100").await;
        listed["alerts"].as_array().expect("alerts").clone()
    }

    /// All of the only alert, as soon as this is so.
    pub async fn until_alert(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        eventually(what, async || {
            let [only] = self.alerts().await.try_into().ok()?;
            let whole = self.get(&path(&only, "")).await;
            is(&whole).then_some(whole)
        })
        .await
    }
}

pub fn path(alert: &Value, action: &str) -> String {
    format!(
        "/api/alerts/{}{action}",
        alert["id"].as_str().expect("an id")
    )
}

/// Not what is being written.
pub fn files(state: &Path, kind: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(state.join("history").join(kind)).expect("a directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .collect()
}

#[tokio::test]
async fn an_alert_is_in_the_history_from_its_acceptance_to_its_end_and_the_next_one_is_another() {
    let case = Case::new();
    let mut herald = case.herald().await;
    assert_eq!(
        herald.get("/api/alerts").await,
        json!({"alerts": [], "more": 0})
    );

    let key = herald.accepted(&alert("ServiceDown", "firing")).await;
    let fires = herald
        .until_alert("it is delivered", |alert| {
            !alert["delivered"]["webhook"].is_null()
        })
        .await;
    assert_eq!(fires["id"], json!(key), "the key of its first notification");
    assert_eq!(fires["state"], "firing");
    assert_eq!(fires["title"], "[page] ServiceDown: gateway /api/data");
    assert_eq!(fires["labels"]["route"], "/api/data");
    assert_eq!(fires["receiver"], "herald");
    assert_eq!(fires["alerts"][0]["starts_at"], fires["started"]);
    assert_eq!(
        (&fires["resolved"], &fires["ended"]),
        (&Value::Null, &Value::Null)
    );
    let sent = arrived(&case.webhook, 1).await.remove(0).json();
    for found in ["evidence", "diagnosis"] {
        assert!(fires[found].is_object(), "{fires:#}");
        assert_eq!(fires[found], sent[found], "as it was delivered");
    }

    herald.accepted(&alert("ServiceDown", "resolved")).await;
    let over = herald
        .until_alert("it is over", |alert| alert["state"] == "resolved")
        .await;
    assert_eq!(over["notifications"], 2);
    assert_eq!(
        over["title"], fires["title"],
        "its state says that it is over"
    );
    assert!(over["ended"].is_string(), "{over:#}");
    assert_eq!(over["ended"], over["alerts"][0]["ends_at"]);
    for found in ["evidence", "diagnosis"] {
        assert_eq!(over[found], fires[found], "it has no other");
    }
    herald.accepted(&alert("ServiceDown", "firing")).await;
    let states: Vec<Value> = herald
        .alerts()
        .await
        .iter()
        .map(|a| a["state"].clone())
        .collect();
    assert_eq!(states, ["firing", "resolved"]);
    for (state, id) in [("firing", 0), ("resolved", 1)] {
        let listed = herald.get(&format!("/api/alerts?state={state}")).await;
        assert_eq!(listed["alerts"].as_array().unwrap().len(), 1, "{listed}");
        assert_eq!(listed["alerts"][0]["id"], herald.alerts().await[id]["id"]);
    }
    let first = herald.get("/api/alerts?limit=1").await;
    assert_eq!(
        (&first["alerts"][0]["state"], &first["more"]),
        (&json!("firing"), &json!(1))
    );
    assert!(herald.child.terminate().await.success());
}

#[tokio::test]
async fn what_was_accepted_is_in_the_history_after_kills_and_restarts_once() {
    let case = Case::new();
    case.webhook.answer_with(503);
    let mut keys = Vec::new();
    for round in 0..5 {
        let mut herald = case.herald().await;
        for group in 0..4 {
            let payload = alert(&format!("Alert{round}{group}"), "firing");
            keys.push(herald.accepted(&payload).await);
        }
        herald.kill().await;
    }
    let herald = case.herald().await;
    let ids = async |herald: &Herald| -> Vec<Value> {
        let alerts = herald.alerts().await;
        alerts
            .iter()
            .rev()
            .map(|alert| alert["id"].clone())
            .collect()
    };
    assert_eq!(ids(&herald).await, keys);
    case.webhook.answer_with(200);
    let labels = [("target", "webhook")];
    herald.until("herald_queue_size", &labels, 0.0).await;
    let mut herald = case.killed(herald).await;
    assert_eq!(ids(&herald).await, keys);
    for alert in herald.alerts().await {
        assert!(!alert["delivered"]["webhook"].is_null(), "{alert}");
        assert_eq!(alert["notifications"], 1);
    }
    assert!(herald.child.terminate().await.success());
}

#[tokio::test]
async fn a_history_that_cannot_be_read_or_written_stops_no_alert() {
    let case = Case::new();
    let mut herald = case.herald().await;
    herald.accepted(&alert("ServiceDown", "firing")).await;
    arrived(&case.webhook, 1).await;
    assert!(herald.child.terminate().await.success());
    let [good] = files(case.path(), "alerts").try_into().unwrap();
    let text = std::fs::read_to_string(&good).unwrap();
    let deep = "[".repeat(100_000);
    let newer = text.replacen("\"schema\":1", "\"schema\":2", 1);
    for bad in [&text[..text.len() / 2], "", &deep, &newer, "\u{202e}{}"] {
        let name = format!("{}.json", Uuid::now_v7());
        std::fs::write(good.with_file_name(name), bad).unwrap();
    }
    let half = good.with_file_name(format!("{}.new", Uuid::now_v7()));
    std::fs::write(&half, "{").unwrap();

    let mut herald = case.herald().await;
    assert_eq!(herald.alerts().await.len(), 1);
    let read = [("operation", "read")];
    assert_eq!(
        herald.metric("herald_history_errors_total", &read).await,
        5.0
    );
    assert_eq!(files(case.path(), "unreadable").len(), 5);
    assert!(!half.exists());

    // No file can be made there, nor read.
    let alerts = case.path().join("history/alerts");
    std::fs::remove_dir_all(&alerts).unwrap();
    for status in ["firing", "resolved"] {
        herald.accepted(&alert("ProbeFailing", status)).await;
        let sent = arrived(&case.webhook, 1).await.remove(0).json();
        assert_eq!(sent["status"], status);
    }
    // What was known of an alert whose file is gone is not counted either.
    herald.accepted(&alert("ServiceDown", "resolved")).await;
    let labels = [("state", "firing")];
    herald.until("herald_history_alerts", &labels, 0.0).await;
    let write = [("operation", "write")];
    assert!(herald.metric("herald_history_errors_total", &write).await >= 1.0);
    assert!(
        herald
            .child
            .output()
            .contains("the history of alerts is not up to date")
    );
    assert!(herald.child.terminate().await.success());
}

/// A history of groups that fired; the first `over` of them have ended.
fn fill(state: &Path, groups: usize, over: usize) {
    let [first] = files(state, "alerts").try_into().unwrap();
    let text = std::fs::read_to_string(&first).unwrap();
    for group in 0..groups {
        let mut record: Value = serde_json::from_str(&text).unwrap();
        let id = Uuid::now_v7();
        record["payload"]["groupKey"] = json!(format!("group {group}"));
        record["last"] = json!(id);
        if group < over {
            record["resolved"] = record["accepted"].clone();
        }
        let path = first.with_file_name(format!("{id}.json"));
        std::fs::write(path, record.to_string()).unwrap();
    }
}

#[tokio::test]
async fn the_history_keeps_a_thousand_and_forgets_what_is_over_first() {
    let case = Case::new();
    let mut herald = case.herald().await;
    herald.accepted(&alert("TheFirst", "firing")).await;
    arrived(&case.webhook, 1).await;
    assert!(herald.child.terminate().await.success());
    fill(case.path(), 1500, 100);

    let mut herald = case.herald().await;
    let count = async |state| {
        herald
            .metric("herald_history_alerts", &[("state", state)])
            .await
    };
    assert_eq!(
        (count("firing").await, count("resolved").await),
        (1000.0, 0.0)
    );
    assert_eq!(
        herald.metric("herald_history_dropped_total", &[]).await,
        501.0
    );
    assert_eq!(files(case.path(), "alerts").len(), 1000);
    let listed = herald.get("/api/alerts?limit=100").await;
    assert_eq!(
        (listed["alerts"].as_array().unwrap().len(), &listed["more"]),
        (100, &json!(900))
    );
    // One more takes the place of the oldest.
    let key = herald.accepted(&alert("TheLast", "firing")).await;
    assert_eq!(herald.alerts().await[0]["id"], json!(key));
    assert_eq!(files(case.path(), "alerts").len(), 1000);
    assert!(herald.child.terminate().await.success());
}

/// Method, path, a header, body and status.
type Question<'a> = (Method, &'a str, (&'a str, &'a str), &'a str, u16);

#[tokio::test]
async fn the_api_answers_whom_the_webhook_answers_and_names_what_is_wrong() {
    let state = tempfile::tempdir().unwrap();
    let secret = "correct-horse-battery-staple";
    let mut herald = Herald::start(state.path(), &[("HERALD_SECRET", secret)]).await;
    for (method, path) in [
        (Method::GET, "/api/alerts"),
        (Method::GET, "/api/silences"),
        (Method::POST, "/api/silences"),
    ] {
        let refused = herald.api(method, path, None).await.expect(401);
        assert_eq!(refused.header("content-type"), "application/problem+json");
    }
    let asked = async |method: Method, path: &str, header: (&str, &str), body: &str| {
        let request = herald
            .client
            .request(method, format!("{}{path}", herald.url));
        let request = request
            .bearer_auth(secret)
            .header("content-type", "application/json");
        let request = request.header(header.0, header.1).body(body.to_owned());
        Reply::read(request.send().await.expect("an answer")).await
    };
    let plain = ("x-none", "");
    let id = Uuid::now_v7();
    let huge = format!("{{\"by\": \"{}\"}}", "a".repeat(70 << 10));
    let deep = "[".repeat(60_000);
    let acknowledge = format!("/api/alerts/{id}/acknowledge");
    let questions: [Question; 14] = [
        (Method::GET, "/api/alerts?limit=0", plain, "", 422),
        (Method::GET, "/api/alerts?limit=101", plain, "", 422),
        (Method::GET, "/api/alerts?limit=x", plain, "", 422),
        (Method::GET, "/api/alerts?state=odd", plain, "", 422),
        (Method::GET, "/api/alerts?offset=1", plain, "", 422),
        (Method::GET, "/api/alerts/..%2f..%2fetc", plain, "", 404),
        (Method::GET, &format!("/api/alerts/{id}"), plain, "", 404),
        (Method::POST, &acknowledge, plain, "{\"by\": \"ada\"}", 404),
        (Method::POST, &acknowledge, plain, &huge, 413),
        (Method::POST, &acknowledge, plain, &deep, 400),
        (
            Method::POST,
            &acknowledge,
            plain,
            "{\"by\": \"\u{202e}\"}",
            422,
        ),
        (
            Method::GET,
            "/api/alerts",
            ("origin", "http://evil.example"),
            "",
            403,
        ),
        (
            Method::GET,
            "/api/alerts",
            ("host", "evil.example"),
            "",
            403,
        ),
        (
            Method::DELETE,
            &format!("/api/silences/{id}"),
            plain,
            "",
            404,
        ),
    ];
    for (method, path, header, body, status) in questions {
        let said = asked(method, path, header, body).await.expect(status);
        assert_eq!(
            said.header("content-type"),
            "application/problem+json",
            "{path}"
        );
    }
    for (method, path, allow) in [
        (Method::POST, "/api/alerts", "GET"),
        (Method::GET, acknowledge.as_str(), "POST"),
        (Method::PUT, "/api/silences", "GET, POST"),
    ] {
        assert_eq!(
            asked(method, path, plain, "")
                .await
                .expect(405)
                .header("allow"),
            allow
        );
    }
    let unauthorized = [("outcome", "unauthorized")];
    let counted = herald
        .metric("herald_notifications_received_total", &unauthorized)
        .await;
    assert_eq!(counted, 0.0, "nobody brought an alert");
    assert!(herald.child.terminate().await.success());
}

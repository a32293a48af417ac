//! Silences: what they hold back is kept, and told when they end.

use std::path::PathBuf;

use chrono::{TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};

use super::history::files;
use super::setup::Case;
use super::{Herald, alert, arrived};
use crate::harness::eventually;

impl Herald {
    /// Silences an alert by its name, and returns the silence's id.
    pub async fn silence(&self, name: &str, lasts: TimeDelta) -> String {
        let asked = asked(json!([{"name": "alertname", "value": name}]), lasts);
        let said = self.api(Method::POST, "/api/silences", Some(&asked)).await;
        said.expect(201).json()["id"]
            .as_str()
            .expect("an id")
            .to_owned()
    }

    pub async fn expire(&self, id: &str) {
        let path = format!("/api/silences/{id}");
        self.api(Method::DELETE, &path, None).await.expect(204);
    }

    pub async fn until_held(&self, count: f64) {
        let labels = [("target", "webhook")];
        self.until("herald_silenced_notifications", &labels, count)
            .await;
    }
}

fn asked(matchers: Value, lasts: TimeDelta) -> Value {
    json!({"matchers": matchers, "endsAt": Utc::now() + lasts, "by": "ada", "comment": "we know"})
}

pub fn hour() -> TimeDelta {
    TimeDelta::hours(1)
}

#[tokio::test]
async fn what_still_fires_when_a_silence_ends_is_delivered_through_kills_too() {
    let case = Case::new();
    let herald = case.herald().await;
    let id = herald.silence("ServiceDown", hour()).await;
    let firing = alert("ServiceDown", "firing");
    let key = herald.accepted(&firing).await;
    herald.until_held(1.0).await;
    // What is not meant is delivered.
    herald.accepted(&alert("ProbeFailing", "firing")).await;
    let other = arrived(&case.webhook, 1).await.remove(0).json();
    assert_eq!(other["title"], "[page] ProbeFailing: gateway /api/data");
    assert_eq!(herald.accepted(&firing).await, key, "a repeat is the same");
    herald
        .until("herald_queue_size", &[("target", "webhook")], 0.0)
        .await;

    let herald = case.killed(herald).await;
    herald.until_held(1.0).await;
    let listed = herald.alerts().await;
    let silenced = listed
        .iter()
        .find(|alert| alert["id"] == json!(key))
        .unwrap();
    assert_eq!(
        (&silenced["silenced"]["id"], &silenced["silenced"]["by"]),
        (&json!(id), &json!("ada"))
    );
    assert_eq!(silenced["delivered"], json!({}));
    assert_eq!(case.webhook.take().len(), 0);

    herald.expire(&id).await;
    let sent = arrived(&case.webhook, 1).await.remove(0);
    assert_eq!(sent.header("idempotency-key"), Some(key));
    assert_eq!(
        sent.json()["title"],
        "[page] ServiceDown: gateway /api/data"
    );
    herald.until_held(0.0).await;
    let mut herald = case.killed(herald).await;
    assert_eq!(herald.get("/api/silences").await, json!({"silences": []}));
    assert_eq!(case.queued(), [] as [PathBuf; 0]);
    assert!(herald.child.terminate().await.success());
}

#[tokio::test]
async fn a_silence_that_runs_out_lets_go_of_the_last_state_of_each_group() {
    let case = Case::new();
    let mut herald = case.herald().await;
    herald.silence("ServiceDown", TimeDelta::seconds(10)).await;
    let mut firing = alert("ServiceDown", "firing");
    let mut keys = Vec::new();
    for text in ["first", "second", "third"] {
        firing["commonAnnotations"]["summary"] = json!(text);
        keys.push(herald.accepted(&firing).await);
    }
    // The ones before are out of date, and gone.
    herald.until_ended("suppressed", 2.0).await;
    let sent = arrived(&case.webhook, 1).await;
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].header("idempotency-key"), keys.pop());
    assert_eq!(sent[0].json()["summary"], "third");
    eventually("its file is gone", async || {
        files(case.path(), "silences").is_empty().then_some(())
    })
    .await;
    assert!(herald.child.terminate().await.success());
}

#[tokio::test]
async fn the_end_of_what_was_delivered_is_told_in_spite_of_a_silence() {
    let case = Case::new();
    let herald = case.herald().await;
    let firing = alert("ServiceDown", "firing");
    herald.accepted(&firing).await;
    arrived(&case.webhook, 1).await;
    herald
        .until_alert("it is delivered", |a| !a["delivered"]["webhook"].is_null())
        .await;
    for name in ["ServiceDown", "ProbeFailing"] {
        herald.silence(name, hour()).await;
    }
    let mut again = firing.clone();
    again["commonAnnotations"]["summary"] = json!("still");
    herald.accepted(&again).await;
    herald.until_held(1.0).await;
    let mut herald = case.killed(herald).await;
    herald.accepted(&alert("ServiceDown", "resolved")).await;
    let sent = arrived(&case.webhook, 1).await.remove(0).json();
    assert_eq!(sent["status"], "resolved");
    herald.until_ended("suppressed", 1.0).await;

    // Nobody got the beginning, so nobody gets the end.
    for status in ["firing", "resolved"] {
        herald.accepted(&alert("ProbeFailing", status)).await;
    }
    herald.until_ended("suppressed", 3.0).await;
    assert_eq!(case.webhook.take().len(), 0);
    assert_eq!(herald.alerts().await[0]["state"], "resolved");
    assert_eq!(case.queued(), [] as [PathBuf; 0]);
    assert!(herald.child.terminate().await.success());
}

#[tokio::test]
async fn a_group_is_silenced_only_if_all_that_fires_in_it_is() {
    let case = Case::new();
    let mut herald = case.herald().await;
    let matchers = json!([
        {"name": "alertname", "value": "Service.*", "isRegex": true},
        {"name": "route", "value": "/api/orders", "isEqual": false},
    ]);
    let said = herald
        .api(
            Method::POST,
            "/api/silences",
            Some(&asked(matchers, hour())),
        )
        .await;
    said.expect(201);
    let mut group = alert("ServiceDown", "firing");
    group["commonLabels"] = json!({"alertname": "ServiceDown"});
    herald.accepted(&group).await;
    herald.until_held(1.0).await;
    let mut grown = group.clone();
    let mut orders = group["alerts"][0].clone();
    orders["labels"]["route"] = json!("/api/orders");
    grown["alerts"].as_array_mut().unwrap().push(orders);
    herald.accepted(&grown).await;
    let sent = arrived(&case.webhook, 1).await.remove(0).json();
    assert_eq!(sent["alerts"].as_array().unwrap().len(), 2);
    // Herald does not know the alerts that were left out.
    let mut cut = group.clone();
    cut["truncatedAlerts"] = json!(1);
    cut["groupKey"] = json!("another");
    herald.accepted(&cut).await;
    arrived(&case.webhook, 1).await;
    assert!(herald.child.terminate().await.success());
}

#[tokio::test]
async fn a_silence_of_everything_for_ever_or_by_nobody_is_refused() {
    let state = tempfile::tempdir().unwrap();
    let mut herald = Herald::start(state.path(), &[]).await;
    let one = |name: &str, value: &str, regex: bool, equal: bool| json!([{"name": name, "value": value, "isRegex": regex, "isEqual": equal}]);
    let good = one("alertname", "ServiceDown", false, true);
    let with = |member: &str, value: Value| {
        let mut asked = asked(good.clone(), hour());
        asked[member] = value;
        asked
    };
    let many = vec![good[0].clone(); 9];
    let bad = [
        ("matchers", with("matchers", json!([]))),
        ("matchers", with("matchers", json!(many))),
        (
            "matchers",
            with("matchers", one("alertname", ".*", true, true)),
        ),
        (
            "matchers",
            with("matchers", one("alertname", ".+", true, true)),
        ),
        (
            "matchers",
            with("matchers", one("alertname", "\\w+|.*-.*|.*~.*", true, true)),
        ),
        (
            "matchers",
            with("matchers", one("alertname", "", false, true)),
        ),
        (
            "matchers",
            with("matchers", one("alertname", "Other", false, false)),
        ),
        ("matchers[0]", with("matchers", one("", "x", false, true))),
        ("matchers[0]", with("matchers", one("a", "(", true, true))),
        (
            "matchers[0]",
            with("matchers", one("a", "x)|(y", true, true)),
        ),
        (
            "matchers[0]",
            with("matchers", one("a", "(a{1000}){1000}", true, true)),
        ),
        (
            "matchers[0]",
            with("matchers", one("a", &"x".repeat(1001), false, true)),
        ),
        ("endsAt", with("endsAt", json!(Utc::now() - hour()))),
        (
            "endsAt",
            with("endsAt", json!(Utc::now() + TimeDelta::days(31))),
        ),
        ("endsAt", with("endsAt", json!("tomorrow"))),
        (
            "endsAt",
            with("startsAt", json!(Utc::now() + TimeDelta::hours(2))),
        ),
        ("by", with("by", json!(" "))),
        ("comment", with("comment", json!("\u{202e}\n"))),
        ("comment", with("comment", json!("x".repeat(1001)))),
        ("createdBy", with("createdBy", json!("ada"))),
    ];
    for (field, asked) in bad {
        let said = herald
            .api(Method::POST, "/api/silences", Some(&asked))
            .await;
        let said = said.expect(422).json();
        assert_eq!(said["errors"][0]["field"], field, "{asked}: {said}");
    }
    assert_eq!(files(state.path(), "silences"), [] as [PathBuf; 0]);
    for _ in 0..100 {
        herald.silence("ServiceDown", hour()).await;
    }
    let more = asked(good, hour());
    let said = herald.api(Method::POST, "/api/silences", Some(&more)).await;
    assert!(
        said.expect(409).json()["detail"]
            .as_str()
            .unwrap()
            .contains("100")
    );
    herald.until("herald_active_silences", &[], 100.0).await;
    assert!(herald.child.terminate().await.success());
}

#[tokio::test]
async fn a_silence_that_cannot_be_read_or_chooses_nothing_holds_nothing_back() {
    let case = Case::new();
    let mut herald = case.herald().await;
    herald.silence("ServiceDown", hour()).await;
    assert!(herald.child.terminate().await.success());
    let [file] = files(case.path(), "silences").try_into().unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let all = text.replace(
        "\"value\":\"ServiceDown\",\"isRegex\":false",
        "\"value\":\".*\",\"isRegex\":true",
    );
    assert_ne!(text, all);
    for bad in [
        all,
        text.replace("\"schema\":1", "\"schema\":2"),
        "{".to_owned(),
    ] {
        std::fs::write(&file, bad).unwrap();
        let mut herald = case.herald().await;
        herald.accepted(&alert("ServiceDown", "firing")).await;
        arrived(&case.webhook, 1).await;
        let read = [("operation", "read")];
        assert_eq!(
            herald.metric("herald_history_errors_total", &read).await,
            1.0
        );
        assert!(herald.child.terminate().await.success());
    }
}

#[tokio::test]
async fn a_silenced_storm_leaves_room_in_the_queue_and_what_is_beyond_the_limit_is_delivered() {
    let case = Case::new();
    let settings = [
        ("HERALD_WEBHOOK_URL", case.url.as_str()),
        ("HERALD_QUEUE_LIMIT", "3"),
    ];
    let mut herald = Herald::start(case.path(), &settings).await;
    herald.silence("Storm", hour()).await;
    for group in 0..5 {
        let mut payload = alert("Storm", "firing");
        payload["groupKey"] = json!(format!("group {group}"));
        eventually("it is taken", async || {
            (herald.post(&payload).await.status == 200).then_some(())
        })
        .await;
    }
    assert_eq!(arrived(&case.webhook, 2).await.len(), 2);
    herald.until_held(3.0).await;
    assert_eq!(herald.get("/ready").await["ready"], true);
    assert!(herald.child.terminate().await.success());
}

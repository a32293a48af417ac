//! Acknowledgements and verdicts.

use chrono::{TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};

use super::history::path;
use super::setup::Case;
use super::{Herald, alert, arrived};
use crate::harness::Reply;

impl Herald {
    async fn say(&self, alert: &Value, action: &str, body: &Value) -> Reply {
        self.api(Method::POST, &path(alert, action), Some(body))
            .await
    }

    /// Waits for the end of so many notifications, as the metric counts them.
    pub async fn until_ended(&self, outcome: &str, count: f64) {
        let labels = [("target", "webhook"), ("outcome", outcome)];
        self.until("herald_notifications_total", &labels, count)
            .await;
    }
}

/// The same group with one more alert, which began so many minutes ago.
fn with_another(mut payload: Value, minutes: i64) -> Value {
    let mut another = payload["alerts"][0].clone();
    another["labels"]["route"] = json!("/api/orders");
    another["startsAt"] = json!(Utc::now() - TimeDelta::minutes(minutes));
    another["status"] = json!("firing");
    payload["alerts"].as_array_mut().unwrap().push(another);
    payload
}

/// Alertmanager's repeat: the same, but for an annotation that tells the time.
fn repeat(payload: &Value, text: &str) -> Value {
    let mut again = payload.clone();
    again["commonAnnotations"]["summary"] = json!(text);
    again
}

#[tokio::test]
async fn what_is_acknowledged_is_not_repeated_until_it_grows_and_its_end_is_told() {
    let case = Case::new();
    let herald = case.herald().await;
    let first = alert("ServiceDown", "firing");
    herald.accepted(&first).await;
    arrived(&case.webhook, 1).await;
    herald.until_ended("delivered", 1.0).await;
    let [known] = herald.alerts().await.try_into().unwrap();
    let body = json!({"by": "ada", "note": "looking,\u{202e} password=hunter2"});
    let said = herald
        .say(&known, "/acknowledge", &body)
        .await
        .expect(200)
        .json();
    let note = said["acknowledged"]["note"].as_str().unwrap();
    assert!(
        note.starts_with("looking, ") && !note.contains("hunter2"),
        "{note}"
    );
    assert_eq!(
        (&said["acknowledged"]["by"], &said["acknowledged"]["holds"]),
        (&json!("ada"), &json!(true))
    );

    herald.accepted(&repeat(&first, "still")).await;
    herald.until_ended("suppressed", 1.0).await;
    // The acknowledgement outlives the process.
    let mut herald = case.killed(herald).await;
    herald
        .accepted(&repeat(&first, "still, after a restart"))
        .await;
    herald.until_ended("suppressed", 1.0).await;
    assert_eq!(case.webhook.take().len(), 0);

    let grown = with_another(first.clone(), 1);
    herald.accepted(&grown).await;
    let sent = arrived(&case.webhook, 1).await.remove(0).json();
    assert_eq!(sent["alerts"].as_array().unwrap().len(), 2);
    let known = herald
        .until_alert("it has grown", |alert| alert["alerts_firing"] == 2)
        .await;
    assert_eq!(
        known["acknowledged"]["holds"], false,
        "nobody knows of the second one"
    );
    // Nor is that one's repeat held back.
    herald.accepted(&repeat(&grown, "still both")).await;
    arrived(&case.webhook, 1).await;
    herald.until_ended("delivered", 2.0).await;
    herald
        .say(&known, "/acknowledge", &json!({"by": "bob"}))
        .await
        .expect(200);
    herald
        .accepted(&repeat(&grown, "still both, and known"))
        .await;
    herald.until_ended("suppressed", 2.0).await;

    // One alert ends, then the whole group.
    let mut one_over = repeat(&grown, "one is left");
    one_over["alerts"][0]["status"] = json!("resolved");
    herald.accepted(&one_over).await;
    assert_eq!(
        arrived(&case.webhook, 1).await[0].json()["alerts"][1]["status"],
        "resolved"
    );
    herald.accepted(&alert("ServiceDown", "resolved")).await;
    assert_eq!(
        arrived(&case.webhook, 1).await[0].json()["status"],
        "resolved"
    );
    let over = herald
        .say(&known, "/acknowledge", &json!({"by": "bob"}))
        .await;
    assert_eq!(over.expect(409).json()["detail"], "the alert is over");
    // The next time it is news again.
    herald.accepted(&first).await;
    arrived(&case.webhook, 1).await;
    assert!(herald.child.terminate().await.success());
}

#[tokio::test]
async fn an_acknowledgement_keeps_no_target_from_hearing_of_it_at_all() {
    let case = Case::new();
    case.webhook.answer_with(503);
    let mut herald = case.herald().await;
    herald.accepted(&alert("ServiceDown", "firing")).await;
    arrived(&case.webhook, 1).await;
    let [known] = herald.alerts().await.try_into().unwrap();
    herald
        .say(&known, "/acknowledge", &json!({"by": "ada"}))
        .await
        .expect(200);
    case.webhook.answer_with(200);
    herald.until_ended("delivered", 1.0).await;
    assert!(herald.child.terminate().await.success());
}

#[tokio::test]
async fn of_many_who_acknowledge_at_once_one_is_told_that_it_was_first() {
    let state = tempfile::tempdir().unwrap();
    let mut herald = Herald::start(state.path(), &[]).await;
    herald.accepted(&alert("ServiceDown", "firing")).await;
    let [known] = herald.alerts().await.try_into().unwrap();
    let people: Vec<Value> = (0..20)
        .map(|n| json!({"by": format!("person {n}")}))
        .collect();
    let said = people
        .iter()
        .map(|person| herald.say(&known, "/acknowledge", person));
    let said = futures_util::future::join_all(said).await;
    let first: Vec<usize> = (0..20).filter(|n| said[*n].status == 200).collect();
    assert_eq!(first.len(), 1, "{said:?}");
    let now = herald.get(&path(&known, "")).await["acknowledged"]["by"].clone();
    assert_eq!(now, people[first[0]]["by"]);
    for refused in said.iter().filter(|said| said.status != 200) {
        let detail = refused.clone().expect(409).json()["detail"].clone();
        assert!(
            detail.as_str().unwrap().starts_with(now.as_str().unwrap()),
            "{detail}"
        );
    }
    // The person who acknowledged may add a note.
    herald
        .say(
            &known,
            "/acknowledge",
            &json!({"by": now, "note": "mended"}),
        )
        .await
        .expect(200);
    assert!(herald.child.terminate().await.success());
}

#[tokio::test]
async fn a_verdict_is_kept_and_may_be_changed() {
    let state = tempfile::tempdir().unwrap();
    let mut herald = Herald::start(state.path(), &[]).await;
    for status in ["firing", "resolved"] {
        herald.accepted(&alert("ServiceDown", status)).await;
    }
    let [known] = herald.alerts().await.try_into().unwrap();
    for (bad, field) in [
        (json!({"by": "ada"}), "true_alarm"),
        (json!({"by": "ada", "true_alarm": "yes"}), "true_alarm"),
        (json!({"true_alarm": true}), "by"),
        (json!({"true_alarm": true, "by": "a".repeat(101)}), "by"),
        (json!({"true_alarm": true, "by": "ada", "why": "x"}), "why"),
    ] {
        let said = herald
            .say(&known, "/verdict", &bad)
            .await
            .expect(422)
            .json();
        assert_eq!(said["errors"][0]["field"], field, "{said}");
    }
    for true_alarm in [true, false] {
        let body = json!({"true_alarm": true_alarm, "by": "ada"});
        herald.say(&known, "/verdict", &body).await.expect(200);
    }
    herald.kill().await;
    let mut herald = Herald::start(state.path(), &[]).await;
    let verdict = herald.alerts().await[0]["verdict"].clone();
    assert_eq!(
        (&verdict["true_alarm"], &verdict["by"]),
        (&json!(false), &json!("ada"))
    );
    assert!(herald.child.terminate().await.success());
}

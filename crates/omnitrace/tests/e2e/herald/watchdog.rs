//! The alert that always fires: passed on while herald lives and could take an alert, and to nobody else.

use reqwest::Method;
use serde_json::json;

use super::{Herald, alert, arrived};
use crate::harness::{Capture, eventually};

#[tokio::test]
async fn the_alert_that_always_fires_is_passed_on_and_told_to_nobody_else() {
    let state = tempfile::tempdir().unwrap();
    let (webhook, outside) = (
        Capture::answering(&json!({})),
        Capture::answering(&json!({})),
    );
    let (told, beats) = (webhook.url(), outside.url());
    let settings = [
        ("HERALD_WEBHOOK_URL", told.as_str()),
        ("HERALD_WATCHDOG_URL", beats.as_str()),
    ];
    let herald = Herald::start(state.path(), &settings).await;
    let post = async |payload| herald.api(Method::POST, "/watchdog", Some(&payload)).await;

    let mut firing = alert("Watchdog", "firing");
    firing["commonLabels"]["deployment_environment_name"] = "staging".into();
    let passed = post(firing).await.expect(200).json();
    assert_eq!(passed["passed_on"], true);
    let beat = arrived(&outside, 1).await.remove(0).json();
    assert_eq!(
        beat,
        json!({"alertname": "Watchdog", "status": "firing", "from": "herald", "environment": "staging"})
    );
    // The watchdog has no resolved notification, and other alerts do not belong here.
    let ended = post(alert("Watchdog", "resolved")).await.expect(200).json();
    assert_eq!(ended["passed_on"], false);
    let lost = post(alert("ServiceDown", "firing")).await.expect(422);
    assert!(lost.body.contains("/alerts"), "{}", lost.body);
    assert_eq!(outside.take().len(), 0);

    // Alertmanager counts what is not passed on, and tries again.
    outside.answer_with(500);
    let failed = post(alert("Watchdog", "firing")).await.expect(503);
    assert!(
        failed.body.contains("HERALD_WATCHDOG_URL: it answered 500"),
        "{}",
        failed.body
    );
    assert!(!failed.body.contains(&beats), "the URL may hold a token");
    assert_eq!(webhook.take().len(), 0, "nobody is woken");
}

#[tokio::test]
async fn a_herald_whose_targets_take_nothing_is_silent_until_one_does() {
    let state = tempfile::tempdir().unwrap();
    let [gone, refusing, outside] = [(); 3].map(|()| Capture::answering(&json!({})));
    gone.answer_with(503);
    refusing.answer_with(404);
    let [slack, webhook, beats] = [&gone, &refusing, &outside].map(Capture::url);
    let settings = [
        ("HERALD_SLACK_WEBHOOK_URL", slack.as_str()),
        ("HERALD_WEBHOOK_URL", &webhook),
        ("HERALD_WATCHDOG_URL", &beats),
        ("HERALD_SILENT_AFTER", "1s"),
    ];
    let herald = Herald::start(state.path(), &settings).await;
    let beat = async || {
        let beat = alert("Watchdog", "firing");
        herald.api(Method::POST, "/watchdog", Some(&beat)).await
    };
    // There has been nothing to deliver, so no target counts as lost.
    beat().await.expect(200);
    herald.accepted(&alert("ServiceDown", "firing")).await;
    let refused = eventually("the beat stops", async || {
        let answer = beat().await;
        (answer.status == 503).then_some(answer)
    });
    let refused = refused.await.body;
    assert!(refused.contains("HERALD_SILENT_AFTER"), "{refused}");
    outside.take();
    beat().await.expect(503);
    assert_eq!(outside.take().len(), 0);
    // One working target of two is enough: its readers hear of the other.
    gone.answer_with(200);
    eventually("the beat goes on", async || {
        (beat().await.status == 200).then_some(())
    })
    .await;
    assert!(!outside.take().is_empty());
}

#[tokio::test]
async fn without_a_receiver_the_alert_that_always_fires_ends_at_herald() {
    let state = tempfile::tempdir().unwrap();
    let herald = Herald::start(state.path(), &[]).await;
    let beat = alert("Watchdog", "firing");
    let answer = herald.api(Method::POST, "/watchdog", Some(&beat)).await;
    assert_eq!(answer.expect(200).json()["passed_on"], false);
    // What is seen of its disk from the first look on.
    let size = herald.metric("herald_storage_size_bytes", &[]).await;
    let left = herald.metric("herald_storage_available_bytes", &[]).await;
    assert!(0.0 < left && left < size, "{left} of {size}");
}

//! A target that takes the connection and never answers.

use serde_json::json;

use super::{Herald, alert, arrived, queued};
use crate::harness::{Capture, HANG, eventually};

#[tokio::test]
async fn a_target_that_never_answers_keeps_nobody_else_waiting_and_is_asked_again() {
    let state = tempfile::tempdir().unwrap();
    let (webhook, slack) = (
        Capture::answering(&json!({})),
        Capture::answering(&json!("ok")),
    );
    webhook.answer_with(HANG);
    let settings = [
        ("HERALD_WEBHOOK_URL", webhook.url()),
        ("HERALD_SLACK_WEBHOOK_URL", slack.url()),
    ];
    let settings = settings.each_ref().map(|(name, url)| (*name, url.as_str()));
    let mut herald = Herald::start(state.path(), &settings).await;
    let mut keys = Vec::new();
    for name in ["First", "Later"] {
        let key = herald.accepted(&alert(name, "firing")).await;
        // The first one still hangs when the later one comes: to both targets.
        for target in [&webhook, &slack] {
            let request = arrived(target, 1).await.remove(0);
            assert_eq!(request.header("idempotency-key").as_ref(), Some(&key));
        }
        keys.push(key);
    }
    webhook.answer_with(200);
    let again = arrived(&webhook, 2).await;
    let mut told: Vec<String> = again
        .iter()
        .filter_map(|request| request.header("idempotency-key"))
        .collect();
    told.sort();
    keys.sort();
    assert_eq!(told, keys, "each once more");
    eventually("nothing is left to be told", async || {
        queued(state.path(), "queue", "webhook")
            .is_empty()
            .then_some(())
    })
    .await;
    assert!(slack.take().is_empty(), "it had both at once");
    assert!(herald.child.terminate().await.success());
}

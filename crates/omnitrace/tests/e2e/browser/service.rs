//! The page of one service.

use serde_json::json;

use super::{Watched, all, by, click, find, says};

#[tokio::test]
#[ignore = "needs Chromium: just test-browser"]
async fn a_service_is_seen_from_all_sides_and_leads_to_its_traces() {
    let mut watched = Watched::start().await;
    watched
        .up
        .fault("downstream", "errors", json!({"share": 0.3}))
        .await;
    click(&watched.browser, "[data-testid=node][data-service=data]").await;
    says(&watched.browser, &by("service-name"), "data").await;
    says(&watched.browser, &by("state"), "0.1.0").await;
    for (panel, words) in [
        ("rate", "ok"),
        ("duration", "99 %"),
        ("in-flight", "in flight"),
        ("pool", "limit"),
        ("pool-wait", "wait"),
        ("cpu", "%"),
        ("memory", "MiB"),
        ("log-rate", "INFO"),
        ("ready", "yes"),
        ("queue", "spans"),
        ("lost", "0/s"),
    ] {
        says(&watched.browser, &by(panel), words).await;
        find(&watched.browser, &format!("{} canvas", by(panel))).await;
    }
    says(&watched.browser, &by("operations"), "/items").await;
    says(&watched.browser, &by("calls"), "postgresql SELECT").await;
    says(&watched.browser, &by("calls"), "downstream").await;
    let line = format!("{} a", by("error-line"));
    find(&watched.browser, &line).await;

    // A dot is a request: it opens its trace. The latest is on top of those that it covers.
    let latest = format!("{}:last-child", by("exemplar"));
    click(&watched.browser, &latest).await;
    find(&watched.browser, &by("waterfall")).await;
    watched.browser.back().await.unwrap();
    click(&watched.browser, &line).await;
    find(&watched.browser, &by("span-detail")).await;
    assert!(!all(&watched.browser, &by("log-line")).await.is_empty());
    watched.end().await;
}

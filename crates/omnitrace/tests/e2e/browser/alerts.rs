//! Alerts, from what fires to what is known and said of it.

use fantoccini::Client;
use serde_json::{Value, json};

use super::{GATEWAY_FAILS, Watched, by, click, find, picture, says};
use crate::harness::{eventually, http, list};

#[tokio::test]
#[ignore = "needs Chromium: just test-browser"]
async fn an_alert_leads_to_its_evidence_and_can_be_acknowledged_and_silenced() {
    let mut watched = Watched::start().await;
    watched
        .up
        .fault("downstream", "errors", json!({"share": 0.5}))
        .await;
    let link = format!("{GATEWAY_FAILS} [data-testid=alert-link][href^='/alerts/']");
    click(&watched.browser, &link).await;
    says(&watched.browser, &by("alert-title"), "page").await;
    says(&watched.browser, &by("at-fault"), "downstream").await;
    says(&watched.browser, &by("budget"), "Burn over").await;
    says(&watched.browser, &by("runbook"), "Mitigate").await;
    let its_trace = format!("{} a[href^='/trace/']", by("first-action"));
    says(&watched.browser, &its_trace, "/trace/").await;
    says(&watched.browser, &by("releases"), "No version has changed").await;
    says(&watched.browser, &by("first-error"), "downstream").await;
    picture(&watched.browser, "console-alert").await;

    // What people say of it.
    click(&watched.browser, "details[data-key=Silence] summary").await;
    let comment = format!("{} input[name=comment]", by("silence"));
    let why = find(&watched.browser, &comment).await;
    why.send_keys("a load test").await.unwrap();
    acknowledge(&watched).await;
    let typed = why.prop("value").await.expect("the form still stands");
    assert_eq!(typed.as_deref(), Some("a load test"));
    silence(&watched).await;

    // From the evidence to the span that failed, and what its service wrote.
    click(&watched.browser, &format!("{} a", by("worst-trace"))).await;
    click(&watched.browser, ".row.failed").await;
    let line = format!("{} {}", by("span-detail"), by("log-line"));
    says(&watched.browser, &line, "request failed").await;
    watched.end().await;
}

async fn acknowledge(Watched { browser, .. }: &Watched) {
    let form = by("acknowledge");
    click(browser, "details[data-key=Acknowledge] summary").await;
    let name = find(browser, &format!("{form} input[name=by]")).await;
    name.send_keys("ada").await.unwrap();
    let note = find(browser, &format!("{form} input[name=note]")).await;
    note.send_keys("<b>looking</b>").await.unwrap();
    click(browser, &format!("{form} button")).await;
    let said = says(browser, &by("acknowledged"), "ada").await;
    assert!(said.contains("<b>looking</b>"), "{said}");
}

/// The page shows herald's numbers, here those of the alert that was acknowledged.
async fn ledger(browser: &Client) {
    let page = browser.current_url().await.expect("a page");
    let url = page.join("/api/herald/ledger").expect("an address");
    eventually("the page shows the ledger", async || {
        let ledger: Value = http()
            .get(url.clone())
            .send()
            .await
            .ok()?
            .json()
            .await
            .ok()?;
        let rows = list(&ledger["alerts"]);
        let told = rows
            .iter()
            .find(|row| row["time_to_acknowledge"].is_object())?;
        let names = [&told["severity"], &told["alert"]].map(|name| name.as_str());
        let [Some(severity), Some(alert)] = names else {
            panic!("{told}")
        };
        let counted = [
            "delivered",
            "undelivered",
            "true_alarms",
            "false_alarms",
            "unjudged",
        ];
        let counted = counted.map(|name| told[name].to_string());
        let expected = format!("{severity} {alert} {} –", counted.join(" "));
        let row = format!("{} [data-alert={alert}]", by("ledger"));
        let shown = says(browser, &row, severity).await;
        let words: Vec<&str> = shown.split_whitespace().collect();
        words.join(" ").starts_with(&expected).then_some(())
    })
    .await;
}

async fn silence(Watched { browser, .. }: &Watched) {
    let form = by("silence");
    click(browser, &format!("{form} button")).await;
    click(browser, "#nav a[href='/alerts']").await;
    let row = by("silence-row");
    let said = says(browser, &row, "a load test").await;
    assert!(said.contains("AvailabilityBurnRate"), "{said}");
    click(browser, &format!("{row} button")).await;
    says(browser, &by("silences"), "Nothing is silenced.").await;
    says(browser, &by("episode"), "AvailabilityBurnRate").await;
    ledger(browser).await;
    browser.back().await.unwrap();
}

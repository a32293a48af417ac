//! Log lines of all services.

use fantoccini::{Client, Locator};
use serde_json::{Value, json};

use super::{Watched, all, by, click, find, now_ns, pointer, records, says};
use crate::harness::eventually;

/// More than a page may hold as elements.
const MANY: usize = 10_000;

/// Sends lines that no trace has.
async fn send(console: &str, texts: impl Iterator<Item = String>) {
    let now = now_ns();
    let lines: Vec<Value> = texts
        .enumerate()
        .map(|(index, text)| {
            json!({"timeUnixNano": (now + index as u64).to_string(), "severityNumber": 13, "severityText": "WARN", "body": {"stringValue": text}})
        })
        .collect();
    let body = records("till", &json!(lines));
    super::send(console, "/v1/logs", &body).await;
}

async fn filter(browser: &Client, field: &str, text: &str) {
    let input = find(browser, &format!("{} [name={field}]", by("log-form"))).await;
    input.clear().await.unwrap();
    input.send_keys(text).await.unwrap();
    click(browser, &format!("{} button", by("log-form"))).await;
}

#[tokio::test]
#[ignore = "needs Chromium: just test-browser"]
async fn lines_are_found_live_and_lead_to_their_span() {
    let mut watched = Watched::start().await;
    watched
        .up
        .fault("downstream", "errors", json!({"share": 0.5}))
        .await;
    let browser = watched.browser.clone();
    click(&browser, "#nav a[href='/logs']").await;
    says(&browser, &by("log-row"), "INFO").await;
    says(&browser, &by("volume"), "info").await;

    // A line without a trace comes by itself; what is in it is text.
    let hostile = "<b>till\u{202e} 7</b> (open) [x] 100%";
    send(&watched.console, std::iter::once(hostile.to_owned())).await;
    // Text, and no pattern: as one it would match.
    filter(&browser, "text", "open. .x. 100%").await;
    says(&browser, &by("log-status"), "No line matches").await;
    filter(&browser, "text", "(OPEN) [X] 100%").await;
    let said = says(&browser, &by("log-row"), "till").await;
    assert!(said.contains("<b>till⟨U+202E⟩ 7</b>"), "{said}");
    assert!(all(&browser, &by("log-trace")).await.is_empty());

    // One with a trace leads to its span.
    filter(&browser, "text", "request failed").await;
    says(&browser, &by("log-row"), "ERROR").await;
    click(&browser, &by("log-trace")).await;
    find(
        &browser,
        &format!("{} {}", by("span-detail"), by("log-line")),
    )
    .await;
    // And back, to the lines of this trace only.
    click(&browser, &by("trace-logs")).await;
    says(&browser, &by("log-row"), "request failed").await;
    let id = find(&browser, "[name=trace_id]").await;
    assert_eq!(id.prop("value").await.unwrap().unwrap().len(), 32);
    watched.end().await;
}

#[tokio::test]
#[ignore = "needs Chromium: just test-browser"]
async fn ten_thousand_lines_are_as_few_elements_as_ten() {
    let watched = Watched::start().await;
    let browser = watched.browser.clone();
    for batch in 0..MANY / 1000 {
        let texts = (0..1000).map(|index| format!("line {}", batch * 1000 + index));
        send(&watched.console, texts).await;
    }
    click(&browser, "#nav a[href='/logs']").await;
    find(&browser, &by("log-row")).await;
    let service = find(&browser, "select[name=service]").await;
    eventually("the service till", async || {
        service.select_by_value("till").await.ok()
    })
    .await;
    says(&browser, &by("log-row"), "line 9999").await;
    // What is older may come after the newest have been asked for once more.
    let slow = "const ask = window.fetch; window.fetch = async (what, ...more) => { if (String(what).includes('start=0')) await new Promise((go) => setTimeout(go, 3000)); return ask(what, ...more); };";
    browser.execute(slow, Vec::new()).await.unwrap();
    // The oldest are at the end, however often it is put off by what was before.
    eventually("the first line", async || {
        let down = "const list = document.querySelector('[data-testid=log-list]'); list.scrollTop = list.scrollHeight;";
        browser.execute(down, Vec::new()).await.ok()?;
        let last = format!("{}:last-child", by("log-row"));
        let last = browser.find(Locator::Css(&last)).await.ok()?;
        let words = last.text().await.ok()?;
        words.ends_with("line 0").then_some(())
    })
    .await;
    says(&browser, &by("log-status"), "10,000 lines").await;
    let rows = all(&browser, &by("log-row")).await.len();
    assert!(rows < 100, "{rows} rows are in the page");

    // A reader who has scrolled down sees that there are new lines, and keeps the place.
    send(&watched.console, std::iter::once("the latest".to_owned())).await;
    says(&browser, &by("new-lines"), "1 new").await;
    click(&browser, &by("new-lines")).await;
    says(&browser, &by("log-row"), "the latest").await;
    watched.end().await;
}

#[tokio::test]
#[ignore = "needs Chromium: just test-browser"]
async fn new_lines_wait_while_somebody_points_at_the_list_or_has_the_focus_in_it() {
    let watched = Watched::start().await;
    let browser = watched.browser.clone();
    let send = async |text: String| send(&watched.console, std::iter::once(text)).await;
    let first = async || find(&browser, &by("log-row")).await.text().await.unwrap();
    send("till 0".to_owned()).await;
    click(&browser, "#nav a[href='/logs']").await;
    filter(&browser, "text", "till").await;
    says(&browser, &by("log-row"), "till 0").await;

    pointer(&browser, &by("log-row")).await;
    send("till 1".to_owned()).await;
    says(&browser, &by("new-lines"), "1 new").await;
    assert!(first().await.contains("till 0"), "nothing has moved");
    pointer(&browser, "#nav").await;
    says(&browser, &by("log-row"), "till 1").await;

    let focus = "document.querySelector('[data-testid=log-row] button').focus();";
    browser.execute(focus, Vec::new()).await.unwrap();
    send("till 2".to_owned()).await;
    says(&browser, &by("new-lines"), "1 new").await;
    assert!(first().await.contains("till 1"), "nothing has moved");
    // Drawn again, as by scrolling, it keeps the focus.
    let drawn = "const list = document.querySelector('[data-testid=log-list]'); list.dispatchEvent(new Event('scroll')); return document.activeElement.textContent;";
    let focused = browser.execute(drawn, Vec::new()).await.unwrap();
    assert_eq!(focused, "till 1");
    click(&browser, &by("new-lines")).await;
    says(&browser, &by("log-row"), "till 2").await;
    watched.end().await;
}

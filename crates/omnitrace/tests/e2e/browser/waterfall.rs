//! Traces that are large, and traces whose times cannot be right.

use serde_json::{Value, json};

use super::{Watched, all, by, find, now_ns, picture, says, send, spans};
use crate::harness::eventually;

const SPANS: u64 = 2_000;
const MILLISECOND: u64 = 1_000_000;

fn span(number: u64, start: u64, end: u64, name: &str) -> Value {
    let parent = if number == 1 {
        String::new()
    } else {
        format!("{:016x}", 1)
    };
    json!({
        "traceId": "5".repeat(32), "spanId": format!("{number:016x}"), "parentSpanId": parent, "name": name, "kind": 1,
        "startTimeUnixNano": start.to_string(), "endTimeUnixNano": end.to_string(),
    })
}

/// A browser that looks at the trace which these spans of services are.
async fn looking_at(sent: &[(&str, Value)]) -> Watched {
    let watched = Watched::idle().await;
    for (service, of_service) in sent {
        send(&watched.console, "/v1/traces", &spans(service, of_service)).await;
    }
    let address = format!("{}/trace/{}", watched.console, "5".repeat(32));
    watched.browser.goto(&address).await.unwrap();
    find(&watched.browser, &by("waterfall")).await;
    watched
}

#[tokio::test]
#[ignore = "needs Chromium: just test-browser"]
async fn two_thousand_spans_are_as_few_elements_as_a_window_shows() {
    let start = now_ns();
    let steps: Vec<Value> = (1..=SPANS)
        .map(|number| {
            let begins = start + number * MILLISECOND;
            span(
                number,
                begins,
                begins + MILLISECOND,
                &format!("step {number}"),
            )
        })
        .collect();
    let watched = looking_at(&[("till", json!(steps))]).await;
    let browser = watched.browser.clone();
    says(&browser, ".facts", "2,000").await;
    let few = async |when: &str| {
        eventually(&format!("few rows {when}"), async || {
            let rows = all(&browser, &by("span-row")).await.len();
            (1..200).contains(&rows).then_some(())
        })
        .await;
    };
    few("at first").await;

    // The last is where its number says, and is there once somebody has scrolled to it.
    eventually("the last span", async || {
        let down = "window.scrollTo(0, document.documentElement.scrollHeight);";
        browser.execute(down, Vec::new()).await.ok()?;
        let last = format!("{}[data-index='{}']", by("span-row"), SPANS - 1);
        let row = all(&browser, &last).await.into_iter().next()?;
        let text = row.text().await.ok()?;
        text.contains("step 2000").then_some(())
    })
    .await;
    few("at the end").await;
    let height = "return document.querySelector('[role=treegrid]').offsetHeight;";
    let height = browser.execute(height, Vec::new()).await.unwrap();
    assert!(
        height.as_u64().is_some_and(|height| height >= SPANS * 28),
        "{height}"
    );

    // Keys go on from the first, which nobody sees now.
    let focused = async |index: u64| {
        eventually(&format!("the focus on row {index}"), async || {
            let row = "return document.activeElement.getAttribute('data-index');";
            let row = browser.execute(row, Vec::new()).await.ok()?;
            (row == *index.to_string()).then_some(())
        })
        .await;
    };
    let focus = "document.querySelector('[role=treegrid] [tabindex=\"0\"]').focus();";
    browser.execute(focus, Vec::new()).await.unwrap();
    focused(0).await;
    let pressed = async |key: fantoccini::key::Key| {
        let row = find(&browser, "[role=treegrid] [tabindex=\"0\"]").await;
        row.send_keys(&String::from(char::from(key))).await.unwrap();
    };
    pressed(fantoccini::key::Key::End).await;
    focused(SPANS - 1).await;
    pressed(fantoccini::key::Key::Up).await;
    focused(SPANS - 2).await;
    pressed(fantoccini::key::Key::Home).await;
    focused(0).await;
    pressed(fantoccini::key::Key::Enter).await;
    find(&browser, &by("span-detail")).await;

    // The search finds what is in no element.
    let search = find(&browser, &by("span-search")).await;
    search.send_keys("step 1234").await.unwrap();
    says(&browser, &by("spans-found"), "1 span").await;
    let enter = String::from(char::from(fantoccini::key::Key::Enter));
    search.send_keys(&enter).await.unwrap();
    focused(1233).await;
    find(&browser, ".row.found").await;
    few("after a search").await;
    watched.end().await;
}

#[tokio::test]
#[ignore = "needs Chromium: just test-browser"]
async fn times_that_cannot_be_right_are_told() {
    let start = now_ns();
    let at = |milliseconds: u64| start + milliseconds * MILLISECOND;
    let till = json!([
        span(1, at(50), at(90), "sells"),
        span(2, at(60), at(53), "runs backwards"),
        span(3, at(61), 0, "never ends")
    ]);
    let bank = json!([span(4, at(20), at(40), "comes too early")]);
    let watched = looking_at(&[("till", till), ("bank", bank)]).await;
    let browser = watched.browser.clone();
    says(&browser, &by("incomplete"), "Clocks differ").await;
    says(
        &browser,
        &by("incomplete"),
        "2 spans of till end before they begin",
    )
    .await;
    assert_eq!(all(&browser, &by("odd-times")).await.len(), 3);
    for (number, words) in [
        (2, "It ends 7.00 ms before it begins"),
        (4, "It begins 30.0 ms before the call by till"),
    ] {
        let row = format!("{}[data-span-id='{number:016x}']", by("span-row"));
        find(&browser, &row).await.click().await.unwrap();
        says(&browser, &by("span-times"), words).await;
    }
    picture(&browser, "console-odd-times").await;
    watched.end().await;
}

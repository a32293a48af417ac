//! What sets some traces apart, and the search that it leads to.

use serde_json::{Value, json};

use super::{Watched, all, attribute, by, click, complaints, find, now_ns, picture, says, send};
use crate::harness::eventually;

const MILLISECOND: u64 = 1_000_000;

/// A service whose name would be an HTML element.
const STORE: &str = "lamp <img src=x>";

/// A call of the shop to its store, which runs as this version and takes so long.
fn trace(number: u64, start: u64, milliseconds: u64, version: &str) -> Value {
    let span = |id: u64, parent: String, name: &str| {
        json!({
            "traceId": format!("{:032x}", 0xd1ff_0000 + number), "spanId": format!("{id:016x}"), "parentSpanId": parent, "name": name, "kind": 2,
            "startTimeUnixNano": start.to_string(), "endTimeUnixNano": (start + milliseconds * MILLISECOND).to_string(),
            "attributes": [attribute("number", &number.to_string())],
        })
    };
    let of = |service: &str, version: &str, span: Value| {
        json!({
            "resource": {"attributes": [attribute("service.name", service), attribute("service.version", version)]},
            "scopeSpans": [{"spans": [span]}],
        })
    };
    let root = format!("{:016x}", 1);
    json!([
        of("shop", "1.0.0", span(1, String::new(), "GET /lamps")),
        of(STORE, version, span(2, root, "SELECT lamps")),
    ])
}

#[tokio::test]
#[ignore = "needs Chromium: just test-browser"]
async fn a_slow_release_is_what_differs_and_one_click_away() {
    let mut watched = Watched::idle().await;
    let (browser, console) = (watched.browser.clone(), watched.console.clone());
    let now = now_ns();
    // Ten slow ones of a hundred, all of the new release, which a few of the fast ones have, too.
    for number in 0..100 {
        let is_slow = number % 10 == 0;
        let version = if is_slow || number % 30 == 1 {
            "0.2.0"
        } else {
            "0.1.0"
        };
        let spans = trace(
            number,
            now + number,
            if is_slow { 900 } else { 10 },
            version,
        );
        send(&console, "/v1/traces", &json!({"resourceSpans": spans})).await;
    }
    browser
        .goto(&format!("{console}/traces?service=shop&limit=200"))
        .await
        .unwrap();
    click(&browser, &format!("{} summary", by("differs"))).await;
    says(&browser, &by("differs-counts"), "10 slow traces, 90 others").await;
    let first = find(&browser, &by("difference"))
        .await
        .text()
        .await
        .unwrap();
    assert!(
        first.contains(
            "lamp <img src=x> service.version = 0.2.0: in 100 % of the slow (10), 4.4 % of the rest (4)"
        ),
        "{first}"
    );
    picture(&browser, "console-differs").await;

    // None has failed: that is said.
    let selection = find(&browser, &by("selection")).await;
    selection.select_by_value("failed").await.unwrap();
    says(&browser, &by("differs-none"), "There is no failed trace").await;
    selection.select_by_value("slow").await.unwrap();

    // Only the release, and then all without it.
    let matches = async |words: &str| says(&browser, ".list-head [role=status]", words).await;
    click(&browser, &by("only")).await;
    matches("14 newest matches").await;
    let tags = "return document.querySelector('input[name=tags]').value;";
    let tags = browser.execute(tags, Vec::new()).await.unwrap();
    assert_eq!(tags, "service.version=0.2.0");
    browser.back().await.unwrap();
    matches("100 newest matches").await;
    click(&browser, &format!("{} summary", by("differs"))).await;
    click(&browser, &by("without")).await;
    matches("86 newest matches").await;

    // The filters of the form select, too; globs and comparisons are filters.
    let ask = async |tags: &str| {
        let mut address = url::Url::parse(&format!("{console}/traces?limit=200")).unwrap();
        address.query_pairs_mut().append_pair("tags", tags);
        browser.goto(address.as_str()).await.unwrap();
    };
    ask("service=\"lamp <img src=x>\" service.version=0.2.*").await;
    matches("14 newest matches").await;
    ask("service=lamp* duration>=\"500 ms\"").await;
    matches("10 newest matches").await;
    ask("service=lamp* service.version>>1").await;
    says(&browser, "#form-error", "Tags: expected").await;
    let min = format!("{console}/traces?service=shop&min_duration=500ms");
    browser.goto(&min).await.unwrap();
    click(&browser, &format!("{} summary", by("differs"))).await;
    says(
        &browser,
        &by("differs-counts"),
        "10 matching traces, 90 others",
    )
    .await;
    eventually("no selection beside the filter", async || {
        let shown = find(&browser, &by("selection")).await.is_displayed().await;
        (!shown.ok()?).then_some(())
    })
    .await;
    assert!(all(&browser, "main img").await.is_empty());
    // What was refused is no fault of the page.
    let mut severe = complaints(&browser).await;
    severe.retain(|message| !message.contains("400 (Bad Request)"));
    assert_eq!(severe, [] as [String; 0]);
    browser.close().await.unwrap();
    assert!(watched.up.stop().await.success());
}

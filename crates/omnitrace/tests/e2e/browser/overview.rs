//! The overview: who calls whom, what fires, what has changed.

use serde_json::json;

use super::{GATEWAY_FAILS, Watched, all, by, click, find, now_ns, says, send, spans};
use crate::harness::{Signal, eventually, http, until_there_is};

const EDGES: [(&str, &str); 3] = [
    ("gateway", "data"),
    ("data", "downstream"),
    ("data", "postgresql"),
];

fn edge((from, to): (&str, &str)) -> String {
    format!("[data-testid=edge][data-from={from}][data-to={to}]")
}

#[tokio::test]
#[ignore = "needs Chromium: just test-browser"]
async fn the_overview_shows_who_calls_whom_and_leads_to_what_fails() {
    let mut watched = Watched::start().await;
    says(&watched.browser, &by("status"), "All targets answer.").await;
    for calls in EDGES {
        says(&watched.browser, &edge(calls), "0 % err").await;
    }
    for service in ["gateway", "data", "downstream", "postgresql"] {
        let node = format!("[data-testid=node][data-service={service}]");
        find(&watched.browser, &node).await;
    }
    // A target without a service name is shown by its job.
    says(&watched.browser, &by("targets"), "herald").await;
    let probe = "[data-testid=node][data-service=probe]";
    assert!(all(&watched.browser, probe).await.is_empty());
    says(&watched.browser, &by("changes"), "No release").await;

    watched
        .up
        .fault("downstream", "errors", json!({"share": 0.5}))
        .await;
    find(&watched.browser, &format!("{} .bad", edge(EDGES[1]))).await;
    let said = says(&watched.browser, GATEWAY_FAILS, "budget used").await;
    assert!(said.contains("gateway") && said.contains("since"), "{said}");
    let begun = "[data-testid=change][data-kind=alert]";
    says(&watched.browser, begun, "AvailabilityBurnRate").await;
    find(&watched.browser, "#nav-alerts .badge").await;

    // To the service, and to a trace that failed.
    click(
        &watched.browser,
        "[data-testid=node][data-service=downstream]",
    )
    .await;
    says(&watched.browser, &by("service-name"), "downstream").await;
    click(
        &watched.browser,
        "a[href='/traces?service=downstream&error=true']",
    )
    .await;
    click(&watched.browser, &by("trace-row")).await;
    find(&watched.browser, &by("waterfall")).await;
    watched.end().await;
}

#[tokio::test]
#[ignore = "needs Chromium: just test-browser"]
async fn a_release_is_among_the_changes() {
    let mut watched = Watched::start().await;
    says(&watched.browser, &edge(EDGES[0]), "0 % err").await;
    // The rules need this time to see the version before.
    let seen = "build_info{service_name=\"data\"} offset 20s";
    until_there_is(&watched.console, seen).await;
    watched
        .up
        .fault("data", "bad_release", json!({"ms": 300}))
        .await;
    let change = "[data-testid=change][data-kind=release]";
    let said = says(&watched.browser, change, "data").await;
    assert!(said.contains("runs version 0.2.0, before 0.1.0"), "{said}");
    let row = "[data-testid=service-row][data-service=data]";
    says(&watched.browser, row, "0.2.0").await;
    watched.end().await;
}

#[tokio::test]
#[ignore = "needs Chromium: just test-browser"]
async fn nothing_is_green_that_cannot_be_read() {
    let mut watched = Watched::start().await;
    let browser = watched.browser.clone();
    for words in ["No alert fires.", "All targets answer."] {
        says(&browser, &format!("{} .good", by("status")), words).await;
    }
    watched.up.signal("console", Signal::SIGSTOP).await;
    for part in ["firing", "down"] {
        says(&browser, &by(part), "no answer within 10 s").await;
    }
    assert!(all(&browser, ".status .good").await.is_empty());
    watched.up.signal("console", Signal::SIGCONT).await;
    says(&browser, &by("status"), "All targets answer.").await;
    watched.end().await;
}

/// A call between services that nobody knows: so long, and failed or not.
async fn call(console: &str, trace: u32, millis: u64, failed: bool) {
    let end = now_ns();
    let span = |id: &str, parent: &str, kind: u8, millis: u64| {
        json!({
            "traceId": format!("{trace:032x}"), "spanId": id, "parentSpanId": parent, "name": "buy", "kind": kind,
            "startTimeUnixNano": (end - millis * 1_000_000).to_string(), "endTimeUnixNano": end.to_string(),
            "status": {"code": if failed { 2 } else { 1 }},
        })
    };
    let (asked, call, answer) = ("a".repeat(16), "b".repeat(16), "c".repeat(16));
    let shop = json!([
        span(&asked, "", 2, millis + 10),
        span(&call, &asked, 3, millis)
    ]);
    let bank = json!([span(&answer, &call, 2, millis / 2)]);
    send(console, "/v1/traces", &spans("shop", &shop)).await;
    send(console, "/v1/traces", &spans("bank", &bank)).await;
}

#[tokio::test]
#[ignore = "needs Chromium: just test-browser"]
async fn services_that_only_send_traces_are_on_the_map() {
    let watched = Watched::start().await;
    // The page is there: spans count for a minute.
    find(&watched.browser, &edge(EDGES[0])).await;
    for trace in 1..=4 {
        call(&watched.console, trace, 200, trace == 1).await;
    }
    let said = says(&watched.browser, &edge(("shop", "bank")), "25 % err").await;
    assert!(said.contains("200 ms") && said.contains("/min"), "{said}");
    // Where services count themselves, that is what the map says: it knows every request, also those without a trace.
    says(&watched.browser, &edge(EDGES[0]), "0 % err").await;
    assert_eq!(all(&watched.browser, &edge(EDGES[0])).await.len(), 1);
    let row = "[data-testid=service-row][data-service=bank]";
    says(&watched.browser, row, "100 ms").await;
    click(&watched.browser, "[data-testid=node][data-service=bank]").await;
    says(&watched.browser, &by("no-metrics"), "no metrics").await;
    says(&watched.browser, &by("service-name"), "bank").await;
    watched.end().await;
}

/// The largest number of readers of events.
const READERS: usize = 32;

#[tokio::test]
#[ignore = "needs Chromium: just test-browser"]
async fn a_page_that_nobody_sees_holds_no_connection() {
    let watched = Watched::start().await;
    let browser = &watched.browser;
    let url = format!("{}/api/events", watched.console);
    let mut readers = Vec::new();
    eventually("the page is one of the readers", async || {
        let reader = http().get(&url).send().await.ok()?;
        match reader.status().as_u16() {
            200 => readers.push(reader),
            _ => return (readers.len() == READERS - 1).then_some(()),
        }
        (readers.len() > READERS).then_some(())
    })
    .await;
    assert_eq!(readers.len(), READERS - 1);
    let seen = |hidden: bool| {
        format!(
            "Object.defineProperty(document, 'hidden', {{ value: {hidden}, configurable: true }}); document.dispatchEvent(new Event('visibilitychange'));"
        )
    };
    browser.execute(&seen(true), Vec::new()).await.unwrap();
    eventually("the page makes room", async || {
        let reader = http().get(&url).send().await.ok()?;
        (reader.status() == 200).then(|| readers.push(reader))
    })
    .await;
    readers.clear();
    eventually("they have gone", async || {
        let reader = http().get(&url).send().await.ok()?;
        (reader.status() == 200).then(|| readers.push(reader))?;
        (readers.len() == 3).then_some(())
    })
    .await;
    browser.execute(&seen(false), Vec::new()).await.unwrap();
    says(browser, &by("status"), "All targets answer.").await;
    // The console may notice only after the page asks that the readers have gone. Then the page is refused, and asks again.
    let refused = |complaint: &str| complaint.contains("/api/events") && complaint.contains("503");
    watched.end_despite(refused).await;
}

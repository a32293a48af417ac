//! Names that want to be markup, to hide, to turn the text around them, or to push all else off the page.

use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::{App, HttpServer, web};
use fantoccini::Client;
use serde_json::{Value, json};

use super::access::{address, width};
use super::{Watched, all, by, click, now_ns, records, says, send, spans};
use crate::harness::Directory;

/// Markup, a turn of direction, what is not seen, a new line, letters from right to left, and no place to break.
fn hostile(length: usize) -> String {
    let start = "<img src=x onerror=\"document.title='owned'\">\u{202e}\u{200b}\n\u{5d0}\u{5d1} 7";
    format!("{start}{}", "W".repeat(length))
}

/// A label of that value, as text on a page of metrics.
fn label(name: &str) -> String {
    let value = hostile(300).replace('"', "\\\"").replace('\n', "\\n");
    format!("{name}=\"{value}\"")
}

static SCRAPES: AtomicU64 = AtomicU64::new(0);

async fn metrics() -> String {
    let count = SCRAPES.fetch_add(1, Ordering::Relaxed);
    let (route, peer, version) = (
        label("http_route"),
        label("service_peer_name"),
        label("service_version"),
    );
    let template = label("url_template");
    format!(
        "http_server_request_duration_seconds_count{{http_request_method=\"GET\",outcome=\"ok\",{route}}} {count}\n\
         http_client_request_duration_seconds_count{{http_request_method=\"GET\",outcome=\"ok\",{peer},{template}}} {count}\n\
         build_info{{{version}}} 1\n"
    )
}

async fn faults() -> web::Json<Value> {
    let name = hostile(300);
    let parameter =
        json!({"name": name, "type": "integer", "unit": name, "min": 1, "max": 2, "default": 1});
    let active = json!({"parameters": {name.as_str(): name}, "seconds_left": 100});
    web::Json(
        json!({"faults": [{"name": name, "description": name, "parameters": [parameter], "active": active}]}),
    )
}

/// A service whose labels and faults are hostile: its address.
fn service() -> String {
    let routes = || {
        App::new()
            .route("/metrics", web::get().to(metrics))
            .route("/faults", web::get().to(faults))
    };
    let server = HttpServer::new(routes).workers(1).bind("127.0.0.1:0");
    let server = server.expect("a free port");
    let url = format!("http://{}", server.addrs()[0]);
    tokio::spawn(server.disable_signals().run());
    url
}

/// What a page has made of it: text, in marks and in its place.
async fn is_text(browser: &Client, page: &str) {
    let marks = browser
        .execute(
            "return document.querySelector('main').innerText",
            Vec::new(),
        )
        .await
        .unwrap();
    let text = marks.as_str().unwrap_or_default();
    // Herald removes what cannot be seen; the pages mark it.
    let shown = match page {
        "/alerts" | "alert" => "<img src=x",
        _ => "⟨U+202E⟩⟨U+200B⟩",
    };
    assert!(text.contains(shown), "{page}: {text}");
    assert!(!text.contains(['\u{202e}', '\u{200b}']), "{page}: {text}");
    assert!(
        all(browser, "main img, main script").await.is_empty(),
        "{page}"
    );
    assert_ne!(browser.title().await.unwrap(), "owned", "{page}");
    for pixels in [1280, 400] {
        let wide = width(browser, pixels).await;
        assert!(
            wide <= pixels.into(),
            "{page} at {pixels} px is {wide} px wide"
        );
        let turned = browser.execute(TURNED, Vec::new()).await.unwrap();
        assert_eq!(turned, json!([]), "{page} at {pixels} px");
    }
    width(browser, 1280).await;
}

/// Neighbours in one line of which the later stands before the earlier.
const TURNED: &str = r#"
    const turned = [];
    for (const parent of document.querySelectorAll('main :is(p, td, li, h1, h2, dd)')) {
        const shown = [...parent.children].filter((one) => one.getClientRects().length > 0);
        shown.slice(1).forEach((later, index) => {
            const before = [...shown[index].getClientRects()].at(-1);
            const after = later.getClientRects()[0];
            const isBeside = Math.abs(before.top - after.top) < before.height / 2;
            if (isBeside && after.left < before.right - 1) turned.push(parent.outerHTML.slice(0, 500));
        });
    }
    return turned;"#;

/// An alert that somebody sends to herald.
fn alert() -> Value {
    let name = hostile(3000);
    let labels = json!({"alertname": hostile(300), "severity": "page", "service": hostile(300), "odd": name});
    let alert = json!({
        "status": "firing", "labels": labels, "annotations": {"summary": name, "description": name},
        "startsAt": chrono::Utc::now().to_rfc3339(), "endsAt": "0001-01-01T00:00:00Z", "fingerprint": "0123456789abcdef",
    });
    json!({
        "version": "4", "groupKey": "{}:{odd}", "truncatedAlerts": 0, "status": "firing", "receiver": "herald",
        "groupLabels": {"alertname": "Odd"}, "commonLabels": labels, "commonAnnotations": {}, "externalURL": "", "alerts": [alert],
    })
}

#[tokio::test]
#[ignore = "needs Chromium: just test-browser"]
async fn hostile_names_are_text_in_their_place_on_every_page() {
    let scraped = format!("tainted={}", service());
    let mut watched = Watched::start_in(Directory::new(), |command| {
        command.args(["--load", "10", "--scrape", &scraped])
    })
    .await;
    let (browser, console) = (watched.browser.clone(), watched.console.clone());
    let herald = watched.up.started("herald").await["url"].clone();
    let herald = herald.as_str().expect("an address").to_owned();
    let (end, name) = (now_ns(), hostile(100));
    let span = json!([{
        "traceId": "7".repeat(32), "spanId": "7".repeat(16), "name": hostile(10_000), "kind": 2,
        "startTimeUnixNano": (end - 1_000_000).to_string(), "endTimeUnixNano": end.to_string(),
    }]);
    send(&console, "/v1/traces", &spans(&name, &span)).await;
    let line = json!([{
        "timeUnixNano": end.to_string(), "severityNumber": 17, "severityText": "ERROR", "body": {"stringValue": hostile(10_000)},
    }]);
    send(&console, "/v1/logs", &records(&name, &line)).await;
    send(&herald, "/alerts", &alert()).await;

    says(&browser, &by("node"), "<img").await;
    says(&browser, &by("edge"), "/s").await;
    says(&browser, &by("services"), "U+200B").await;
    is_text(&browser, "overview").await;
    let link = format!("{} a[href$='%207{}']", by("services"), "W".repeat(100));
    let service = address(&browser, &link).await;
    for (page, part) in [
        ("/services/tainted", "operations"),
        ("/services/tainted", "calls"),
        ("/services/tainted", "state"),
        (&service, "error-line"),
        ("/logs?level=error&text=img", "log-row"),
        ("/faults", "fault"),
        ("/alerts", "history"),
        ("/alerts", "ledger"),
    ] {
        browser.goto(&format!("{console}{page}")).await.unwrap();
        says(&browser, &by(part), "<img").await;
        is_text(&browser, page).await;
    }
    click(&browser, &format!("{} a[href^='/alerts/']", by("episode"))).await;
    says(&browser, &by("alert-title"), "<img").await;
    is_text(&browser, "alert").await;
    watched.end().await;
}

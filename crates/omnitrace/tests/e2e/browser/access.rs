//! What people need who have lost their way, cannot see well, use no mouse, or hold a telephone: axe finds nothing serious on any page, dark and light;
//! no page is wider than 400 px; everything is reached and opened by the keyboard.

use fantoccini::Client;
use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use fantoccini::key::Key;
use serde_json::{Value, json};

use super::{GATEWAY_FAILS, Own, Watched, all, by, click, find, picture, says};
use crate::harness::{eventually, list, repository};

/// Each page by its name, its address, and what is there once it shows something.
async fn pages(browser: &Client) -> Vec<(&'static str, String, String)> {
    let alert = format!("{GATEWAY_FAILS} [data-testid=alert-link][href^='/alerts/']");
    let alert = address(browser, &alert).await;
    click(
        browser,
        &format!("{GATEWAY_FAILS} [data-testid=alert-link]"),
    )
    .await;
    let trace = address(browser, &format!("{} a", by("worst-trace"))).await;
    vec![
        ("overview", "/".to_owned(), GATEWAY_FAILS.to_owned()),
        (
            "service",
            "/services/data".to_owned(),
            ".exemplar".to_owned(),
        ),
        ("traces", "/traces".to_owned(), by("trace-row")),
        ("trace", trace, by("waterfall")),
        ("logs", "/logs".to_owned(), by("log-row")),
        ("alerts", "/alerts".to_owned(), by("episode")),
        ("alert", alert, by("first-error")),
        ("faults", "/faults".to_owned(), by("active")),
        ("nowhere", "/nowhere".to_owned(), by("not-found")),
    ]
}

pub(super) async fn address(browser: &Client, css: &str) -> String {
    eventually(&format!("the address of {css}"), async || {
        let link = find(browser, css).await;
        link.attr("href").await.ok().flatten()
    })
    .await
}

async fn emulate(browser: &Client, command: &str, params: Value) {
    let body = json!({"cmd": command, "params": params});
    let path = "goog/cdp/execute";
    browser.issue_cmd(Own { path, body }).await.unwrap();
}

async fn colours(browser: &Client, scheme: &str) {
    let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
    emulate(browser, "Emulation.setEmulatedMedia", media).await;
}

/// Makes the window so wide; how wide the page is then.
pub(super) async fn width(browser: &Client, width: u32) -> u64 {
    let metrics = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
    emulate(browser, "Emulation.setDeviceMetricsOverride", metrics).await;
    let wide = "return document.documentElement.scrollWidth";
    let wide = browser.execute(wide, Vec::new()).await.unwrap();
    wide.as_u64().expect("pixels")
}

/// What axe calls serious or critical, with the elements.
async fn barriers(browser: &Client) -> Value {
    let run = r#"
        const [done] = arguments;
        const words = ({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html, any }) => `${html} ${any[0]?.message ?? ''}`).join(' | ')}`;
        axe.run({ resultTypes: ['violations'] }).then(
            ({ violations }) => done(violations.filter(({ impact }) => ['serious', 'critical'].includes(impact)).map(words)),
            (error) => done([String(error)]));"#;
    browser.execute_async(run, Vec::new()).await.unwrap()
}

#[tokio::test]
#[ignore = "needs Chromium and axe-core: just test-browser"]
async fn nobody_is_kept_out_by_colours_width_or_markup() {
    let axe = repository("crates/omnitrace/tests/pages/node_modules/axe-core/axe.min.js");
    let axe = std::fs::read_to_string(&axe)
        .unwrap_or_else(|error| panic!("{}: {error}: just test-browser", axe.display()));
    let mut watched = Watched::start().await;
    let share = json!({"share": 0.5, "expires_in_s": 1800});
    watched.up.fault("downstream", "errors", share).await;
    let browser = &watched.browser;
    let mut found = Vec::new();
    for (name, address, shown) in pages(browser).await {
        let url = format!("{}{address}", watched.console);
        browser.goto(&url).await.unwrap();
        find(browser, &shown).await;
        if name == "trace" {
            click(browser, ".row.failed").await;
            find(browser, &by("span-detail")).await;
        }
        browser.execute(&axe, Vec::new()).await.unwrap();
        for pixels in [1280, 400] {
            let wide = width(browser, pixels).await;
            if wide > pixels.into() {
                found.push(format!("{name} at {pixels} px is {wide} px wide"));
            }
            for scheme in ["light", "dark"] {
                colours(browser, scheme).await;
                picture(browser, &format!("console-{name}-{pixels}-{scheme}")).await;
                for barrier in list(&barriers(browser).await) {
                    found.push(format!("{name} at {pixels} px, {scheme}: {barrier}"));
                }
            }
        }
        width(browser, 1280).await;
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    watched.end().await;
}

#[tokio::test]
#[ignore = "needs Chromium: just test-browser"]
async fn an_address_that_is_none_says_so_and_leads_back() {
    let watched = Watched::start().await;
    let browser = &watched.browser;
    for address in [
        "/nowhere",
        "/traces/nowhere",
        "/trace/nowhere",
        "/services/nowhere",
        "/alerts/nowhere",
        "/alerts/01234567-89ab-4cde-8f01-23456789abcd",
    ] {
        let url = format!("{}{address}", watched.console);
        browser.goto(&url).await.unwrap();
        find(browser, &by("not-found")).await;
        click(browser, "main a[href]").await;
        eventually(&format!("the way back from {address}"), async || {
            all(browser, &by("not-found"))
                .await
                .is_empty()
                .then_some(())
        })
        .await;
    }
    watched.end().await;
}

async fn press(browser: &Client, key: Key) {
    let value = char::from(key);
    let keys = KeyActions::new("keys".into())
        .then(KeyAction::Down { value })
        .then(KeyAction::Up { value });
    browser.perform_actions(keys).await.unwrap();
}

/// More than any page has.
const STOPS: usize = 300;

/// What has the focus, if it is this one; whatever has it shows that.
async fn has_focus(browser: &Client, css: &str) -> bool {
    let look = r#"
        const [css] = arguments;
        const focused = document.activeElement;
        if (focused === document.body) return [false, true, ''];
        return [focused.matches(css), getComputedStyle(focused).outlineStyle !== 'none', focused.outerHTML];"#;
    let [is_it, is_seen, html] = &list(&browser.execute(look, vec![json!(css)]).await.unwrap())[..]
    else {
        panic!("three answers")
    };
    assert_eq!(is_seen, &json!(true), "the focus is not seen: {html}");
    is_it == &json!(true)
}

async fn tab_to(browser: &Client, css: &str) {
    find(browser, css).await;
    for _ in 0..STOPS {
        press(browser, Key::Tab).await;
        if has_focus(browser, css).await {
            return;
        }
    }
    panic!("no way by Tab to {css}");
}

#[tokio::test]
#[ignore = "needs Chromium: just test-browser"]
async fn every_page_goes_by_keyboard() {
    let watched = Watched::start().await;
    let browser = &watched.browser;
    let node = "a:has([data-testid=node][data-service=data])";
    tab_to(browser, node).await;
    // What is drawn again meanwhile keeps the focus.
    let drawn = "window.drawn ??= document.querySelector('[data-testid=topology]'); return window.drawn.isConnected;";
    eventually("the map is drawn again", async || {
        let old = browser.execute(drawn, Vec::new()).await.ok()?;
        (old == false).then_some(())
    })
    .await;
    assert!(has_focus(browser, node).await);
    press(browser, Key::Enter).await;
    says(browser, &by("service-name"), "data").await;
    tab_to(browser, "a[href='/traces?service=data']").await;
    press(browser, Key::Enter).await;
    tab_to(browser, &by("trace-row")).await;
    press(browser, Key::Enter).await;
    tab_to(browser, &by("span-row")).await;
    press(browser, Key::Enter).await;
    find(browser, &by("span-detail")).await;

    for (page, control, opened) in [
        (
            "logs",
            "[data-testid=log-row] button",
            "[data-testid=chosen-line] pre",
        ),
        (
            "alerts",
            "[data-key='new silence'] summary",
            "[data-key='new silence'][open]",
        ),
        (
            "faults",
            "[data-board=downstream] [data-fault=latency] form button",
            "[data-testid=active]",
        ),
    ] {
        let url = format!("{}/{page}", watched.console);
        browser.goto(&url).await.unwrap();
        tab_to(browser, control).await;
        press(browser, Key::Enter).await;
        find(browser, opened).await;
    }
    watched.end().await;
}

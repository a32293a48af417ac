//! The console's page in headless Chromium, driven through WebDriver.
//!
//! Ignored by default, since a plain Rust machine has no browser: `just test-browser` runs it, and then a missing
//! Chromium or ChromeDriver is a failure that says what to install.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::json;

use crate::harness::{DEADLINE, Directory, Up, eventually};

/// A ChromeDriver of the test's own, killed on drop; the browser ends with it.
struct Driver {
    process: Child,
    url: String,
}

impl Driver {
    fn start() -> Self {
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("chromedriver does not start ({error}): on Debian, apt-get install chromium chromium-driver")
            });
        let output = BufReader::new(process.stdout.take().expect("piped"));
        let port = output
            .lines()
            .map_while(Result::ok)
            .find_map(|line| {
                line.split_once("started successfully on port ")
                    .map(|(_, port)| port.trim_end_matches('.').to_owned())
            })
            .expect("chromedriver names its port");
        Self {
            process,
            url: format!("http://127.0.0.1:{port}"),
        }
    }

    async fn browser(&self, profile: &Path) -> Client {
        let profile = format!("--user-data-dir={}", profile.display());
        let options = json!({"args": [
            // As root, in a container, Chromium's own sandbox does not start; the page is ours.
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,900",
            // No network: the page must not need any, and the browser must not look for any.
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", profile,
        ]});
        let mut capabilities = fantoccini::wd::Capabilities::new();
        capabilities.insert("goog:chromeOptions".to_owned(), options);
        capabilities.insert("goog:loggingPrefs".to_owned(), json!({"browser": "ALL"}));
        let mut builder =
            ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new());
        builder.capabilities(capabilities).connect(&self.url).await.unwrap_or_else(|error| {
            panic!("no Chromium behind chromedriver ({error}): on Debian, apt-get install chromium chromium-driver")
        })
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn by(testid: &str) -> String {
    format!("[data-testid={testid}]")
}

async fn find(browser: &Client, css: &str) -> Element {
    browser
        .wait()
        .at_most(DEADLINE)
        .for_element(Locator::Css(css))
        .await
        .unwrap_or_else(|error| panic!("{css}: {error}"))
}

async fn all(browser: &Client, css: &str) -> Vec<Element> {
    browser.find_all(Locator::Css(css)).await.expect("a page")
}

#[tokio::test]
#[ignore = "needs Chromium: just test-browser"]
async fn the_probe_is_found_opened_and_read() {
    let driver = Driver::start();
    let profile = Directory::new();
    let mut up = Up::start().await;
    let ready = up.ready().await;
    let (console, trace_id) = (
        ready["console_url"].as_str().unwrap(),
        ready["trace_id"].as_str().unwrap(),
    );
    let browser = driver.browser(profile.path()).await;

    // From the list to the trace.
    browser.goto(console).await.unwrap();
    let row = find(
        &browser,
        &format!("{}[data-trace-id=\"{trace_id}\"]", by("trace-row")),
    )
    .await;
    if let Some(file) = std::env::var_os("OMNITRACE_SCREENSHOTS") {
        std::fs::write(
            Path::new(&file).join("console-list.png"),
            browser.screenshot().await.unwrap(),
        )
        .unwrap();
    }
    row.click().await.unwrap();
    find(&browser, &by("waterfall")).await;

    // Every service's row, in the order of the call.
    let rows = all(&browser, &by("span-row")).await;
    let mut services = Vec::new();
    for row in &rows {
        let service = row
            .attr("data-service")
            .await
            .unwrap()
            .expect("data-service");
        if services.last() != Some(&service) && !services.contains(&service) {
            services.push(service);
        }
    }
    assert_eq!(services, ["gateway", "data", "downstream"]);
    assert!(
        !all(&browser, &by("critical-path")).await.is_empty(),
        "the critical path is marked"
    );

    // A span expands to its attributes and its log line.
    let server = format!("{}[data-service=gateway]", by("span-row"));
    find(&browser, &server).await.click().await.unwrap();
    let attributes = find(
        &browser,
        &format!("{} {}", by("span-detail"), by("span-attributes")),
    )
    .await;
    let text = attributes.text().await.unwrap();
    assert!(
        text.contains("http.route") && text.contains("/api/orders"),
        "{text}"
    );
    let line = find(&browser, &format!("{} {}", by("span-logs"), by("log-line"))).await;
    assert!(
        line.text().await.unwrap().contains("order"),
        "the gateway's log line"
    );
    if let Some(file) = std::env::var_os("OMNITRACE_SCREENSHOTS") {
        std::fs::write(
            Path::new(&file).join("console-trace.png"),
            browser.screenshot().await.unwrap(),
        )
        .unwrap();
    }

    // The address of a trace can be passed on.
    browser
        .goto(&format!("{console}/trace/{trace_id}"))
        .await
        .unwrap();
    find(&browser, &by("waterfall")).await;
    browser.close().await.unwrap();
    assert!(up.stop().await.success());
}

#[tokio::test]
#[ignore = "needs Chromium: just test-browser"]
async fn hostile_telemetry_is_shown_as_text() {
    let driver = Driver::start();
    let profile = Directory::new();
    let mut up = Up::start().await;
    let console = up.ready().await["console_url"].as_str().unwrap().to_owned();
    let hostile =
        "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>";
    let attributes = json!([{"key": hostile, "value": {"stringValue": hostile}}]);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_nanos();
    let body = json!({"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": hostile}}]},
        "scopeSpans": [{"scope": {"name": hostile}, "spans": [{
            "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "name": hostile, "kind": 2,
            "startTimeUnixNano": now.to_string(), "endTimeUnixNano": (now + 1_000_000).to_string(),
            "attributes": attributes, "status": {"code": 2, "message": hostile},
            "events": [{"name": hostile, "timeUnixNano": now.to_string(), "attributes": attributes}],
        }]}],
    }]});
    let sent = crate::harness::http()
        .post(format!("{console}/v1/traces"))
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(sent.status(), 200);

    let browser = driver.browser(profile.path()).await;
    browser
        .goto(&format!("{console}/trace/0af7651916cd43dd8448eb211c80319c"))
        .await
        .unwrap();
    let row = find(&browser, &by("span-row")).await;
    assert!(
        row.text().await.unwrap().contains("<script>"),
        "the name is shown as it is"
    );
    row.click().await.unwrap();
    find(&browser, &by("span-detail")).await;
    browser.goto(&console).await.unwrap();
    find(&browser, &by("trace-row")).await;
    eventually("the list has settled", async || {
        let rows = all(&browser, &by("trace-row")).await;
        (rows.len() >= 2).then_some(())
    })
    .await;
    assert_ne!(browser.title().await.unwrap(), "owned");
    browser.close().await.unwrap();
    assert!(up.stop().await.success());
}

//! The console's pages in headless Chromium, driven through WebDriver: by clicks, as a person goes.
//!
//! Ignored by default, since a plain Rust machine has no browser: `just test-browser` runs it, and then a missing
//! Chromium or ChromeDriver is a failure that says what to install.

mod access;
mod alerts;
mod differs;
mod faults;
mod hostile;
mod logs;
mod overview;
mod paths;
mod service;
mod traces;
mod walk;
mod waterfall;

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder, Locator};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::harness::{DEADLINE, Directory, Reply, Up, database, eventually, http};

/// A ChromeDriver of the test's own, killed on drop together with its browser, which would go on without it.
struct Driver {
    process: Child,
    url: String,
}

impl Driver {
    /// It looks for a free port by itself, and ends when somebody else takes that first.
    fn start() -> Self {
        let mut attempts = (0..5).map(|_| Self::attempt());
        let started = attempts.find_map(|started| started);
        started.expect("chromedriver finds a port and names it")
    }

    fn attempt() -> Option<Self> {
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("chromedriver does not start ({error}): on Debian, apt-get install chromium chromium-driver")
            });
        let output = BufReader::new(process.stdout.take().expect("piped"));
        let port = output.lines().map_while(Result::ok).find_map(|line| {
            line.split_once("started successfully on port ")
                .map(|(_, port)| port.trim_end_matches('.').to_owned())
        });
        let Some(port) = port else {
            process.wait().expect("it has closed its output");
            return None;
        };
        Some(Self {
            process,
            url: format!("http://127.0.0.1:{port}"),
        })
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
        let group = i32::try_from(self.process.id()).expect("a pid");
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        let _ = self.process.wait();
    }
}

fn by(testid: &str) -> String {
    format!("[data-testid={testid}]")
}

/// The page about requests of the gateway that fail: which of the alerts begins first is not the same each time.
const GATEWAY_FAILS: &str =
    ".page[data-testid=firing-alert][data-alert=AvailabilityBurnRate][data-service=gateway]";

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

/// Waits until what `css` finds says `words`, and gives its text.
async fn says(browser: &Client, css: &str, words: &str) -> String {
    eventually(&format!("{css} says {words:?}"), async || {
        // What has just been replaced by something newer cannot be read.
        let mut texts = Vec::new();
        for element in all(browser, css).await {
            texts.push(element.text().await.unwrap_or_default());
        }
        texts.into_iter().find(|text| text.contains(words))
    })
    .await
}

/// Clicks it once it is there; what live updates replace meanwhile is looked for again.
async fn click(browser: &Client, css: &str) {
    eventually(&format!("a click on {css}"), async || {
        let element = browser.find(Locator::Css(css)).await.ok()?;
        element.click().await.ok()
    })
    .await;
}

/// Moves the mouse there, and leaves it.
async fn pointer(browser: &Client, css: &str) {
    use fantoccini::actions::{InputSource, MouseActions, PointerAction};
    let element = find(browser, css).await;
    let there = PointerAction::MoveToElement {
        element,
        duration: None,
        x: 0.0,
        y: 0.0,
    };
    let mouse = MouseActions::new("mouse".into()).then(there);
    browser.perform_actions(mouse).await.unwrap();
}

/// Keeps a picture for who wants to look: `OMNITRACE_SCREENSHOTS` names the directory.
async fn picture(browser: &Client, name: &str) {
    if let Some(directory) = std::env::var_os("OMNITRACE_SCREENSHOTS") {
        let file = Path::new(&directory).join(format!("{name}.png"));
        std::fs::write(file, browser.screenshot().await.unwrap()).unwrap();
    }
}

/// What the page or its policy complained of.
async fn complaints(browser: &Client) -> Vec<String> {
    let log = browser
        .issue_cmd(Own {
            path: "se/log",
            body: json!({"type": "browser"}),
        })
        .await
        .expect("the log of the browser");
    let entries = log.as_array().cloned().unwrap_or_default().into_iter();
    let severe = entries.filter(|entry| entry["level"] == "SEVERE");
    // What is not there is asked for once: who has no such part of the console.
    let missing = |message: &str| message.contains("404 (Not Found)");
    severe
        .map(|entry| entry["message"].as_str().unwrap_or_default().to_owned())
        .filter(|message| !missing(message))
        .collect()
}

/// A command that only Chromium has.
#[derive(Debug)]
struct Own {
    path: &'static str,
    body: Value,
}

impl fantoccini::wd::WebDriverCompatibleCommand for Own {
    fn endpoint(
        &self,
        base: &url::Url,
        session: Option<&str>,
    ) -> Result<url::Url, url::ParseError> {
        let session = session.unwrap_or_default();
        base.join(&format!("session/{session}/{}", self.path))
    }

    fn method_and_body(&self, _: &url::Url) -> (reqwest::Method, Option<String>) {
        (reqwest::Method::POST, Some(self.body.to_string()))
    }
}

/// Sends JSON to the console or to herald.
async fn send(url: &str, path: &str, body: &Value) {
    let request = http().post(format!("{url}{path}")).json(body);
    let answer = Reply::read(request.send().await.expect("an answer")).await;
    answer.expect(200);
}

/// An attribute, as OTLP JSON.
fn attribute(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

/// Spans of one sender, as OTLP JSON.
fn spans(service: &str, spans: &Value) -> Value {
    json!({"resourceSpans": [{
        "resource": {"attributes": [attribute("service.name", service)]},
        "scopeSpans": [{"spans": spans}],
    }]})
}

/// Log records of one sender, as OTLP JSON.
fn records(service: &str, records: &Value) -> Value {
    json!({"resourceLogs": [{
        "resource": {"attributes": [attribute("service.name", service)]},
        "scopeLogs": [{"logRecords": records}],
    }]})
}

/// Nanoseconds since 1970.
fn now_ns() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(now.expect("a time after 1970").as_nanos()).expect("a time before 2554")
}

/// A stack, and a browser that looks at its console.
struct Watched {
    up: Up,
    browser: Client,
    console: String,
    _driver: Driver,
    _profile: Directory,
}

impl Watched {
    /// With requests.
    async fn start() -> Self {
        Self::start_in(Directory::new(), |command| command.args(["--load", "10"])).await
    }

    /// Without, but for those of the start.
    async fn idle() -> Self {
        Self::start_in(Directory::new(), |command| command).await
    }

    async fn start_in(
        directory: Directory,
        change: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Self {
        let driver = Driver::start();
        let profile = Directory::new();
        let mut up = Up::start_with(directory, &database().await, change).await;
        let ready = up.ready().await;
        let console = ready["console_url"].as_str().expect("a URL").to_owned();
        let browser = driver.browser(profile.path()).await;
        browser.goto(&console).await.unwrap();
        Self {
            up,
            browser,
            console,
            _driver: driver,
            _profile: profile,
        }
    }

    /// Nothing went wrong in the pages, and the stack ends as it should.
    async fn end(self) {
        self.end_despite(|_| false).await;
    }

    /// The same where the test itself causes complaints of the browser: those that are `expected`.
    async fn end_despite(mut self, expected: impl Fn(&str) -> bool) {
        let mut complaints = complaints(&self.browser).await;
        complaints.retain(|complaint| !expected(complaint));
        assert_eq!(complaints, [] as [String; 0]);
        self.browser.close().await.unwrap();
        assert!(self.up.stop().await.success());
    }
}

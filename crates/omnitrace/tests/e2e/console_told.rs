//! Whom the console tells about alerts, over its own death, and what it says about that.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::{Capture, Captured, Child, Signal, eventually, http, omnitrace};
use crate::herald::arrived;

/// A target that does not answer is an alert; one that is no target any more is none. One rule cannot be evaluated.
const RULES: &str = r#"
groups:
  - name: 'the "first"'
    interval: 1s
    rules:
      - alert: Down
        expr: up == 0
        labels: {severity: page, team: shop, service: '{{ $labels.service_name }}', slo: none, route: none}
        annotations: {summary: '{{ $labels.service_name }} does not answer'}
      - record: broken
        expr: '"text"'
"#;

const SECRET: &str = "a-secret-of-the-receiver";

/// A console that can be started again and again.
struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self {
            directory: tempfile::tempdir().expect("a directory"),
        };
        std::fs::write(files.path("rules.yml"), RULES).expect("a file");
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Nothing listens at these ports.
    fn targets(&self, services: &[(&str, u16)]) {
        let target = |(name, port): &(&str, u16)| json!({"targets": [format!("127.0.0.1:{port}")], "labels": {"service_name": name}});
        let targets: Value = services.iter().map(target).collect();
        std::fs::write(self.path("targets.json"), targets.to_string()).expect("a file");
    }

    async fn start(&self, receiver: &Capture) -> (Child, String) {
        let mut command = omnitrace(["console", "--listen=127.0.0.1:0", "--scrape-interval=200ms"]);
        for name in ["rules", "targets", "state"] {
            let ending = if name == "rules" { "yml" } else { "json" };
            let path = self.path(&format!("{name}.{ending}"));
            command.arg(format!("--{name}")).arg(path);
        }
        command
            .env(
                "OMNITRACE_NOTIFY_URL",
                format!("{}/alerts?key=s3cret", receiver.url()),
            )
            .env("OMNITRACE_NOTIFY_SECRET", SECRET);
        let mut console = Child::spawn("console", command);
        let url = format!("http://{}", console.listening().await.http_addr);
        (console, url)
    }

    fn state(&self) -> Value {
        let text = std::fs::read_to_string(self.path("state.json")).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Waits until the file holds so many alerts that were told, and so many that have ended.
    async fn kept(&self, told: usize, ended: usize) {
        eventually(&format!("{told} told, {ended} ended"), async || {
            let state = self.state();
            let alerts = state["alerts"].as_array()?;
            let resolved = alerts.iter().filter(|alert| alert["state"] == "resolved");
            let is_so = state["told"].as_array()?.len() == told && resolved.count() == ended;
            is_so.then_some(())
        })
        .await;
    }

    /// Makes the state look as if the console had been away for a minute more.
    fn a_minute_passes(&self) {
        let mut state = self.state();
        for told in state["told"].as_array_mut().expect("a list") {
            told["told_ms"] = json!(told["told_ms"].as_i64().expect("a time") - 60_000);
        }
        std::fs::write(self.path("state.json"), state.to_string()).expect("a file");
    }
}

/// Status and services of the alerts of notifications, sorted.
fn told(requests: &[Captured]) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for body in requests.iter().map(Captured::json) {
        for alert in body["alerts"].as_array().expect("alerts") {
            let text = |value: &Value| value.as_str().expect("a text").to_owned();
            all.push((text(&alert["status"]), text(&alert["labels"]["service"])));
        }
    }
    all.sort();
    all
}

fn firing(service: &str) -> (String, String) {
    ("firing".to_owned(), service.to_owned())
}

fn resolved(service: &str) -> (String, String) {
    ("resolved".to_owned(), service.to_owned())
}

async fn metric(console: &str, line: &str) -> Option<f64> {
    let page = http().get(format!("{console}/metrics")).send().await.ok()?;
    let page = page.text().await.ok()?;
    let value = page.lines().find_map(|found| found.strip_prefix(line))?;
    value.trim().parse().ok()
}

async fn until_metric(console: &str, line: &str, least: f64) {
    eventually(&format!("{line} is {least}"), async || {
        let value = metric(console, line).await?;
        (value >= least).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_console_that_is_killed_tells_the_end_and_nothing_twice() {
    let (files, receiver) = (Files::new(), Capture::answering(&json!({})));
    files.targets(&[("shop", 9), ("stock", 10)]);
    let (mut console, _) = files.start(&receiver).await;
    let first = arrived(&receiver, 2).await;
    assert_eq!(told(&first), [firing("shop"), firing("stock")]);
    let bearer = format!("Bearer {SECRET}");
    assert_eq!(first[0].header("authorization"), Some(bearer));
    assert_eq!(first[0].target, "/alerts?key=s3cret");
    // One alert ends before its group is due.
    files.targets(&[("stock", 10)]);
    files.kept(2, 1).await;
    console.signal(Signal::SIGKILL);
    console.wait().await;

    files.a_minute_passes();
    files.targets(&[("stock", 10), ("till", 11)]);
    let (mut console, _) = files.start(&receiver).await;
    let second = arrived(&receiver, 2).await;
    // What fired on has had time to be told by then: the new one has waited for others.
    assert_eq!(told(&second), [firing("till"), resolved("shop")]);
    let end = second[0].json();
    let summary = "shop does not answer";
    assert_eq!(end["alerts"][0]["annotations"]["summary"], summary);
    assert_eq!(
        end["alerts"][0]["startsAt"],
        first_of(&first, "shop")["startsAt"]
    );
    files.kept(2, 1).await;
    console.signal(Signal::SIGKILL);
    console.wait().await;

    // The receiver is away when the console comes back, and the rule is another one that says the same.
    files.a_minute_passes();
    let rules = RULES.replace("up == 0", "up == 0 and on () vector(1)");
    std::fs::write(files.path("rules.yml"), rules).expect("a file");
    receiver.answer_with(503);
    files.targets(&[("stock", 10), ("till", 11), ("desk", 12)]);
    let (mut console, url) = files.start(&receiver).await;
    let refused = arrived(&receiver, 2).await;
    assert_eq!(told(&refused), [firing("desk"), firing("desk")]);
    receiver.answer_with(200);
    until_metric(
        &url,
        "console_notifications_sent_total{receiver=\"page\"} ",
        1.0,
    )
    .await;
    let failed = metric(
        &url,
        "console_notifications_failed_total{receiver=\"page\"} ",
    )
    .await;
    assert!(failed >= Some(2.0), "{failed:?}");
    let complaints = said(&console, "a notification was not taken");
    assert_eq!((complaints, said(&console, "taken again")), (1, 1));
    assert!(!console.output().contains("s3cret"), "{}", console.output());
    assert!(console.terminate().await.success());
}

fn first_of(requests: &[Captured], service: &str) -> Value {
    let bodies = requests.iter().map(Captured::json);
    let mut alerts = bodies.map(|body| body["alerts"][0].clone());
    let found = alerts.find(|alert| alert["labels"]["service"] == service);
    found.expect(service)
}

fn said(console: &Child, message: &str) -> usize {
    let lines = console.json_lines();
    let texts = lines.iter().filter_map(|line| line["message"].as_str());
    texts.filter(|text| text.contains(message)).count()
}

#[tokio::test]
async fn rules_are_counted_and_one_that_fails_is_said_once() {
    let (files, receiver) = (Files::new(), Capture::answering(&json!({})));
    files.targets(&[("shop", 9)]);
    let (mut console, url) = files.start(&receiver).await;
    let group = "{rule_group=\"the \\\"first\\\"\"} ";
    let of = |name: &str| format!("console_rule_{name}{group}");
    until_metric(&url, &of("evaluation_failures_total"), 3.0).await;
    let value = async |name| metric(&url, &of(name)).await.expect("a value");
    let iterations = value("group_iterations_total").await;
    assert!(value("evaluations_total").await >= 2.0 * iterations);
    assert_eq!(value("group_interval_seconds").await, 1.0);
    let took = value("group_last_duration_seconds").await;
    assert!(took > 0.0 && took < 60.0, "{took}");
    let now = chrono::Utc::now().timestamp() as f64;
    let age = now - value("group_last_evaluation_timestamp_seconds").await;
    assert!(age < 60.0, "{age}");
    value("group_iterations_missed_total").await;
    assert_eq!(said(&console, "a rule cannot be evaluated"), 1);

    // Whom it tells, without what may be secret.
    let answer = http().get(format!("{url}/api/v1/alertmanagers")).send();
    let answer: Value = answer.await.expect("an answer").json().await.expect("JSON");
    let told = json!([{"url": receiver.url()}]);
    assert_eq!(answer["data"]["activeAlertmanagers"], told);
    assert!(console.terminate().await.success());
}

#[tokio::test]
async fn what_cannot_be_posted_to_ends_the_start_without_being_shown() {
    for (variable, value) in [
        ("OMNITRACE_NOTIFY_URL", "hooks.example.org/s3cret"),
        ("OMNITRACE_NOTIFY_URL", "ftp://hooks.example.org/s3cret"),
        ("OMNITRACE_WATCHDOG_URL", "s3cret"),
        ("OMNITRACE_NOTIFY_SECRET", "s3cret\nx: y"),
    ] {
        let mut command = omnitrace(["console", "--listen=127.0.0.1:0"]);
        command.env(variable, value);
        let mut console = Child::spawn("console", command);
        assert_eq!(console.wait().await.code(), Some(1), "{variable}");
        let complaint = console.stderr().join("\n");
        assert!(complaint.contains(variable), "{complaint}");
        assert!(complaint.contains("allowed: "), "{complaint}");
        assert!(!console.output().contains("s3cret"), "{complaint}");
    }
}

//! What readers of `/api/events` hear.

use std::time::Duration;

use console::Settings;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::harness::{Reply, Running, settings};
use crate::payload::{log, logs, span, traces};
use crate::rules::written;
use crate::scraping::{Behaviour, Target, group, write_targets};

/// The longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(20);

const MOST: usize = 32;

pub async fn reader(console: &Running) -> reqwest::Response {
    let request = console.client.get(format!("{}/api/events", console.url));
    let response = request.send().await.expect("an answer");
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "no-store");
    response
}

/// The data of the next event about what is new; heartbeats are none.
pub async fn next(reader: &mut reqwest::Response) -> Value {
    loop {
        let part = timeout(PATIENCE, reader.chunk()).await.expect("in time");
        let part = part.expect("no end").expect("a part").to_vec();
        let part = String::from_utf8(part).expect("UTF-8");
        if let Some(data) = part.split("event: changed\ndata: ").nth(1) {
            return serde_json::from_str(data.trim()).expect("JSON");
        }
    }
}

/// Hears events until one is as wanted.
async fn until(reader: &mut reqwest::Response, wanted: impl Fn(&Value) -> bool) -> Value {
    let heard = async {
        loop {
            let event = next(reader).await;
            if wanted(&event) {
                return event;
            }
        }
    };
    timeout(PATIENCE, heard).await.expect("such an event")
}

const RULES: &str = "
groups:
  - name: always
    interval: 1s
    rules: [{alert: Watchdog, expr: vector(1), labels: {severity: none}}]
";

#[tokio::test]
async fn a_page_hears_of_what_was_taken_and_of_alerts() {
    let directory = tempfile::tempdir().expect("a directory");
    let target = Target::start(Behaviour::Answers("a 1\n# EOF\n".into())).await;
    let targets_file = directory.path().join("targets.json");
    write_targets(&targets_file, &json!([group(&[&target.address], "shop")]));
    let console = Running::with(Settings {
        rules_file: Some(written(&directory, RULES)),
        targets_file: Some(targets_file),
        ..settings()
    });
    let mut reader = reader(&console).await;
    let first = next(&mut reader).await;
    assert_eq!((&first["traces"], &first["logs"]), (&0.into(), &0.into()));
    let spans = vec![span(1, 1, None, "a"), span(1, 2, Some(1), "b")];
    console.take("/v1/traces", &traces("shop", spans)).await;
    let lines = vec![log(9, "a line", None)];
    console.take("/v1/logs", &logs("shop", lines)).await;
    let is_heard = |event: &Value| {
        let has = |name: &str| event[name].as_u64() > Some(0);
        event["traces"] == 2 && event["logs"] == 1 && has("metrics") && has("alerts")
    };
    until(&mut reader, is_heard).await;
}

#[tokio::test]
async fn a_page_hears_that_a_target_does_not_answer() {
    let directory = tempfile::tempdir().expect("a directory");
    let targets_file = directory.path().join("targets.json");
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("an address").to_string();
    drop(free);
    write_targets(&targets_file, &json!([group(&[&address], "shop")]));
    let console = Running::with(Settings {
        targets_file: Some(targets_file),
        ..settings()
    });
    let mut reader = reader(&console).await;
    // The three that tell about a scrape, of several scrapes.
    until(&mut reader, |event| event["metrics"].as_u64() > Some(3)).await;
}

#[tokio::test]
async fn readers_are_bounded_and_who_has_gone_makes_room() {
    let console = Running::start();
    let mut readers = Vec::new();
    for _ in 0..MOST {
        readers.push(reader(&console).await);
    }
    let refused = console.get("/api/events").await;
    assert!(
        refused.status == 503 && refused.text().contains("32 readers"),
        "{}",
        refused.text()
    );
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(console.get("/api/services").await.status, 200);
    readers.pop();
    // The console notices that the reader has gone with the next event, at the latest a heartbeat.
    let again = async {
        loop {
            let request = console.client.get(format!("{}/api/events", console.url));
            let response = request.send().await.expect("an answer");
            if response.status() == 200 {
                return;
            }
            console
                .take("/v1/traces", &traces("shop", vec![span(1, 1, None, "a")]))
                .await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, again).await.expect("room");
}

#[tokio::test]
async fn readers_end_at_once_when_the_console_stops() {
    let console = Running::start();
    let mut readers = Vec::new();
    for _ in 0..4 {
        let mut reader = reader(&console).await;
        next(&mut reader).await;
        readers.push(reader);
    }
    console.drain();
    for mut reader in readers {
        // An end that was cut off is an error.
        let rest = async { while reader.chunk().await.expect("a whole answer").is_some() {} };
        timeout(PATIENCE, rest).await.expect("an end");
    }
}

#[tokio::test]
async fn a_head_of_it_is_no_reader() {
    let console = Running::start();
    for _ in 0..=MOST {
        let request = console.client.head(format!("{}/api/events", console.url));
        let reply = timeout(PATIENCE, Reply::to(request)).await.expect("an end");
        assert_eq!(
            (reply.status.as_u16(), reply.header("content-type")),
            (200, "text/event-stream")
        );
    }
}

//! Receivers that are slow to answer, or never do.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use console::{Notify, Settings};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::harness::{Running, settings};
use crate::rules::{request, written};

const RULES: &str = "
groups:
  - name: always
    interval: 1s
    rules:
      - {alert: Watchdog, expr: vector(1), labels: {severity: none}}
      - {alert: High, expr: vector(1), labels: {severity: page, service: shop}}
";

/// Where notifications are posted; they come out here with the connection that waits for an answer.
async fn receiver() -> (String, UnboundedReceiver<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let (sender, received) = unbounded_channel();
    tokio::spawn(accept(listener, sender));
    (url, received)
}

async fn accept(listener: TcpListener, sender: UnboundedSender<TcpStream>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        request(&mut stream).await;
        if sender.send(stream).is_err() {
            return;
        }
    }
}

async fn next(received: &mut UnboundedReceiver<TcpStream>) -> TcpStream {
    let next = tokio::time::timeout(Duration::from_secs(60), received.recv());
    next.await.expect("in time").expect("a notification")
}

async fn answer(mut stream: TcpStream) {
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    stream.write_all(answer).await.expect("written");
}

fn console(
    directory: &tempfile::TempDir,
    url: String,
    watchdog_url: String,
    state: &Path,
) -> Running {
    Running::with(Settings {
        rules_file: Some(written(directory, RULES)),
        state_file: Some(state.to_owned()),
        notify: Notify {
            url: Some(url),
            watchdog_url: Some(watchdog_url),
            secret: None,
        },
        ..settings()
    })
}

async fn until_closed(address: SocketAddr) {
    let closed = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let closed = tokio::time::timeout(Duration::from_secs(60), closed);
    closed.await.expect("in time");
}

/// The receiver has taken it, and says so only when the console is about to end.
#[tokio::test]
async fn what_is_told_while_the_console_ends_is_kept() {
    let directory = tempfile::tempdir().expect("a directory");
    let state = directory.path().join("alerts.json");
    let (url, mut told) = receiver().await;
    let (watchdog_url, mut alive) = receiver().await;
    let console = console(&directory, url, watchdog_url, &state);
    answer(next(&mut alive).await).await;
    let waiting = next(&mut told).await;
    let address = console.address;
    let ended = tokio::task::spawn_blocking(move || drop(console));
    until_closed(address).await;
    answer(waiting).await;
    ended.await.expect("a clean end");
    let kept = std::fs::read(&state).expect("a file");
    let kept: Value = serde_json::from_slice(&kept).expect("JSON");
    let told = kept["told"].as_array().expect("a list").iter();
    let names: Vec<&str> = told
        .filter_map(|one| one["labels"]["alertname"].as_str())
        .collect();
    assert!(names.contains(&"High"), "{kept}");
}

#[tokio::test]
async fn a_receiver_that_never_answers_keeps_nobody_else_waiting_and_is_asked_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let state = directory.path().join("alerts.json");
    let (url, mut told) = receiver().await;
    let (watchdog_url, mut alive) = receiver().await;
    let console = console(&directory, url, watchdog_url, &state);
    let _hanging = next(&mut told).await;
    answer(next(&mut alive).await).await;
    // The console gives up on that attempt, and sends the same again.
    let again = next(&mut told).await;
    let page = console.get("/metrics").await.text();
    let failed = r#"console_notifications_failed_total{receiver="page"} 1"#;
    assert!(page.contains(failed), "{page}");
    answer(again).await;
}

//! What connections cost, and whom they keep out.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use console::Settings;

use crate::harness::{Running, settings};

const MIB: u64 = 1 << 20;

/// The longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// Fewer connections than are taken at 8 MiB, and more than may send a body at once.
const MANY: usize = 230;

/// More than are taken.
const TOO_MANY: usize = 400;

const READY: &str = "GET /ready HTTP/1.1\r\nhost: localhost\r\n\r\n";

async fn connect(console: &Running, text: &str) -> TcpStream {
    let stream = TcpStream::connect(console.address).await;
    let mut stream = stream.expect("a connection");
    stream.write_all(text.as_bytes()).await.expect("room");
    stream
}

/// All that comes until the other side ends it.
async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // Closing a connection with unread bytes resets it.
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    let _ = read.expect("an end in time");
    String::from_utf8_lossy(&answer).into_owned()
}

fn small() -> Running {
    Running::with(Settings {
        memory_bytes: 8 * MIB,
        ..settings()
    })
}

#[tokio::test]
async fn an_unfinished_head_ends_the_first_one_and_those_after_it() {
    let console = Running::start();
    let mut first = connect(&console, "GET /ready HTTP/1.1\r\nhost:").await;
    let mut later = connect(&console, READY).await;
    let mut answer = [0; 15];
    later.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    later.write_all(b"GET /ready HT").await.expect("room");
    assert!(rest(&mut first).await.starts_with("HTTP/1.1 408 "));
    assert!(!rest(&mut later).await.contains("HTTP/1.1"));
}

#[tokio::test]
async fn nobody_is_kept_out_by_those_who_send_half_a_head() {
    let console = small();
    let mut silent = Vec::new();
    for _ in 0..TOO_MANY {
        silent.push(connect(&console, "GET /ready HTTP/1.1\r\nx: ").await);
    }
    // Before the first of them has been there for too long.
    let ready = timeout(Duration::from_secs(4), console.get("/ready")).await;
    assert_eq!(ready.expect("an answer at once").status, 200);
    console.take("/v1/traces", &json!({})).await;
    let mut first = silent.swap_remove(0);
    assert_eq!(rest(&mut first).await, "", "the oldest made room");
}

#[tokio::test]
async fn nobody_is_kept_out_by_those_who_do_not_end_a_body_that_is_refused() {
    let console = small();
    let head = "POST /nowhere HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut silent = Vec::new();
    for _ in 0..TOO_MANY {
        silent.push(connect(&console, &format!("{head}100000\r\nabc")).await);
    }
    // Long before they end by themselves.
    let ready = timeout(Duration::from_secs(4), console.get("/ready")).await;
    assert_eq!(ready.expect("an answer at once").status, 200);
    let answer = rest(&mut silent[0]).await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}

#[tokio::test]
async fn a_head_byte_by_byte_ends_like_a_silent_one() {
    let console = Running::start();
    let mut stream = connect(&console, READY).await;
    stream.set_nodelay(true).expect("TCP");
    let (mut reader, mut writer) = stream.split();
    let dripping = async {
        while writer.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        std::future::pending::<()>().await;
    };
    let mut answer = Vec::new();
    let ended = tokio::select! {
        ended = timeout(PATIENCE, reader.read_to_end(&mut answer)) => ended,
        () = dripping => unreachable!("it goes on for ever"),
    };
    // A client that sends until the end may see a reset.
    let _ = ended.expect("an end in time");
    assert!(answer.starts_with(b"HTTP/1.1 200 "));
}

#[tokio::test]
async fn requests_leave_some_connections_to_others() {
    let console = small();
    let head = "POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{";
    let mut slow = Vec::new();
    for _ in 0..MANY {
        slow.push(connect(&console, head).await);
    }
    let start = Instant::now();
    let busy = loop {
        let reply = console.get("/api/stats").await;
        if reply.status == 503 {
            break reply;
        }
        assert!(start.elapsed() < PATIENCE, "none is refused");
    };
    assert_eq!(busy.header("retry-after"), "1");
    assert!(busy.text().contains("try again"), "{}", busy.text());
    assert_eq!(console.get("/ready").await.status, 200);
    drop(slow);
    let is_free = async || console.get("/api/stats").await.status == 200;
    let start = Instant::now();
    while !is_free().await {
        assert!(start.elapsed() < PATIENCE, "it stays busy");
    }
}

/// Opens connections that send nothing, and waits until both workers know that there are too many.
async fn crowd(console: &Running) -> Vec<TcpStream> {
    let mut others = Vec::new();
    for _ in 0..12 {
        others.push(connect(console, "").await);
    }
    for _ in 0..2 {
        let mut known = connect(console, READY).await;
        known.read_exact(&mut [0; 15]).await.expect("an answer");
        others.push(known);
    }
    others
}

#[tokio::test]
async fn who_has_just_connected_does_not_make_room_at_once() {
    let console = small();
    let head = "POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{";
    let mut busy = Vec::new();
    for _ in 0..MANY {
        busy.push(connect(&console, head).await);
    }
    let start = Instant::now();
    loop {
        let mut late = connect(&console, "").await;
        let connected = Instant::now();
        let _others = crowd(&console).await;
        let sent = late.write_all(READY.as_bytes()).await;
        // Where the machine pauses for longer than a client is given, it says nothing.
        let is_soon = connected.elapsed() < Duration::from_millis(16);
        let answer = timeout(PATIENCE, late.read(&mut [0; 15])).await;
        if is_soon {
            sent.expect("room");
            assert_eq!(answer.expect("in time").expect("no reset"), 15);
            break;
        }
        assert!(start.elapsed() < PATIENCE, "it was never soon enough");
    }
}

#[tokio::test]
async fn a_large_head_is_431_and_says_how_large_it_may_be() {
    let console = Running::start();
    let head = |size: usize| {
        let long = "x".repeat(size);
        format!("GET /ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx: {long}\r\n\r\n")
    };
    let mut fits = connect(&console, &head(32_000)).await;
    assert!(rest(&mut fits).await.starts_with("HTTP/1.1 200 "));
    let mut stream = connect(&console, &head(33_000)).await;
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 431 ") || answer.starts_with("HTTP/1.0 431 "));
    assert!(answer.contains("32768 bytes: send fewer"), "{answer}");
}

#[tokio::test]
async fn requests_that_follow_each_other_are_answered_in_order() {
    let console = Running::start();
    let post = "POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    let requests = [
        &READY.repeat(300),
        "GET /nowhere HTTP/1.1\r\nhost: localhost\r\n\r\n",
        &format!("{post}content-length: 2\r\n\r\n{{}}"),
        &format!(
            "{post}transfer-encoding: chunked\r\n\r\n1;x=y\r\n{{\r\n1\r\n}}\r\n0\r\nx: y\r\n\r\n"
        ),
        "\r\nGET /live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
    ];
    let mut at_once = connect(&console, &requests.concat()).await;
    let mut slowly = connect(&console, "").await;
    slowly.set_nodelay(true).expect("TCP");
    for byte in requests[1..].concat().bytes() {
        slowly.write_all(&[byte]).await.expect("room");
        tokio::task::yield_now().await;
    }
    for (stream, before) in [(&mut at_once, 300), (&mut slowly, 0)] {
        let answer = rest(stream).await;
        let statuses: Vec<&str> = answer
            .match_indices("HTTP/1.1 ")
            .map(|(at, _)| &answer[at + 9..at + 12])
            .collect();
        let (first, last) = statuses.split_at(before);
        assert!(first.iter().all(|status| *status == "200"), "{statuses:?}");
        assert_eq!(last, ["404", "200", "200", "200"]);
    }
}

#[tokio::test]
async fn what_follows_a_request_that_has_no_body_is_not_read() {
    let console = Running::start();
    for more in [
        "content-length: 5\r\n\r\nhello",
        "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "upgrade: websocket\r\nconnection: upgrade\r\n\r\nhello",
    ] {
        let head = "GET /ready HTTP/1.1\r\nhost: localhost\r\n";
        let mut stream = connect(&console, &format!("{head}{more}{READY}")).await;
        let answer = rest(&mut stream).await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{more}: {answer}");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{more}: {answer}");
    }
}

#[tokio::test]
async fn no_connection_takes_a_body_for_a_request() {
    let console = Running::start();
    let last = "GET /live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let chunks = "2\r\n{}\r\n0\r\n\r\n";
    for (version, framing, body, answers) in [
        ("1.1", "content-length: 2", "{}", 2),
        ("1.1", "transfer-encoding: Chunked", chunks, 2),
        (
            "1.1",
            "content-length: 2\r\ntransfer-encoding: chunked",
            chunks,
            1,
        ),
        ("1.1", "content-length: +2", "{}", 1),
        ("1.1", "content-length: 2, 2", "{}", 1),
        ("1.1", "content-length: 2\r\ncontent-length: 0", "{}", 1),
        ("1.1", "transfer-encoding: gzip, chunked", chunks, 1),
        (
            "1.1",
            "transfer-encoding: identity\r\ntransfer-encoding: chunked",
            chunks,
            1,
        ),
        (
            "1.1",
            "transfer-encoding: identity\r\ncontent-length: 2",
            "{}",
            1,
        ),
        ("1.0", "transfer-encoding: chunked", chunks, 1),
    ] {
        let head = format!("POST /v1/traces HTTP/{version}\r\nhost: localhost\r\n");
        let kind = "content-type: application/json\r\nconnection: keep-alive\r\n";
        let text = format!("{head}{kind}{framing}\r\n\r\n{body}{last}");
        let mut stream = connect(&console, &text).await;
        let answer = rest(&mut stream).await;
        let count = answer.matches("HTTP/1.").count();
        assert_eq!(count, answers, "{version} {framing}: {answer}");
        assert!(answers == 2 || !answer.contains(" 200 "), "{answer}");
    }
}

//! What many, large or slow requests may cost.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use console::{OtlpPort, Settings};
use futures_util::future::join_all;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{Reply, Running, settings};
use crate::payload::{gzip, log, logs, span, trace_id, traces};

const MIB: u64 = 1 << 20;

/// Unfinished bodies at once.
const SLOW: usize = 200;

/// Resident memory of this process.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .expect("a number");
    pages * 4_096
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_cost_no_memory() {
    let console = Running::start();
    // 1 GiB of zeros in many members, 1 MiB as sent.
    let bomb = gzip(&vec![0; 16 << 20]).repeat(64);
    let before = resident();
    let (peak, done) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let watch = {
        let (peak, done) = (peak.clone(), done.clone());
        std::thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                peak.fetch_max(resident(), Ordering::Relaxed);
                std::thread::yield_now();
            }
        })
    };
    let posts = (0..8).map(|_| {
        let post = console.post("/v1/traces", "application/x-protobuf", bomb.clone());
        Reply::to(post.header("content-encoding", "gzip"))
    });
    for reply in join_all(posts).await {
        assert_eq!(reply.status, 413);
    }
    done.store(true, Ordering::Relaxed);
    watch.join().expect("no panic");
    // Other tests run beside this one in the same process; one bomb let loose would be 1,024 MiB.
    let grown = peak.load(Ordering::Relaxed).saturating_sub(before);
    assert!(grown < 512 * MIB, "grew by {} MiB", grown / MIB);
}

#[tokio::test]
async fn slow_bodies_do_not_keep_others_out() {
    let console = Running::start();
    let head = "POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{";
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        let mut connection = tokio::net::TcpStream::connect(console.address)
            .await
            .expect("a connection");
        connection
            .write_all(head.as_bytes())
            .await
            .expect("it takes the head");
        slow.push(connection);
    }
    console.take("/v1/traces", &json!({})).await;
    for connection in &mut slow {
        connection.write_all(b"}").await.expect("it takes the body");
        let mut answer = [0; 15];
        connection.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
    }
}

#[tokio::test]
async fn bodies_that_find_no_room_are_told_to_come_again() {
    let console = Running::with(Settings {
        memory_bytes: 8 * MIB,
        max_body_bytes: 64 * MIB,
        ..settings()
    });
    // What a quarter of 8 MiB and 4 MiB have no room for can never be taken.
    let body = vec![b' '; 7 << 20];
    let reply = Reply::to(console.post("/v1/traces", "application/json", body)).await;
    assert_eq!(reply.status, 413);
    let why = reply.text();
    assert!(
        why.contains("--max-body") && why.contains("--memory"),
        "{why}"
    );
    let mut large = tokio::net::TcpStream::connect(console.address)
        .await
        .expect("a connection");
    let head = "POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 6000000\r\n\r\n";
    large.write_all(head.as_bytes()).await.expect("room");
    large.write_all(&vec![b' '; 4 << 20]).await.expect("room");
    let came = |stats: &serde_json::Value| stats["under_way_bytes"].as_u64() >= Some(4 * MIB);
    console.until("/api/stats", came).await;
    let body = vec![b' '; 3 << 20];
    let busy = Reply::to(console.post("/v1/traces", "application/json", body)).await;
    assert_eq!(
        (busy.status.as_u16(), busy.header("retry-after")),
        (503, "1")
    );
    console.take("/v1/traces", &json!({})).await;
    drop(large);
    let is_free = |stats: &serde_json::Value| stats["under_way_bytes"] == 0;
    console.until("/api/stats", is_free).await;
}

#[tokio::test]
async fn answers_are_charged_until_they_are_read() {
    let console = Running::start();
    let text = json!([{"key": "text", "value": {"stringValue": "t".repeat(16_000)}}]);
    for batch in 0..5 {
        let spans = (0..100).map(|i| {
            let mut span = span(batch * 100 + i + 1, 1, None, "long");
            span["attributes"] = text.clone();
            span
        });
        console
            .take("/v1/traces", &traces("shop", spans.collect()))
            .await;
    }
    let connect = async || {
        let mut reader = tokio::net::TcpStream::connect(console.address)
            .await
            .expect("a connection");
        let head = "GET /api/traces?service=shop&limit=1500 HTTP/1.1\r\nhost: localhost\r\n\r\n";
        reader
            .write_all(head.as_bytes())
            .await
            .expect("it takes it");
        reader.readable().await.expect("an answer");
        reader
    };
    // Until there is no room, and no further: on a busy machine the first readers would be given up meanwhile.
    let mut silent = Vec::new();
    let refused = loop {
        silent.push(connect().await);
        assert!(silent.len() <= 40, "there is always room");
        let answer = console.get("/api/traces?service=shop&limit=1500").await;
        if answer.status != 200 {
            break answer;
        }
    };
    let stats = console.json("/api/stats").await;
    // A quarter of 64 MiB and 8 MiB, and half of that.
    assert!(
        stats["under_way_bytes"].as_u64() <= Some(12 * MIB),
        "{stats}"
    );
    assert_eq!(refused.status, 503);
    assert!(refused.text().contains("no room"), "{}", refused.text());
    console.take("/v1/traces", &json!({})).await;
    drop(silent);
    let is_free = |stats: &serde_json::Value| stats["under_way_bytes"] == 0;
    console.until("/api/stats", is_free).await;
    let answer = console.get("/api/traces?service=shop&limit=1500").await;
    assert_eq!(answer.json()["data"].as_array().map(Vec::len), Some(500));
}

#[tokio::test]
async fn a_line_may_come_before_its_span() {
    let console = Running::start();
    console
        .take(
            "/v1/logs",
            &logs("shop", vec![log(9, "early", Some((1, 1)))]),
        )
        .await;
    let path = format!("/api/console/traces/{}", trace_id(1));
    assert_eq!(console.get(&path).await.status, 404, "no span, no trace");
    assert_eq!(
        console.json("/api/logs?trace_id=1").await["logs"][0]["body"],
        "early"
    );
    console
        .take(
            "/v1/traces",
            &traces("shop", vec![span(1, 1, None, "GET /")]),
        )
        .await;
    assert_eq!(
        console.json(&path).await["rows"][0]["logs"][0]["body"],
        "early"
    );
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let listen = taken.local_addr().expect("an address");
    let why = console::run(Settings {
        listen,
        scrape_interval: Duration::from_secs(1),
        ..settings()
    });
    let why = why.expect_err("taken").to_string();
    assert!(
        why.contains(&listen.to_string()) && why.contains("--listen"),
        "{why}"
    );
}

#[actix_web::test]
async fn a_port_for_otlp_that_somebody_else_has_is_done_without() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    let console = console::start(Settings {
        otlp_grpc: OtlpPort::IfFree(port),
        otlp_http: OtlpPort::IfFree(0),
        ..settings()
    });
    let console = console.expect("it starts");
    assert_eq!(console.otlp_grpc, None);
    assert!(console.otlp_http.is_some());
    console.handle.stop(false).await;
    console.stopped().await.expect("a good end");
}

#[tokio::test]
async fn chunked_bodies_are_bounded_too() {
    let console = Running::start();
    let stream = tokio::net::TcpStream::connect(console.address)
        .await
        .expect("a connection");
    let (mut reader, mut writer) = stream.into_split();
    let sender = tokio::spawn(async move {
        let head = "POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
        writer.write_all(head.as_bytes()).await?;
        let chunk = [&b"10000\r\n"[..], &[b' '; 0x10000], b"\r\n"].concat();
        for _ in 0..1_000 {
            // The console hangs up somewhere in the middle.
            writer.write_all(&chunk).await?;
        }
        std::io::Result::Ok(())
    });
    let mut answer = vec![0; 12];
    reader
        .read_exact(&mut answer)
        .await
        .expect("an answer before the end of the body");
    assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 413");
    drop(reader);
    let _ = sender.await;
}

#[tokio::test]
async fn many_large_requests_at_once_are_all_answered() {
    let console = Running::start();
    let spans = (0..2_000)
        .map(|i| span(20, i + 1, None, &"x".repeat(500)))
        .collect();
    let body = traces("shop", spans).to_string().into_bytes();
    let posts =
        (0..40).map(|_| Reply::to(console.post("/v1/traces", "application/json", body.clone())));
    let replies = join_all(posts).await;
    let statuses: Vec<u16> = replies.iter().map(|reply| reply.status.as_u16()).collect();
    assert!(
        statuses.iter().all(|status| [200, 503].contains(status)),
        "{statuses:?}"
    );
    assert!(statuses.contains(&200));
    for reply in replies.iter().filter(|reply| reply.status == 503) {
        assert!(!reply.header("retry-after").is_empty());
    }
    let body = ExportTraceServiceRequest::default().encode_to_vec();
    let reply = console.send_protobuf("/v1/traces", body).await;
    assert_eq!(reply.status, 200);
    assert_eq!(
        ExportTraceServiceResponse::decode(reply.body.as_slice())
            .map(|response| response.partial_success),
        Ok(None)
    );
}

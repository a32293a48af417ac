//! Connections that cost the console something before there is a request, or behind one.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use http_body_util::StreamBody;
use hyper::Request;
use hyper::body::{Body, Bytes, Frame};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Console, Outcome, Watch, bodies};
use crate::harness::{eventually, http};
use crate::otlp_grpc::TRACES;

/// Just below the largest head that is taken.
const HEAD: usize = 32_000;

/// The calls of a connection.
const STREAMS: u64 = 16;

/// How long a connection may take what is sent to it.
const TAKES: Duration = Duration::from_secs(2);

/// Connects and sends; whoever is hung up on meanwhile has sent enough.
async fn send(console: &Console, bytes: &[u8]) -> TcpStream {
    let stream = TcpStream::connect(console.address).await;
    let mut stream = stream.expect("a connection");
    let _ = timeout(TAKES, stream.write_all(bytes)).await;
    stream
}

/// Allows as many descriptors as the attack needs.
fn descriptors(count: usize) {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("Linux");
    let needed = (count as u64 + 200).max(soft);
    setrlimit(Resource::RLIMIT_NOFILE, needed.min(hard), hard).expect("within the hard limit");
}

/// Heads of requests that never end: the first on a connection, one behind an answer, and one that is too large.
pub async fn heads(budget_mib: u64, count: usize) -> Outcome {
    let console = Console::start(budget_mib).await;
    descriptors(count);
    let watch = Watch::start(&console);
    let request = "GET /ready HTTP/1.1\r\nhost: localhost\r\n";
    let head = |size: usize| format!("{request}x: {}", "x".repeat(size));
    let kinds = [
        head(HEAD),
        format!("{request}\r\n{}", head(HEAD)),
        head(125_000),
    ];
    let mut open = Vec::new();
    for kind in kinds.iter().cycle().take(count) {
        open.push(send(&console, kind.as_bytes()).await);
    }
    console
        .outcome(
            format!("{count} connections with a head that never ends"),
            watch,
        )
        .await
}

/// Requests with many headers, as many as fit behind questions that are answered slowly.
pub async fn followers(budget_mib: u64, count: usize, rounds: usize) -> Outcome {
    let console = Console::start(budget_mib).await;
    descriptors(count);
    let logs = bodies::logs_with_resources(1_000, 1_700);
    assert_eq!(console.send("/v1/logs", logs).await, 200);
    let watch = Watch::start(&console);
    let slow = "GET /loki/api/v1/query_range?step=1&query=sum%20by%20(pod)%20(count_over_time(%7Bservice_name%3D%22jobs%22%7D%5B5m%5D)) HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let headers: String = (10..67).map(|i| format!("{i}:\r\n")).collect();
    let follower = format!("GET /ready HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
    let followers = 120_000 / follower.len();
    let requests = format!("{slow}{}", follower.repeat(followers));
    // Only as fast as the console answers: a faster attack would take the processors from the observer.
    let until_answered = async || {
        let stream = send(&console, requests.as_bytes()).await;
        let _ = timeout(TAKES, stream.readable()).await;
    };
    for _ in 0..rounds {
        join_all((0..count).map(|_| until_answered())).await;
    }
    console
        .outcome(
            format!("{followers} requests of many headers behind a slow one, on {count} connections at once"),
            watch,
        )
        .await
}

/// Calls over gRPC that never end, each with a large head: on each connection as many as are taken. Besides, as many connections
/// that send nothing.
pub async fn streams(budget_mib: u64, count: usize) -> Outcome {
    let console = Console::start(budget_mib).await;
    descriptors(2 * count);
    let watch = Watch::start(&console);
    let connect = || TcpStream::connect(console.grpc);
    let mut open = JoinSet::new();
    let mut silent = Vec::new();
    for _ in 0..count {
        silent.push(connect().await.expect("a connection"));
        let io = connect().await.expect("a connection");
        open.spawn(async move {
            let builder = http2::Builder::new(TokioExecutor::new());
            let (sender, connection) = builder.handshake(TokioIo::new(io)).await?;
            let call = |_| sender.clone().send_request(endless_call());
            let calls = join_all((0..STREAMS).map(call));
            tokio::join!(connection, calls).0
        });
    }
    // Those that were under way had their time.
    eventually("calls that took too long", async || {
        let stats = http().get(console.url("/api/stats")).send().await.ok()?;
        let stats: Value = stats.json().await.ok()?;
        (stats["requests"][TRACES]["408"].as_u64()? >= STREAMS).then_some(())
    })
    .await;
    let name = format!(
        "{count} connections of {STREAMS} calls over gRPC that never end, and {count} silent ones"
    );
    console.outcome(name, watch).await
}

fn endless_call() -> Request<impl Body<Data = Bytes, Error = Infallible>> {
    let begin = Frame::data(Bytes::from_static(b"\0\0\x10\0\0"));
    let body = stream::iter([Ok(begin)]).chain(stream::pending());
    Request::post(format!("http://localhost{TRACES}"))
        .header("content-type", "application/grpc")
        .header("x", "x".repeat(7_000))
        .body(StreamBody::new(body))
        .expect("a request")
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_heads_are_in_the_budget_and_keep_nobody_out() {
    heads(8, 600).await.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_calls_over_grpc_are_in_the_budget_and_keep_nobody_out() {
    streams(8, 300).await.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_a_request_is_in_the_budget() {
    followers(8, 100, 1).await.check();
}

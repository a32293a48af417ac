//! Clients that hold connections without finishing what they began.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::Certificate;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::{Herald, alert, arrived};
use crate::backend_tls::Pki;
use crate::harness::{Capture, DEADLINE, eventually, http};

/// What they may make it grow by, in KiB: of the 48 MiB that Compose gives herald it takes 16 at rest.
const MEMORY: u64 = 24 << 10;

/// In half the time that dripping bodies once kept everybody out for. A connection that is cut is tried again, as Alertmanager does.
const GETS_IN: Duration = Duration::from_secs(5);

/// Brings an alert.
async fn bring(client: &reqwest::Client, url: &str, payload: &Value) {
    let taken = async {
        loop {
            let request = client.post(format!("{url}/alerts")).json(payload);
            if let Ok(answer) = request.send().await {
                return answer.status();
            }
        }
    };
    let status = timeout(GETS_IN, taken).await.expect("room for an alert");
    assert_eq!(status, 200);
}

/// Opens a connection, says how it begins, and goes on byte by byte; again and again.
async fn drip(address: String, beginning: Arc<Vec<u8>>, opened: Arc<AtomicUsize>) {
    loop {
        if let Ok(mut stream) = TcpStream::connect(&address).await
            && stream.write_all(&beginning).await.is_ok()
        {
            opened.fetch_add(1, Ordering::Relaxed);
            let mut end = [0; 1024];
            while stream.write_all(b" ").await.is_ok() {
                let answer = timeout(Duration::from_millis(500), stream.read(&mut end)).await;
                if matches!(answer, Ok(Ok(0) | Err(_))) {
                    break;
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Heads that do not end, bodies that do not end, and connections that are kept alive.
fn beginnings() -> [(usize, Vec<u8>); 4] {
    let head = "POST /alerts HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    let long = format!("{head}x: {}", "x".repeat(100 << 10));
    let body = |length: usize| {
        let head = format!("{head}content-length: {}\r\n\r\n", 4 << 20);
        [head.into_bytes(), vec![b' '; length]].concat()
    };
    let idle = b"GET /live HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec();
    [
        (300, long.into_bytes()),
        (300, body(1)),
        (30, body(2 << 20)),
        (300, idle),
    ]
}

#[tokio::test]
async fn a_body_of_labels_alone_fills_no_memory() {
    let state = tempfile::tempdir().unwrap();
    let mut herald = Herald::start(state.path(), &[]).await;
    let at_rest = herald.child.peak_kib();
    let mut payload = alert("ServiceDown", "firing");
    for number in 0..350_000 {
        payload["commonLabels"][format!("{number:x}")] = json!("");
    }
    herald.accepted(&payload).await;
    let more = herald.child.peak_kib() - at_rest;
    assert!(more < MEMORY, "{more} KiB more than {at_rest}");
    assert!(herald.child.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn handshakes_that_drip_lock_nobody_out() {
    let (pki, state) = (Pki::new(), tempfile::tempdir().unwrap());
    let file = |name: &str| pki.path(name).display().to_string();
    let settings = [
        ("HERALD_TLS_CERTIFICATE", file("localhost.crt")),
        ("HERALD_TLS_KEY", file("localhost.key")),
    ];
    let settings = settings
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let mut herald = Herald::start(state.path(), &settings).await;
    let address = format!("127.0.0.1:{}", herald.port());
    let opened = Arc::new(AtomicUsize::new(0));
    let mut drips = tokio::task::JoinSet::new();
    // The head of a record of 256 bytes, which do not come.
    let beginning = Arc::new(vec![0x16, 3, 1, 1, 0]);
    for _ in 0..400 {
        drips.spawn(drip(address.clone(), beginning.clone(), opened.clone()));
    }
    eventually("they are there", async || {
        (opened.load(Ordering::Relaxed) > 400).then_some(())
    })
    .await;
    let trusted = std::fs::read(pki.path("ca.crt")).unwrap();
    for _ in 0..3 {
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([Certificate::from_pem(&trusted).unwrap()]);
        let url = format!("https://localhost:{}", herald.port());
        bring(
            &client.build().unwrap(),
            &url,
            &alert("ServiceDown", "firing"),
        )
        .await;
    }
    drips.shutdown().await;
    assert!(herald.child.terminate().await.success());
}

// The drips have a thread of their own, so that whoever brings alerts does not wait for them here.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn connections_that_drip_lock_nobody_out_and_fill_no_memory() {
    let state = tempfile::tempdir().unwrap();
    let webhook = Capture::answering(&json!({}));
    let url = webhook.url();
    let mut herald = Herald::start(state.path(), &[("HERALD_WEBHOOK_URL", &url)]).await;
    let address = herald.url.trim_start_matches("http://").to_owned();
    let at_rest = herald.child.peak_kib();
    let opened = Arc::new(AtomicUsize::new(0));
    let mut drips = tokio::task::JoinSet::new();
    for (count, beginning) in beginnings() {
        let beginning = Arc::new(beginning);
        for _ in 0..count {
            drips.spawn(drip(address.clone(), beginning.clone(), opened.clone()));
        }
    }
    eventually("they are there", async || {
        (opened.load(Ordering::Relaxed) > 1000).then_some(())
    })
    .await;
    for number in 0..20 {
        // Each on a connection of its own.
        let payload = alert(&format!("Alert{number}"), "firing");
        bring(&http(), &herald.url, &payload).await;
    }
    arrived(&webhook, 20).await;
    assert_eq!(
        herald
            .metric(
                "herald_notifications_received_total",
                &[("outcome", "accepted")]
            )
            .await,
        20.0
    );
    drips.shutdown().await;
    let more = herald.child.peak_kib() - at_rest;
    assert!(more < MEMORY, "{more} KiB more than {at_rest}");
    assert!(herald.child.terminate().await.success());
}

/// Asks for much in one go and reads nothing; comes again when it is cut.
async fn read_nothing(address: String, path: String, asked: Arc<AtomicUsize>) {
    let requests = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").repeat(400);
    loop {
        if let Some(mut stream) = connect([127, 0, 0, 1], &address).await
            && stream.write_all(requests.as_bytes()).await.is_ok()
        {
            asked.fetch_add(1, Ordering::Relaxed);
            while stream.try_write(b"\n").is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn answers_that_nobody_reads_fill_no_memory() {
    let state = tempfile::tempdir().unwrap();
    let herald = Herald::start(state.path(), &[]).await;
    nobody_reads(herald, &["/metrics"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_history_that_nobody_reads_fills_no_memory() {
    let state = tempfile::tempdir().unwrap();
    let mut herald = Herald::start(state.path(), &[]).await;
    let mut large = alert("Large", "firing");
    for index in 0..60 {
        large["alerts"][0]["annotations"][format!("a{index}")] = json!("v".repeat(1000));
    }
    let mut paths = vec!["/api/alerts?limit=100".to_owned()];
    for group in 0..100 {
        large["groupKey"] = json!(format!("group {group}"));
        let key = herald.accepted(&large).await;
        paths.push(format!("/api/alerts/{key}"));
    }
    assert!(herald.child.terminate().await.success());
    // The next one has not worked yet.
    let herald = Herald::start(state.path(), &[]).await;
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    nobody_reads(herald, &paths[..2]).await;
}

async fn nobody_reads(mut herald: Herald, paths: &[&str]) {
    let address = herald.url.trim_start_matches("http://").to_owned();
    let at_rest = herald.child.peak_kib();
    let asked = Arc::new(AtomicUsize::new(0));
    let mut readers = tokio::task::JoinSet::new();
    for path in paths.iter().cycle().take(128) {
        let path = (*path).to_owned();
        readers.spawn(read_nothing(address.clone(), path, asked.clone()));
    }
    eventually("they are there", async || {
        (asked.load(Ordering::Relaxed) > 256).then_some(())
    })
    .await;
    for number in 0..10 {
        let payload = alert(&format!("Alert{number}"), "firing");
        bring(&http(), &herald.url, &payload).await;
    }
    readers.shutdown().await;
    let more = herald.child.peak_kib() - at_rest;
    assert!(more < MEMORY, "{more} KiB more than {at_rest}");
    assert!(herald.child.terminate().await.success());
}

/// A connection from an address of the loopback network, with a small receive buffer.
async fn connect(from: [u8; 4], address: &str) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.bind(SocketAddr::from((from, 0))).ok()?;
    socket.set_recv_buffer_size(2048).ok()?;
    socket.connect(address.parse().ok()?).await.ok()
}

/// Brings a byte each 20 ms, and comes again when it is cut.
async fn drip_quickly(from: [u8; 4], address: String, opened: Arc<AtomicUsize>) {
    let head = "POST /alerts HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 4000\r\n\r\n";
    loop {
        if let Some(mut stream) = connect(from, &address).await
            && stream.write_all(head.as_bytes()).await.is_ok()
        {
            opened.fetch_add(1, Ordering::Relaxed);
            let mut end = [0; 1024];
            while stream.write_all(b" ").await.is_ok() {
                let answer = timeout(Duration::from_millis(20), stream.read(&mut end)).await;
                if answer.is_ok() {
                    break;
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Herald calls late who brings nothing for 80 ms. Half of that is a slow link; a pause of more than this is a machine that has
/// no time for the test.
const ON_TIME: Duration = Duration::from_millis(60);

/// Sends an alert in six parts, with a pause before each: as a slow link does. Whether it was taken; `None` when this machine
/// paused for longer.
async fn send_slowly(from: [u8; 4], address: &str, payload: &[u8]) -> Option<bool> {
    let mut longest = Duration::ZERO;
    let mut stream = connect(from, address).await.expect("a connection");
    let head = format!(
        "POST /alerts HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        payload.len()
    );
    for part in [head.as_bytes()]
        .into_iter()
        .chain(payload.chunks(payload.len() / 4))
    {
        let start = Instant::now();
        tokio::time::sleep(Duration::from_millis(40)).await;
        longest = longest.max(start.elapsed());
        if stream.write_all(part).await.is_err() {
            break;
        }
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok();
    (longest < ON_TIME).then(|| answer.starts_with("HTTP/1.1 200 "))
}

/// How many of ten are taken that were sent on time.
async fn taken_of_ten(from: impl Fn(u8) -> [u8; 4], address: &str) -> usize {
    let payload = serde_json::to_vec(&alert("ServiceDown", "firing")).unwrap();
    let (start, mut taken) = (Instant::now(), Vec::new());
    for number in (200..210).cycle() {
        taken.extend(send_slowly(from(number), address, &payload).await);
        if taken.len() == 10 {
            break;
        }
        assert!(start.elapsed() < DEADLINE, "{taken:?} on time");
    }
    taken.into_iter().filter(|taken| *taken).count()
}

/// The senders' addresses: one for all, and one for each.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn whoever_drips_quickly_does_not_cut_a_slow_link() {
    let state = tempfile::tempdir().unwrap();
    let mut herald = Herald::start(state.path(), &[]).await;
    let address = herald.url.trim_start_matches("http://").to_owned();
    let from: [fn(u8) -> [u8; 4]; 2] = [|_| [127, 0, 0, 1], |number| [127, 0, 1, number + 1]];
    for from in from {
        let opened = Arc::new(AtomicUsize::new(0));
        let mut drips = tokio::task::JoinSet::new();
        for number in 0..80 {
            drips.spawn(drip_quickly(from(number), address.clone(), opened.clone()));
        }
        eventually("they are there", async || {
            (opened.load(Ordering::Relaxed) > 160).then_some(())
        })
        .await;
        let taken = taken_of_ten(from, &address).await;
        // Herald shares the machine, and may itself see a part late. It was none before.
        assert!(taken >= 5, "{taken} of 10 from {:?}", from(200));
        drips.shutdown().await;
    }
    assert!(herald.child.terminate().await.success());
}

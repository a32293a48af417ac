//! What ends a request from outside: uploads that do not end, bursts, signals.

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use super::{SERVER, raw, role, status_of};
use crate::harness::{
    Capture, Child, HANG, Receiver, Signal, Stack, Status, database, eventually, http, omnitrace,
};

#[tokio::test]
async fn an_upload_that_does_not_end_is_the_clients_fault() {
    let data = Capture::answering(&json!({}));
    let stack = Stack::builder()
        .only(&["gateway"])
        .env("gateway", "DATA_URL", &data.url())
        .start()
        .await;
    let request = "POST /api/orders HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    let chunked = "POST /api/orders HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n";
    let (url, admin) = (stack.url("gateway"), stack.admin_url("gateway"));
    let put = "PUT /faults/latency HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{";
    let (one, two, three) = tokio::join!(raw(&url, request), raw(&url, chunked), raw(&admin, put));
    for (head, body) in [one, two, three] {
        assert_eq!(status_of(&head), 408, "{head} {body}");
        assert!(head.contains("connection: close"), "{head}");
        assert!(
            body.contains("urn:problem-type:omnitrace:request-timeout"),
            "{body}"
        );
    }
    let route = ("http_route", "/api/orders");
    let scrape = stack.scrape("gateway").await;
    let count = |more: &[(&str, &str)]| {
        scrape.value(&format!("{SERVER}_count"), &[&[route], more].concat())
    };
    assert_eq!(
        count(&[("http_response_status_code", "408"), ("outcome", "ok")]),
        Some(2.0)
    );
    assert_eq!(count(&[("outcome", "error")]), Some(0.0));
    // Nor is it a slow answer: what the client took is not counted as ours.
    let soon = [
        route,
        ("http_request_method", "POST"),
        ("outcome", "ok"),
        ("le", "0.5"),
    ];
    assert_eq!(scrape.value(&format!("{SERVER}_bucket"), &soon), Some(2.0));
    let spans = stack.stop().await.spans();
    let posts: Vec<_> = spans
        .iter()
        .filter(|span| span.name == "POST /api/orders")
        .collect();
    assert_eq!(posts.len(), 2);
    for span in posts {
        assert_eq!(
            (span.status, span.text("http.response.status_code").as_str()),
            (Status::Unset, "408")
        );
        assert_eq!(span.text("error.type"), "");
    }
    assert!(data.take().is_empty());
}

#[tokio::test]
async fn a_burst_waits_in_the_queue_of_connections() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    const BURST: usize = 1024;
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, most.min(16_384), most).expect("more files");
    let stack = Stack::builder().only(&["gateway"]).start().await;
    let (herald, herald_url, _kept) = role("herald", &[]).await;
    let (console, console_url, _kept) = role("console", &[]).await;
    // Stopped, a process accepts nothing; the kernel still answers for as long as the queue has room.
    stack.signal("gateway", Signal::SIGSTOP);
    herald.signal(Signal::SIGSTOP);
    console.signal(Signal::SIGSTOP);
    for url in [
        stack.url("gateway"),
        stack.admin_url("gateway"),
        herald_url,
        console_url,
    ] {
        let mut waiting = Vec::new();
        for number in 0..BURST {
            let connected = TcpStream::connect(url.trim_start_matches("http://"));
            let connected =
                tokio::time::timeout(std::time::Duration::from_secs(10), connected).await;
            waiting.push(
                connected
                    .unwrap_or_else(|_| panic!("{url}: no room for connection {number}"))
                    .expect("accepted"),
            );
        }
    }
    stack.signal("gateway", Signal::SIGCONT);
    herald.signal(Signal::SIGCONT);
    console.signal(Signal::SIGCONT);
    eventually("it answers again", async || {
        let reply = stack
            .request(reqwest::Method::GET, "/health")
            .send()
            .await
            .ok()?;
        reply.status().is_success().then_some(())
    })
    .await;
    stack.stop().await;
}

/// Asks for much in one go, with a small buffer for what comes back, and reads nothing.
async fn read_nothing(address: &str, path: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(2048).expect("a small buffer");
    let address = address.parse().expect("an address");
    let mut stream = socket.connect(address).await.expect("accepted");
    let requests = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").repeat(2000);
    stream.write_all(requests.as_bytes()).await.expect("room");
    stream
}

/// Of a service that takes 35 MiB at rest, in a build for tests.
#[tokio::test]
async fn answers_that_nobody_reads_fill_no_memory_of_a_service() {
    let stack = Stack::builder().only(&["downstream"]).start().await;
    let at_rest = stack.peak_kib("downstream");
    let doors = [
        (stack.url("downstream"), "/nowhere"),
        (stack.admin_url("downstream"), "/metrics"),
    ];
    let mut silent = Vec::new();
    for (url, path) in &doors {
        for _ in 0..60 {
            silent.push(read_nothing(url.trim_start_matches("http://"), path).await);
        }
    }
    // Others are answered beside them.
    for (url, path) in doors.iter().cycle().take(20) {
        let answer = http().get(format!("{url}{path}")).send().await;
        answer.expect("an answer");
    }
    let more = stack.peak_kib("downstream") - at_rest;
    assert!(more < 24 << 10, "{more} KiB more than {at_rest}");
    drop(silent);
    stack.stop().await;
}

#[tokio::test]
async fn hang_up_and_quit_drain_as_terminate_does() {
    for signal in [Signal::SIGHUP, Signal::SIGQUIT] {
        let mut stack = Stack::builder()
            .env_all("OTEL_BSP_SCHEDULE_DELAY", "60000")
            .start()
            .await;
        let trace = stack.get_data().await.expect(200).trace_id();
        for service in ["gateway", "data", "downstream"] {
            assert_eq!(stack.kill(service, signal).await, 0, "{signal} {service}");
            let drained = stack
                .log_lines(service)
                .into_iter()
                .any(|line| line["message"] == "draining" && line["reason"] == signal.as_str());
            assert!(drained, "{service}: {}", stack.output(service));
            let sent = stack.receiver.trace(&trace);
            assert!(
                sent.iter().any(|span| span.service == service),
                "{service} has sent its spans"
            );
        }
        for (name, arguments) in [("herald", vec![]), ("console", vec![])] {
            let (mut child, ..) = role(name, &arguments).await;
            child.signal(signal);
            assert_eq!(child.wait().await.code(), Some(0), "{signal} {name}");
        }
        let mut postgres = Child::spawn("postgres", {
            let mut command = omnitrace(["postgres", "--json"]);
            command.env("DATABASE_URL", &database().await.url);
            command
        });
        postgres.listening().await;
        postgres.signal(signal);
        assert_eq!(postgres.wait().await.code(), Some(0), "{signal} postgres");
    }
}

/// A gateway whose data service never answers, and `count` requests under way.
async fn hanging(count: usize) -> (Stack, Capture) {
    let data = Capture::answering(&json!({}));
    data.answer_with(HANG);
    let stack = Stack::builder()
        .only(&["gateway"])
        .env("gateway", "DATA_URL", &data.url())
        .env("gateway", "OTEL_BSP_SCHEDULE_DELAY", "60000")
        .env("gateway", "OMNITRACE_DRAIN_TIMEOUT_MS", "300")
        .start()
        .await;
    for _ in 0..count {
        tokio::spawn(stack.request(reqwest::Method::GET, "/api/data").send());
    }
    let active = [("http_route", "/api/data")];
    stack
        .wait_for_metric("gateway", "http_server_active_requests", &active, |value| {
            value == count as f64
        })
        .await;
    (stack, data)
}

/// Each request's two spans arrived, given up.
fn all_cancelled(receiver: &Receiver, count: usize) {
    for name in ["GET /api/data", "GET /items/quote"] {
        let spans = receiver.spans();
        let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
        assert_eq!(found.len(), count, "{name}");
        for span in found {
            assert_eq!(
                (span.status, span.text("error.type").as_str()),
                (Status::Unset, "cancelled")
            );
        }
    }
}

#[tokio::test]
async fn requests_that_are_dropped_at_the_drain_deadline_are_in_their_traces() {
    let (mut stack, _data) = hanging(16).await;
    assert_eq!(stack.kill("gateway", Signal::SIGTERM).await, 0);
    all_cancelled(&stack.receiver, 16);
}

#[tokio::test]
async fn requests_that_a_second_signal_drops_are_in_their_traces() {
    let (mut stack, _data) = hanging(16).await;
    stack.signal("gateway", Signal::SIGTERM);
    eventually("it drains", async || {
        let lines = stack.log_lines("gateway");
        lines
            .iter()
            .any(|line| line["message"] == "draining")
            .then_some(())
    })
    .await;
    assert_eq!(stack.kill("gateway", Signal::SIGTERM).await, 0);
    all_cancelled(&stack.receiver, 16);
}

#[tokio::test]
async fn no_answered_request_loses_a_span_however_often_it_is_told_to_stop() {
    let data = Capture::answering(&json!({
        "sku": "tea", "name": "Tea", "stock": 3, "unit_price_cents": 450,
        "quote": {"sku": "tea", "price_cents": 420, "currency": "EUR"},
    }));
    for _round in 0..8 {
        let mut stack = Stack::builder()
            .only(&["gateway"])
            .env("gateway", "DATA_URL", &data.url())
            .env("gateway", "OTEL_BSP_SCHEDULE_DELAY", "60000")
            .start()
            .await;
        let callers: Vec<_> = (0..16)
            .map(|_| {
                let request = stack.request(reqwest::Method::GET, "/api/data");
                tokio::spawn(async move {
                    let mut answered = Vec::new();
                    while let Ok(response) = request.try_clone().expect("no body").send().await {
                        let timing = response.headers()["server-timing"].to_str().expect("text");
                        let trace = timing.split('-').nth(1).expect("a trace id");
                        answered.push((response.status().as_u16(), trace.to_owned()));
                    }
                    answered
                })
            })
            .collect();
        stack
            .wait_for_metric(
                "gateway",
                &format!("{SERVER}_count"),
                &[("http_route", "/api/data")],
                |count| count >= 50.0,
            )
            .await;
        stack.signal("gateway", Signal::SIGTERM);
        assert_eq!(stack.kill("gateway", Signal::SIGTERM).await, 0);
        for caller in callers {
            for (status, trace) in caller.await.expect("a caller") {
                let spans = stack.receiver.trace(&trace).len();
                assert!(
                    spans == 2 || (status != 200 && spans > 0) || spans > 2,
                    "{status}: {spans} spans of {trace}"
                );
            }
        }
    }
}

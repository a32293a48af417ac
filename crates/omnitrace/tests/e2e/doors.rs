//! Who may call which listener, and how: names and pages, `HEAD`, uploads that do not end, bursts, signals.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{
    Capture, Child, HANG, Receiver, Signal, Stack, Status, database, eventually, omnitrace,
};

const SERVER: &str = "http_server_request_duration_seconds";

/// Sends bytes as they are and reads to the end; head and body of the answer.
async fn raw(url: &str, request: &str) -> (String, String) {
    let address = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it is taken");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer");
    let answer = String::from_utf8(answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an end of the head");
    (head.to_ascii_lowercase(), body.to_owned())
}

fn status_of(head: &str) -> u16 {
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    code.unwrap_or_else(|| panic!("no status in {head}"))
}

/// The status of `method path` with these header lines, and nothing added.
async fn status(url: &str, method: &str, path: &str, headers: &str) -> u16 {
    let request = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n{headers}\r\n\r\n");
    status_of(&raw(url, &request).await.0)
}

#[tokio::test]
async fn a_page_that_points_its_own_name_here_reaches_nothing() {
    let stack = Stack::start().await;
    let level = stack.admin("gateway", "/log-level").await.body;
    for service in ["gateway", "data", "downstream"] {
        let admin = stack.admin_url(service);
        for (method, path) in [
            ("GET", "/faults"),
            ("DELETE", "/faults"),
            ("PUT", "/faults/latency"),
            ("DELETE", "/faults/latency"),
            ("GET", "/log-level"),
            ("PUT", "/log-level"),
            ("GET", "/%66aults"),
            ("GET", "/nowhere"),
        ] {
            let body = "content-length: 5\r\n\r\ntrace";
            for (headers, want) in [
                ("host: evil.example", 403),
                (
                    "host: evil.example:9080\r\norigin: http://evil.example:9080",
                    403,
                ),
                ("host: localhost\r\norigin: http://evil.example", 403),
                ("host: localhost\r\norigin: null", 403),
                ("host: localhost\r\nhost: evil.example", 400),
                ("x-forwarded-host: localhost", 400),
            ] {
                let got = status(&admin, method, path, &format!("{headers}\r\n{body}")).await;
                assert_eq!(got, want, "{service} {method} {path} {headers}");
            }
        }
        for path in ["/live", "/ready", "/metrics"] {
            for headers in ["host: scraped.example", "host: a\r\norigin: http://b"] {
                assert_eq!(status(&admin, "GET", path, headers).await, 200, "{path}");
            }
        }
    }
    for (service, path, want) in [
        ("gateway", "/api/orders", 200),
        ("data", "/orders", 403),
        ("downstream", "/quotes/omni-mug", 403),
    ] {
        let got = status(&stack.url(service), "GET", path, "host: evil.example").await;
        assert_eq!(got, want, "{service}");
    }
    assert_eq!(stack.admin("gateway", "/log-level").await.body, level);
    for fault in stack.admin("gateway", "/faults").await.json()["faults"]
        .as_array()
        .expect("faults")
    {
        assert_eq!(fault["active"], Value::Null, "{fault}");
    }
    stack.stop().await;
}

#[tokio::test]
async fn addresses_localhost_and_no_host_at_all() {
    let stack = Stack::builder().only(&["gateway"]).start().await;
    let admin = stack.admin_url("gateway");
    for host in [
        "localhost",
        "LOCALHOST.:1",
        "127.0.0.1:9080",
        "10.1.2.3",
        "[::1]:9080",
    ] {
        let headers = format!("host: {host}\r\norigin: http://{host}");
        assert_eq!(
            status(&admin, "GET", "/faults", &headers).await,
            200,
            "{host}"
        );
    }
    for (request, want) in [
        (
            "GET http://localhost/faults HTTP/1.1\r\nhost: evil.example",
            200,
        ),
        (
            "GET http://evil.example/faults HTTP/1.1\r\nhost: localhost",
            403,
        ),
        ("GET /faults HTTP/1.0", 400),
        ("GET /faults HTTP/1.0\r\nhost: localhost", 200),
        ("GET /metrics HTTP/1.0", 200),
    ] {
        let (head, _) = raw(&admin, &format!("{request}\r\nconnection: close\r\n\r\n")).await;
        assert_eq!(status_of(&head), want, "{request}: {head}");
    }
    stack.stop().await;
}

#[tokio::test]
async fn names_that_are_set_are_answered_and_then_the_gateway_checks_too() {
    let stack = Stack::builder()
        .only(&["gateway"])
        .env("gateway", "OMNITRACE_HTTP_ALLOWED_HOSTS", "shop.example")
        .env(
            "gateway",
            "OMNITRACE_ADMIN_ALLOWED_HOSTS",
            "ops.example, gateway",
        )
        .start()
        .await;
    let (api, admin) = (stack.url("gateway"), stack.admin_url("gateway"));
    for (url, path, headers, want) in [
        (&api, "/health", "host: Shop.example.:80", 200),
        (&api, "/health", "host: 127.0.0.1", 200),
        (&api, "/health", "host: ops.example", 403),
        (&admin, "/faults", "host: gateway:9080", 200),
        (
            &admin,
            "/faults",
            "host: localhost\r\norigin: https://ops.example",
            200,
        ),
        (&admin, "/faults", "host: shop.example", 403),
    ] {
        assert_eq!(
            status(url, "GET", path, headers).await,
            want,
            "{path} {headers}"
        );
    }
    // A refusal is an answer like any other: told, counted, traced.
    let request = stack.request(reqwest::Method::GET, "/health");
    let reply = stack.send(request.header("host", "evil.example")).await;
    let problem = reply.problem(403, "forbidden");
    let detail = problem["detail"].as_str().unwrap_or_default().to_owned();
    assert!(detail.contains("OMNITRACE_HTTP_ALLOWED_HOSTS"), "{detail}");
    let refused = [
        ("http_route", "/health"),
        ("http_response_status_code", "403"),
        ("outcome", "ok"),
    ];
    let scrape = stack.scrape("gateway").await;
    assert_eq!(
        scrape.value(&format!("{SERVER}_count"), &refused),
        Some(2.0)
    );
    let trace = stack.stop().await.trace(&reply.trace_id());
    assert_eq!(trace[0].text("http.response.status_code"), "403");
}

#[test]
fn a_name_that_cannot_be_one_stops_the_start() {
    for (role, variable) in [
        ("gateway", "OMNITRACE_HTTP_ALLOWED_HOSTS"),
        ("gateway", "OMNITRACE_ADMIN_ALLOWED_HOSTS"),
        ("console", "OMNITRACE_CONSOLE_ALLOWED_HOSTS"),
        ("console", "OMNITRACE_CONSOLE_ALLOWED_ORIGINS"),
        ("herald", "HERALD_ALLOWED_HOSTS"),
    ] {
        let output = omnitrace([role])
            .env(variable, "ftp://a/b")
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{variable} was accepted");
        let flag = ["allow-host", "allow-origin"]
            .iter()
            .any(|flag| said.contains(flag));
        assert!(said.contains(variable) || flag, "{said}");
        assert!(said.contains("got \"ftp://a/b\"; allowed: "), "{said}");
    }
}

/// Statuses, and that `HEAD` sends what `GET` does but for the body.
async fn head_is_like_get(url: &str, paths: &[(&str, u16)]) {
    for (path, want) in paths {
        let request = |method| {
            format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        };
        let (head, body) = raw(url, &request("HEAD")).await;
        assert_eq!(
            (status_of(&head), body.as_str()),
            (*want, ""),
            "{path}: {head}"
        );
        let (get, body) = raw(url, &request("GET")).await;
        assert_eq!(status_of(&get), *want, "{path}");
        assert!(!body.is_empty(), "{path}");
        let kind = |head: &str| {
            head.lines()
                .find(|line| line.starts_with("content-type"))
                .map(str::to_owned)
        };
        assert_eq!(kind(&head), kind(&get), "{path}");
    }
}

#[tokio::test]
async fn head_is_get_without_a_body_everywhere() {
    let stack = Stack::start().await;
    for service in ["gateway", "data", "downstream"] {
        let admin = stack.admin_url(service);
        let paths = [
            ("/live", 200),
            ("/ready", 200),
            ("/metrics", 200),
            ("/faults", 200),
            ("/log-level", 200),
            ("/none", 404),
            ("/faults/latency", 405),
        ];
        head_is_like_get(&admin, &paths).await;
        for (method, path, allow) in [
            ("POST", "/metrics", "get, head"),
            ("PUT", "/live", "get, head"),
            ("POST", "/faults", "get, head, delete"),
            ("GET", "/faults/latency", "put, delete"),
            ("DELETE", "/log-level", "get, head, put"),
        ] {
            let request = format!(
                "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            );
            let (head, _) = raw(&admin, &request).await;
            assert!(
                status_of(&head) == 405 && head.contains(&format!("allow: {allow}\r\n")),
                "{method} {path}: {head}"
            );
        }
    }
    let gateway = [
        ("/health", 200),
        ("/openapi.json", 200),
        ("/api/data", 200),
        ("/api/orders", 200),
        ("/api/orders/x", 404),
        ("/", 404),
    ];
    head_is_like_get(&stack.url("gateway"), &gateway).await;
    head_is_like_get(
        &stack.url("data"),
        &[("/items/quote", 200), ("/orders", 200)],
    )
    .await;
    head_is_like_get(
        &stack.url("downstream"),
        &[("/quotes/omni-mug", 200), ("/payments", 405)],
    )
    .await;
    // It is counted as what it is.
    let scrape = stack.scrape("gateway").await;
    let heads = [
        ("http_request_method", "HEAD"),
        ("http_route", "/health"),
        ("outcome", "ok"),
    ];
    assert_eq!(scrape.value(&format!("{SERVER}_count"), &heads), Some(1.0));
    stack.stop().await;
}

/// A role beside the services, started by its command line.
async fn role(name: &str, arguments: &[&str]) -> (Child, String, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = omnitrace([name, "--listen", "127.0.0.1:0"]);
    command.args(arguments).current_dir(directory.path());
    command.env("OTEL_SDK_DISABLED", "true");
    let mut child = Child::spawn(name, command);
    let url = format!("http://{}", child.listening().await.http_addr);
    (child, url, directory)
}

#[tokio::test]
async fn herald_and_the_console_have_doors_too() {
    let (mut herald, url, _kept) = role("herald", &["--allow-host", "herald"]).await;
    head_is_like_get(
        &url,
        &[
            ("/live", 200),
            ("/ready", 200),
            ("/metrics", 200),
            ("/alerts", 405),
            ("/", 404),
        ],
    )
    .await;
    let body = "content-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    for (headers, want) in [
        ("host: evil.example", 403),
        ("host: localhost\r\norigin: http://evil.example", 403),
        ("host: herald:9095", 422),
        ("host: 127.0.0.1", 422),
    ] {
        assert_eq!(
            status(&url, "POST", "/alerts", &format!("{headers}\r\n{body}")).await,
            want,
            "{headers}"
        );
    }
    for path in ["/live", "/ready", "/metrics"] {
        assert_eq!(
            status(&url, "GET", path, "host: scraped.example").await,
            200,
            "{path}"
        );
    }
    assert_eq!(herald.terminate().await.code(), Some(0));

    let (mut console, url, _kept) =
        role("console", &["--allow-host", "host.docker.internal"]).await;
    assert_eq!(
        status(&url, "GET", "/", "host: host.docker.internal:8000").await,
        200
    );
    assert_eq!(status(&url, "GET", "/", "host: evil.example").await, 403);
    assert_eq!(console.terminate().await.code(), Some(0));
}

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

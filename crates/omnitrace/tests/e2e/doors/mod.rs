//! Who may call which listener, and how: names and pages, `HEAD`; uploads, bursts and signals are in [`limits`].

mod limits;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Child, Stack, omnitrace};

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

//! Which clients are answered, and which headers browsers get.

use std::collections::BTreeMap;

use crate::harness::{Reply, Running};
use crate::payload::{span, traces};

#[tokio::test]
async fn names_of_other_hosts_are_refused() {
    let console = Running::start();
    let port = console.address.port();
    let with_host = async |host: String| {
        let request = console.client.get(format!("{}/api/services", console.url));
        Reply::to(request.header("host", host))
            .await
            .status
            .as_u16()
    };
    for host in [
        format!("localhost:{port}"),
        format!("127.0.0.1:{port}"),
        "localhost".into(),
        format!("[::1]:{port}"),
        format!("LOCALHOST:{port}"),
    ] {
        assert_eq!(with_host(host.clone()).await, 200, "{host}");
    }
    for host in [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "",
        "localhost@evil.example",
        "[::2]",
    ] {
        let status = with_host(host.into()).await;
        assert!([400, 403, 421].contains(&status), "{host:?}: {status}");
    }
    let post = console.post(
        "/v1/traces",
        "application/json",
        traces("s", vec![span(1, 1, None, "x")])
            .to_string()
            .into_bytes(),
    );
    assert!(
        !Reply::to(post.header("host", "evil.example"))
            .await
            .status
            .is_success()
    );
    assert_eq!(console.json("/api/stats").await["spans"], 0);
}

#[tokio::test]
async fn no_other_origin_may_read_or_send() {
    let console = Running::start();
    for path in ["/api/services", "/", "/v1/traces"] {
        let request = console
            .client
            .request(reqwest::Method::OPTIONS, format!("{}{path}", console.url));
        let reply = Reply::to(
            request
                .header("origin", "http://evil.example")
                .header("access-control-request-method", "POST"),
        )
        .await;
        assert!(
            !reply
                .headers
                .keys()
                .any(|name| name.as_str().starts_with("access-control")),
            "{path}: {:?}",
            reply.headers
        );
    }
    let request = console.client.get(format!("{}/api/services", console.url));
    let reply = Reply::to(request.header("origin", "http://evil.example")).await;
    assert_eq!(reply.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let console = Running::start();
    for path in [
        "/",
        "/trace/0123",
        "/static/app.js",
        "/static/style.css",
        "/api/services",
        "/api/traces/zz",
        "/nowhere",
        "/metrics",
        "/ready",
    ] {
        let reply = console.get(path).await;
        let policy = reply.header("content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{path}");
        assert!(!reply.header("referrer-policy").is_empty(), "{path}");
    }
}

/// The paths of the modules that a module imports.
fn imports(path: &str, text: &str) -> Vec<String> {
    let base = reqwest::Url::parse("http://console").expect("a URL");
    let base = base.join(path).expect("a path");
    let words = text.split(['\'', '"']);
    let relative = words.filter(|word| word.starts_with('.') && word.ends_with(".js"));
    relative
        .map(|word| base.join(word).expect("a path").path().to_owned())
        .collect()
}

/// What a page loads: its style sheets, and its modules with all that they import.
async fn loaded(console: &Running, page: &str) -> BTreeMap<String, Reply> {
    let linked = page.split('"').filter(|word| word.starts_with("/static/"));
    let mut wanted: Vec<String> = linked.map(str::to_owned).collect();
    let mut found = BTreeMap::new();
    while let Some(path) = wanted.pop() {
        if found.contains_key(&path) {
            continue;
        }
        let reply = console.get(&path).await;
        if path.ends_with(".js") {
            wanted.extend(imports(&path, &reply.text()));
        }
        found.insert(path, reply);
    }
    found
}

#[tokio::test]
async fn the_pages_are_whole_and_speak_to_nobody_else() {
    let console = Running::start();
    let page = console.get("/").await;
    assert_eq!(
        (page.status.as_u16(), page.header("content-type")),
        (200, "text/html; charset=utf-8")
    );
    let trace = format!("/trace/{}", "a".repeat(32));
    for other in [
        "/traces",
        "/alerts",
        "/alerts/0198",
        "/services/data",
        &trace,
    ] {
        assert_eq!(console.get(other).await.body, page.body, "{other}");
    }
    let files = loaded(&console, &page.text()).await;
    assert!(files.len() > 30, "{:?}", files.keys());
    for (path, reply) in &files {
        let script = path.ends_with(".js");
        let kind = if script {
            "text/javascript"
        } else {
            "text/css"
        };
        assert_eq!(reply.status, 200, "{path}");
        assert!(reply.header("content-type").contains(kind), "{path}");
        let vendored = path.starts_with("/static/vendor/");
        // The namespace of SVG is a name, and the example request is shown, not sent.
        let text = reply.text();
        let text = text
            .replace("http://www.w3.org/", "")
            .replace("http://127.0.0.1:8080/", "");
        for other in ["http://", "https://", "//cdn", "@import"] {
            // A vendor's comments name where its ideas come from.
            assert!(vendored || !text.contains(other), "{path} contains {other}");
        }
        for word in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
        ] {
            assert!(!text.contains(word), "{path} contains {word}");
        }
    }
}

#[tokio::test]
async fn a_configured_name_is_answered() {
    let console = Running::start();
    for name in ["host.docker.internal:8000", "HOST.docker.internal"] {
        let request = console.client.get(format!("{}/api/services", console.url));
        let reply = Reply::to(request.header("host", name)).await;
        assert_eq!(reply.status, 200, "{name}");
    }
    let request = console.client.get(format!("{}/api/services", console.url));
    let reply = Reply::to(request.header("host", "evil.example")).await;
    let said = reply.text();
    assert!(
        reply.status == 403 && said.contains("OMNITRACE_CONSOLE_ALLOWED_HOSTS"),
        "{said}"
    );
}

/// What a browser asks before a page of `origin` may send.
async fn preflight(console: &Running, path: &str, origin: &str) -> Reply {
    let request = console
        .client
        .request(reqwest::Method::OPTIONS, format!("{}{path}", console.url))
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type,x-tenant");
    Reply::to(request).await
}

#[tokio::test]
async fn pages_of_listed_origins_may_send_and_nothing_else() {
    let console = Running::start();
    let listed = "http://localhost:4200";
    for path in ["/v1/traces", "/v1/logs", "/v1/metrics", "/otlp/v1/logs"] {
        let reply = preflight(&console, path, listed).await;
        assert_eq!(reply.status, 204, "{path}");
        for (name, value) in [
            ("access-control-allow-origin", listed),
            ("access-control-allow-methods", "POST"),
            ("access-control-allow-headers", "content-type,x-tenant"),
            ("access-control-allow-credentials", "true"),
            ("vary", "Origin"),
        ] {
            assert_eq!(reply.header(name), value, "{path}");
        }
    }
    let body = traces("browser", vec![span(1, 1, None, "click")]).to_string();
    let post = console.post("/v1/traces", "application/json", body.into_bytes());
    let reply = Reply::to(post.header("origin", listed)).await;
    assert_eq!(
        (
            reply.status.as_u16(),
            reply.header("access-control-allow-origin")
        ),
        (200, listed)
    );
    // A page may read the reason of a refusal of what it sent, and nothing that others sent.
    let post = console.post("/v1/traces", "application/json", b"{".to_vec());
    let reply = Reply::to(post.header("origin", listed)).await;
    assert_eq!(
        (
            reply.status.as_u16(),
            reply.header("access-control-allow-origin")
        ),
        (400, listed)
    );
    for (path, origin) in [
        ("/api/services", listed),
        ("/", listed),
        ("/v1/traces", "http://localhost:4201"),
        ("/v1/traces", "https://localhost:4200"),
        ("/v1/traces", "http://localhost:4200.evil.example"),
        ("/v1/traces", "null"),
    ] {
        let reply = preflight(&console, path, origin).await;
        assert_eq!(reply.status, 405, "{path} {origin}");
        assert_eq!(
            reply.header("access-control-allow-origin"),
            "",
            "{path} {origin}"
        );
    }
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let console = Running::start();
    for (path, status) in [
        ("/", 200),
        ("/static/app.js", 200),
        ("/api/services", 200),
        ("/api/stats", 200),
        ("/metrics", 200),
        ("/ready", 200),
        ("/live", 200),
        ("/nowhere", 404),
        ("/v1/traces", 405),
    ] {
        let head = Reply::to(console.client.head(format!("{}{path}", console.url))).await;
        let get = console.get(path).await;
        assert_eq!(
            (head.status.as_u16(), get.status.as_u16()),
            (status, status),
            "{path}"
        );
        assert!(head.body.is_empty() && !get.body.is_empty(), "{path}");
        assert_eq!(
            head.header("content-type"),
            get.header("content-type"),
            "{path}"
        );
    }
    let put = Reply::to(console.client.put(format!("{}/ready", console.url))).await;
    assert_eq!(
        (put.status.as_u16(), put.header("allow")),
        (405, "GET, HEAD")
    );
}

#[tokio::test]
async fn every_path_says_by_which_methods_it_can_be_asked_for() {
    let console = Running::start();
    let (read, forms, sent) = ("GET, HEAD", "GET, HEAD, POST", "POST");
    for (path, allowed) in [
        ("/", read),
        ("/trace/1", read),
        ("/static/app.js", read),
        ("/ready", read),
        ("/live", read),
        ("/metrics", read),
        ("/api/stats", read),
        ("/api/logs", read),
        ("/api/metrics", read),
        ("/api/targets", read),
        ("/api/alerts", read),
        ("/api/services", read),
        ("/api/services/shop/operations", read),
        ("/api/operations", read),
        ("/api/traces", read),
        ("/api/traces/1", read),
        ("/api/dependencies", read),
        ("/api/console/traces", read),
        ("/api/console/traces/1", read),
        ("/loki/api/v1/query", forms),
        ("/loki/api/v1/query_range", forms),
        ("/loki/api/v1/labels", forms),
        ("/loki/api/v1/label", forms),
        ("/loki/api/v1/series", forms),
        ("/loki/api/v1/label/level/values", read),
        ("/api/v1/query", forms),
        ("/api/v1/query_range", forms),
        ("/api/v1/series", forms),
        ("/api/v1/labels", forms),
        ("/api/v1/query_exemplars", forms),
        ("/api/v1/label/job/values", read),
        ("/api/v1/metadata", read),
        ("/api/v1/status/buildinfo", read),
        ("/api/v1/rules", read),
        ("/api/v1/alerts", read),
        ("/api/v1/alertmanagers", read),
        ("/v1/traces", sent),
        ("/v1/logs", sent),
        ("/v1/metrics", sent),
        ("/otlp/v1/logs", sent),
    ] {
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "TRACE"] {
            let method: reqwest::Method = method.parse().expect("a method");
            let is_allowed = allowed.split(", ").any(|known| known == method.as_str());
            let url = format!("{}{path}", console.url);
            let reply = Reply::to(console.client.request(method.clone(), url)).await;
            let expected = if is_allowed { "" } else { allowed };
            assert_eq!(
                (reply.status == 405, reply.header("allow")),
                (!is_allowed, expected),
                "{method} {path}"
            );
        }
    }
}

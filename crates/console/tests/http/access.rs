//! Beyond loopback a token is needed.

use std::net::SocketAddr;

use console::{Access, Settings};
use reqwest::redirect::Policy;

use crate::harness::{Reply, Running, settings};
use crate::payload::{span, traces};

const TOKEN: &str = "correct-horse-battery";

fn console() -> Running {
    Running::with(Settings {
        access: Access::Token(TOKEN.parse().expect("a token")),
        ..settings()
    })
}

#[tokio::test]
async fn only_who_knows_the_token_reads_and_changes_and_anybody_sends() {
    let console = console();
    let body = traces("shop", vec![span(1, 1, None, "a")]);
    console.take("/v1/traces", &body).await;
    for open in ["/ready", "/live", "/metrics"] {
        assert_eq!(console.get(open).await.status, 200, "{open}");
    }
    for path in [
        "/",
        "/static/app.js",
        "/api/services",
        "/api/events",
        "/loki/api/v1/labels",
        "/api/v1/query?query=1",
        "/api/faults",
        "/nowhere",
    ] {
        let reply = console.get(path).await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("www-authenticate")),
            (401, "Bearer"),
            "{path}"
        );
        let said = reply.text();
        assert!(
            said.contains("OMNITRACE_CONSOLE_TOKEN") && !said.contains(TOKEN),
            "{said}"
        );
        assert!(
            reply
                .header("content-security-policy")
                .contains("default-src 'none'"),
            "{path}"
        );
    }
    let put = console
        .client
        .put(format!("{}/api/faults/data/latency", console.url));
    assert_eq!(Reply::to(put).await.status, 401);
    let ask = || console.client.get(format!("{}/api/services", console.url));
    assert_eq!(Reply::to(ask().bearer_auth(TOKEN)).await.status, 200);
    // The form http://any:TOKEN@127.0.0.1:8000, which herald and doctor accept.
    assert_eq!(
        Reply::to(ask().basic_auth("any", Some(TOKEN))).await.status,
        200
    );
    assert_eq!(
        Reply::to(ask().bearer_auth("correct-horse-batterx"))
            .await
            .status,
        401
    );
}

#[tokio::test]
async fn a_page_with_the_token_in_its_address_is_opened_without_it() {
    let console = console();
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .build()
        .expect("a client");
    let reply = Reply::to(client.get(format!("{}/trace/ab?x=1&token={TOKEN}", console.url))).await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("location")),
        (303, "/trace/ab?x=1")
    );
    assert_eq!(
        (
            reply.header("cache-control"),
            reply.header("referrer-policy")
        ),
        ("no-store", "no-referrer")
    );
    let cookie = reply.header("set-cookie");
    // Lax: who is logged in may follow a link of a notification. What changes something asks for more than a cookie.
    let (name, rest) = cookie.split_once('=').expect("a cookie");
    assert_eq!(rest, format!("{TOKEN}; Path=/; HttpOnly; SameSite=Lax"));
    assert!(name.starts_with("omnitrace_token_"), "{name}");
    let cookie = cookie.split(';').next().expect("a cookie");
    for path in ["/", "/static/app.js", "/api/services"] {
        let request = client
            .get(format!("{}{path}", console.url))
            .header("cookie", cookie);
        assert_eq!(Reply::to(request).await.status, 200, "{path}");
    }
    // A page elsewhere may make a browser send the cookie, and no more.
    let url = format!("{}/api/faults/data/latency", console.url);
    let put = client
        .put(url)
        .header("cookie", cookie)
        .header("origin", "http://evil.example");
    assert_eq!(Reply::to(put).await.status, 403);
    let wrong =
        Reply::to(client.get(format!("{}/?token=correct-horse-batterx", console.url))).await;
    assert_eq!(
        (wrong.status.as_u16(), wrong.header("set-cookie")),
        (401, "")
    );
}

#[tokio::test]
async fn beyond_loopback_a_token_is_needed_unless_it_is_said_otherwise() {
    let listening = |access| Settings {
        listen: SocketAddr::from(([0, 0, 0, 0], 0)),
        access,
        ..settings()
    };
    for (access, status) in [(Access::ByAddress, 401), (Access::Anybody, 200)] {
        let mut console = Running::with(listening(access));
        console.url = format!("http://127.0.0.1:{}", console.address.port());
        assert_eq!(console.get("/api/services").await.status, status);
        assert_eq!(console.get("/ready").await.status, 200);
        // Without a token nobody is known who may.
        let url = format!("{}/api/faults/data", console.url);
        let delete = Reply::to(console.client.delete(url)).await;
        assert_eq!(delete.status, if status == 200 { 403 } else { 401 });
        assert_eq!(delete.text().contains("--no-token"), status == 200);
    }
}

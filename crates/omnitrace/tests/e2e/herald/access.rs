//! Who may send alerts: the shared secret, and certificates.

use std::time::Duration;

use reqwest::{Certificate, Identity, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Herald, alert, arrived};
use crate::backend_tls::Pki;
use crate::harness::{Capture, Child, Receiver, Span, omnitrace};

const SECRET: &str = "correct-horse-battery-staple";

impl Herald {
    pub async fn post_as(&self, authorization: &str) -> reqwest::Response {
        let mut request = self.client.post(format!("{}/alerts", self.url));
        if !authorization.is_empty() {
            request = request.header("authorization", authorization);
        }
        let request = request.json(&alert("ServiceDown", "firing"));
        request.send().await.expect("an answer")
    }
}

#[tokio::test]
async fn whoever_does_not_know_the_secret_brings_nothing() {
    let state = tempfile::tempdir().unwrap();
    let webhook = Capture::answering(&json!({}));
    let file = state.path().join("secret");
    std::fs::write(&file, "the-one-before-this-one\n").unwrap();
    let settings = [
        ("HERALD_WEBHOOK_URL", webhook.url()),
        ("HERALD_SECRET", SECRET.to_owned()),
        ("HERALD_SECRET_FILE", file.display().to_string()),
    ];
    let settings = settings
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let mut herald = Herald::start(&state.path().join("state"), &settings).await;
    for wrong in [
        "",
        "Bearer",
        "Bearer correct-horse-battery-stapl",
        "Basic Zm9vOmJhcg==",
    ] {
        let refused = herald.post_as(wrong).await;
        assert_eq!(refused.status(), 401, "{wrong}");
        assert_eq!(refused.headers()["www-authenticate"], "Bearer");
        assert_eq!(
            refused.headers()["content-type"],
            "application/problem+json"
        );
    }
    assert_eq!(
        herald
            .metric(
                "herald_notifications_received_total",
                &[("outcome", "unauthorized")]
            )
            .await,
        4.0
    );
    for open in ["live", "ready", "metrics"] {
        let answer = herald
            .client
            .get(format!("{}/{open}", herald.url))
            .send()
            .await;
        assert_eq!(answer.expect("an answer").status(), 200, "{open}");
    }
    assert_eq!(webhook.take().len(), 0);
    // Both are known while one replaces the other.
    for secret in [SECRET, "the-one-before-this-one"] {
        assert_eq!(
            herald.post_as(&format!("Bearer {secret}")).await.status(),
            200
        );
    }
    arrived(&webhook, 1).await;
    assert!(herald.child.terminate().await.success());
    assert!(!herald.child.output().contains(SECRET));
}

#[tokio::test]
async fn a_stranger_is_refused_before_the_body_is_there() {
    let state = tempfile::tempdir().unwrap();
    let mut herald = Herald::start(state.path(), &[("HERALD_SECRET", SECRET)]).await;
    let mut stream = TcpStream::connect(herald.url.trim_start_matches("http://"))
        .await
        .unwrap();
    let head = "POST /alerts HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    // A body has 10 s to arrive.
    let whole = timeout(Duration::from_secs(5), stream.read_to_string(&mut answer)).await;
    whole.expect("the connection is closed").unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(herald.child.terminate().await.success());
}

#[tokio::test]
async fn only_a_certificate_of_the_authority_brings_alerts() {
    let (pki, state) = (Pki::new(), tempfile::tempdir().unwrap());
    let (webhook, receiver) = (Capture::answering(&json!({})), Receiver::start());
    let file = |name: &str| pki.path(name).display().to_string();
    let settings = [
        ("HERALD_WEBHOOK_URL", webhook.url()),
        ("OTEL_SDK_DISABLED", "false".to_owned()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url()),
        ("HERALD_TLS_CERTIFICATE", file("localhost.crt")),
        ("HERALD_TLS_KEY", file("localhost.key")),
        ("HERALD_TLS_CLIENT_CA", file("ca.crt")),
    ];
    let settings = settings
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let mut herald = Herald::start(state.path(), &settings).await;
    let port = herald.port().to_owned();
    let url = format!("https://localhost:{port}");
    let read = |name: &str| std::fs::read(pki.path(name)).unwrap();
    let client = |certificate: bool| {
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([Certificate::from_pem(&read("ca.crt")).unwrap()]);
        if certificate {
            let both = [read("client.crt"), read("client.key")].concat();
            builder = builder.identity(Identity::from_pem(&both).unwrap());
        }
        builder.build().unwrap()
    };
    let post = async |certificate: bool| -> StatusCode {
        let request = client(certificate).post(format!("{url}/alerts"));
        let request = request.json(&alert("ServiceDown", "firing"));
        request.send().await.expect("an answer").status()
    };
    assert_eq!(post(false).await, 401);
    assert_eq!(webhook.take().len(), 0);
    assert_eq!(post(true).await, 200);
    arrived(&webhook, 1).await;
    let posted = |spans: &[Span]| {
        spans
            .iter()
            .find(|span| span.name == "POST /alerts")
            .cloned()
    };
    let span = receiver.wait_for_span("the server span", posted).await;
    assert_eq!(span.attributes["url.scheme"], "https");
    // A scraper needs none.
    let metrics = client(false)
        .get(format!("{url}/metrics"))
        .send()
        .await
        .unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains("outcome=\"unauthorized\"} 1"), "{metrics}");
    // Nor does a probe.
    let mut probe = omnitrace([
        "health",
        "--url",
        &url,
        "--backend-certificate",
        &file("ca.crt"),
    ]);
    probe
        .env_remove("BACKEND_CLIENT_CERTIFICATE")
        .env_remove("BACKEND_CLIENT_KEY");
    let mut probe = Child::spawn("health", probe);
    assert!(probe.wait().await.success(), "{}", probe.output());
    assert!(
        herald
            .client
            .get(format!("http://localhost:{port}/live"))
            .send()
            .await
            .is_err()
    );
    assert!(herald.child.terminate().await.success());
}

/// Settings, the variable that is named, and what is said of it.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str);

#[tokio::test]
async fn a_door_that_cannot_be_locked_is_not_opened() {
    let (pki, state) = (Pki::new(), tempfile::tempdir().unwrap());
    let file = |name: &str| pki.path(name).display().to_string();
    std::fs::write(pki.path("empty"), "\n").unwrap();
    let [certificate, key, rubbish, empty, absent] = [
        "localhost.crt",
        "localhost.key",
        "rubbish",
        "empty",
        "absent",
    ]
    .map(file);
    let pipe = file("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo").success());
    let tls = "HERALD_TLS_CERTIFICATE";
    let cases: [Case; 13] = [
        (
            &[("HERALD_SECRET", "short")],
            "HERALD_SECRET: allowed: 16 to 512",
            "",
        ),
        (
            &[("HERALD_SECRET", " ")],
            "HERALD_SECRET: holds only blanks",
            "",
        ),
        (
            &[("HERALD_SECRET", "\u{a0}\n")],
            "HERALD_SECRET: holds only blanks",
            "",
        ),
        // Neither has an end.
        (
            &[("HERALD_SECRET_FILE", "/dev/zero")],
            "HERALD_SECRET_FILE: cannot read /dev/zero",
            "it is no regular file",
        ),
        (
            &[("HERALD_WEBHOOK_URL_FILE", &pipe)],
            "HERALD_WEBHOOK_URL_FILE: cannot read",
            "it is no regular file",
        ),
        (
            &[("HERALD_SECRET_FILE", &empty)],
            "HERALD_SECRET_FILE: the file is empty",
            "",
        ),
        (
            &[("HERALD_SECRET_FILE", &absent)],
            "HERALD_SECRET_FILE: cannot read",
            "absent",
        ),
        (
            &[(tls, &certificate)],
            "HERALD_TLS_KEY: is unset, but HERALD_TLS_CERTIFICATE is set",
            "",
        ),
        (
            &[("HERALD_TLS_CLIENT_CA", &certificate)],
            "HERALD_TLS_CERTIFICATE: is unset",
            "",
        ),
        (
            &[(tls, &rubbish), ("HERALD_TLS_KEY", &key)],
            "HERALD_TLS_CERTIFICATE: ",
            "rubbish holds no certificate",
        ),
        (
            &[(tls, &certificate), ("HERALD_TLS_KEY", &rubbish)],
            "HERALD_TLS_KEY: ",
            "rubbish holds no private key",
        ),
        (
            &[(tls, &certificate), ("HERALD_TLS_KEY", &absent)],
            "HERALD_TLS_KEY: cannot read",
            "absent",
        ),
        (
            &[
                (tls, &certificate),
                ("HERALD_TLS_KEY", &key),
                ("HERALD_TLS_CLIENT_CA", &rubbish),
            ],
            "HERALD_TLS_CLIENT_CA: ",
            "rubbish holds no certificate",
        ),
    ];
    for (settings, variable, problem) in cases {
        let mut command = Herald::command(state.path());
        command.envs(settings.iter().copied());
        let mut herald = Child::spawn("herald", command);
        assert_eq!(herald.wait().await.code(), Some(1), "{settings:?}");
        let said = herald.stderr().join("\n");
        assert!(
            said.contains(variable) && said.contains(problem),
            "{settings:?}: {said}"
        );
    }
}

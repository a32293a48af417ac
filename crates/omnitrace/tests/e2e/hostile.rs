//! Headers that no honest caller sends: nothing crashes, nothing is passed on, nothing is mixed up.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Capture, Stack, tree};

/// Headers as bytes, since no HTTP client would send most of these.
fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let mut headers: Vec<(&'static str, Vec<u8>)> = Vec::new();
    for name in [
        "traceparent",
        "tracestate",
        "baggage",
        "user-agent",
        "idempotency-key",
    ] {
        headers.push((name, b"\xff\xfe\x80".to_vec()));
        headers.push((name, vec![b'a'; 100_000]));
        headers.push((name, b"<script>alert(1)</script>".to_vec()));
        headers.push((name, b"a=\x01\x02\x1b[2J".to_vec()));
        headers.push((name, b"a=b\0c".to_vec()));
        headers.push((name, b"a=b\x0bc".to_vec()));
        headers.push((name, b"a=b\nx-injected: 1".to_vec()));
        headers.push((name, b"a=b\r\n folded".to_vec()));
        headers.push((name, "a=\u{202e}\u{0}".as_bytes().to_vec()));
        headers.push((name, b"a=%00%0d%0ax-injected:%201".to_vec()));
        headers.push((name, b"${jndi:ldap://x}=1,../../etc/passwd=1".to_vec()));
    }
    headers.push((
        "traceparent",
        [
            b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_vec(),
            vec![b' '; 50_000],
        ]
        .concat(),
    ));
    headers.push((
        "traceparent",
        [
            b"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-".to_vec(),
            vec![b'a'; 50_000],
        ]
        .concat(),
    ));
    headers
}

/// The status of the answer to `GET /api/data` with one header; `None` when the connection just ended.
async fn status(stack: &Stack, name: &str, value: &[u8]) -> Option<u16> {
    let address = stack.url("gateway").replace("http://", "");
    let mut stream = TcpStream::connect(address)
        .await
        .expect("the gateway accepts");
    let head = format!("GET /api/data HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{name}: ");
    let request = [head.as_bytes(), value, b"\r\n\r\n"].concat();
    let mut answer = Vec::new();
    // A server that refuses early may reset while we still write.
    stream.write_all(&request).await.ok();
    stream.read_to_end(&mut answer).await.ok();
    let text = String::from_utf8_lossy(&answer);
    text.get(9..12)?.parse().ok()
}

#[tokio::test]
async fn hostile_headers_do_no_harm() {
    let data = Capture::answering(&json!({
        "sku": "tea", "name": "Tea", "stock": 3, "unit_price_cents": 450,
        "quote": {"sku": "tea", "price_cents": 420, "currency": "EUR"},
    }));
    let stack = Stack::builder()
        .only(&["gateway"])
        .env("gateway", "DATA_URL", &data.url())
        .start()
        .await;

    for (name, value) in hostile() {
        let status = status(&stack, name, &value).await;
        let shown = String::from_utf8_lossy(&value[..value.len().min(60)]).into_owned();
        assert!(
            matches!(status, Some(200 | 400..=499)),
            "{name}: {shown:?} was answered with {status:?}"
        );
        for request in data.take() {
            is_clean(&request.headers, name, &shown);
        }
    }

    let reply = stack.get_data().await.expect(200);
    let log = stack.log_lines("gateway");
    assert!(log.iter().all(|line| line["level"] != "ERROR"), "{log:#?}");
    let receiver = stack.stop().await;
    let trace = receiver.trace(&reply.trace_id());
    assert_eq!(
        tree(&trace),
        "gateway Server GET /api/data\n  gateway Client GET /items/quote"
    );
    for span in receiver.spans() {
        for (key, value) in &span.attributes {
            let length = value.to_string().len();
            assert!(length < 10_000, "{key} holds {length} bytes");
        }
    }
}

/// What goes on is either well-formed or not sent at all.
#[track_caller]
fn is_clean(headers: &[(String, Vec<u8>)], name: &str, shown: &str) {
    for (key, value) in headers {
        let text = String::from_utf8_lossy(value);
        assert!(key != "x-injected", "injected by {name}: {shown:?}");
        assert!(
            value.is_ascii() && !value.iter().any(u8::is_ascii_control),
            "{key}: {text:?} by {name}: {shown:?}"
        );
        assert!(
            !text.contains("script") && !text.contains("jndi"),
            "{key}: {text:?}"
        );
        assert!(
            value.len() < 3000,
            "{key} of {} bytes by {name}",
            value.len()
        );
    }
}

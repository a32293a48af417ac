//! Every mistake that a client can make, and how it is told: 400, 404, 405, 409, 413, 422.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::harness::{Reply, Stack};

fn order() -> Value {
    json!({"sku": "omni-mug", "quantity": 1, "customer_email": "ada@example.com"})
}

/// `order()` with one member replaced, or removed when `value` is null.
fn with(member: &str, value: Value) -> Value {
    let mut order = order();
    match value {
        Value::Null => drop(order.as_object_mut().unwrap().shift_remove(member)),
        value => order[member] = value,
    }
    order
}

/// `POST /api/orders` with a body as it is.
async fn post_text(stack: &Stack, content_type: &str, body: impl Into<reqwest::Body>) -> Reply {
    let request = stack.request(Method::POST, "/api/orders");
    stack
        .send(request.header("content-type", content_type).body(body))
        .await
}

#[tokio::test]
async fn mistakes_of_the_client_are_named() {
    let stack = Stack::builder()
        .env(
            "data",
            "OMNITRACE_SEED_ITEMS",
            "omni-mug:5:1290,empty:0:100",
        )
        .start()
        .await;
    unreadable(&stack).await;
    invalid(&stack).await;
    invalid_keys(&stack).await;
    absent(&stack).await;

    stack
        .post_order(&with("sku", json!("empty")), None)
        .await
        .problem(409, "out-of-stock");
    stack
        .post_order(&with("quantity", json!(6)), None)
        .await
        .problem(409, "out-of-stock");

    let mut books = stack.database.books().await;
    assert_eq!(
        books.orders().await,
        [],
        "none of it has left a trace in the books"
    );
    assert_eq!(books.account("omni-mug").await.stock, 5);
    stack.stop().await;
}

/// 400 and 413.
async fn unreadable(stack: &Stack) {
    let trailing = format!("{} x", order());
    for body in ["", "{", "{\"sku\":", "sku=omni-mug", "\u{0}", &trailing] {
        post_text(stack, "application/json", body.to_owned())
            .await
            .problem(400, "bad-request");
    }
    post_text(stack, "application/json", vec![b'"', 0xff, 0xfe, b'"'])
        .await
        .problem(400, "bad-request");
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "nonsense",
    ] {
        post_text(stack, content_type, order().to_string())
            .await
            .problem(400, "bad-request");
    }
    let no_type = stack
        .request(Method::POST, "/api/orders")
        .body(order().to_string());
    stack.send(no_type).await.problem(400, "bad-request");

    // Just over the limit, and far over it; with a length, and in chunks.
    let padded = |size: usize| {
        format!(
            "{}{}",
            order(),
            " ".repeat(size - order().to_string().len())
        )
    };
    post_text(stack, "application/json", padded(64 * 1024 + 1))
        .await
        .problem(413, "payload-too-large");
    let status = post_chunks(stack, 5, 16 * 1024).await;
    assert_eq!(status, "HTTP/1.1 413 Payload Too Large");
}

/// `POST /api/orders` with a body of blanks that does not say how long it will be; the status line.
async fn post_chunks(stack: &Stack, chunks: usize, size: usize) -> String {
    let address = stack.url("gateway").replace("http://", "");
    let mut stream = TcpStream::connect(&address).await.expect("connect");
    let head = format!(
        "POST /api/orders HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\n\r\n"
    );
    let chunk = format!("{size:x}\r\n{}\r\n", " ".repeat(size)).repeat(chunks);
    // The server may have answered and closed before it has read everything: then the rest cannot be sent.
    stream
        .write_all(head.as_bytes())
        .await
        .expect("send the head");
    stream.write_all(chunk.as_bytes()).await.ok();
    let mut lines = BufReader::new(stream).lines();
    lines
        .next_line()
        .await
        .expect("an answer")
        .expect("a status line")
}

/// 422, the member named.
async fn invalid(stack: &Stack) {
    let long = "x".repeat(65);
    let long_email = format!("{}@example.com", "x".repeat(250));
    let cases = [
        (
            "sku",
            vec![
                json!(""),
                json!("a b"),
                json!("../items"),
                json!("a/b"),
                json!(".."),
                json!(long),
                json!(7),
                Value::Null,
            ],
        ),
        (
            "quantity",
            vec![
                json!(0),
                json!(101),
                json!(-1),
                json!(1.5),
                json!("1"),
                json!(1e30),
                json!([1]),
                Value::Null,
            ],
        ),
        (
            "customer_email",
            vec![
                json!(""),
                json!("nobody"),
                json!("a@b"),
                json!("a b@c.de"),
                json!(long_email),
                json!(1),
                Value::Null,
            ],
        ),
    ];
    for (member, values) in cases {
        for value in values {
            let reply = stack.post_order(&with(member, value.clone()), None).await;
            let problem = reply.problem(422, "invalid-request");
            assert_eq!(reply.invalid_fields(), [member], "{value}: {reply:?}");
            let message = problem["errors"][0]["message"].as_str().unwrap();
            assert!(!message.is_empty(), "{reply:?}");
        }
    }
    let reply = stack.post_order(&with("size", json!("L")), None).await;
    reply.problem(422, "invalid-request");
    assert_eq!(reply.invalid_fields(), ["size"]);

    let all = json!({"sku": "", "quantity": 0, "customer_email": "ada at example.com"});
    let reply = stack.post_order(&all, None).await;
    reply.problem(422, "invalid-request");
    assert_eq!(
        reply.invalid_fields(),
        ["sku", "quantity", "customer_email"],
        "all at once"
    );
    assert!(
        !reply.body.contains("ada at"),
        "what was sent is not repeated: {reply:?}"
    );

    for not_an_object in [json!([]), json!("order"), json!(null), json!([order()])] {
        stack
            .post_order(&not_an_object, None)
            .await
            .problem(422, "invalid-request");
    }
    let twice =
        r#"{"sku":"omni-mug","sku":"empty","quantity":1,"customer_email":"ada@example.com"}"#;
    let reply = post_text(stack, "application/json", twice).await;
    reply.problem(422, "invalid-request");
    assert_eq!(reply.invalid_fields(), ["sku"]);

    for query in ["sku=", "sku=a%20b", "sku=..%2Forders"] {
        let reply = stack.get(&format!("/api/data?{query}")).await;
        reply.problem(422, "invalid-request");
        assert_eq!(reply.invalid_fields(), ["sku"], "{query}");
    }
}

async fn invalid_keys(stack: &Stack) {
    let long = "k".repeat(256);
    for key in ["", "two words", "\u{e9}", long.as_str()] {
        let reply = stack.post_order(&order(), Some(key)).await;
        reply.problem(422, "invalid-request");
        let fields = reply.invalid_fields();
        assert!(
            fields.len() == 1 && fields[0].eq_ignore_ascii_case("idempotency-key"),
            "{key:?}: {fields:?}"
        );
    }
    let two = stack.request(Method::POST, "/api/orders").json(&order());
    let two = two
        .header("Idempotency-Key", "one")
        .header("Idempotency-Key", "two");
    stack.send(two).await.problem(422, "invalid-request");
}

/// 404 and 405.
async fn absent(stack: &Stack) {
    stack
        .post_order(&with("sku", json!("no-such-item")), None)
        .await
        .problem(404, "unknown-sku");
    stack
        .get("/api/data?sku=no-such-item")
        .await
        .problem(404, "unknown-sku");
    let unknown = uuid::Uuid::now_v7();
    stack
        .get_order(&unknown.to_string())
        .await
        .problem(404, "unknown-order");
    for path in [
        "/api/orders/not-an-id",
        "/api/orders/1",
        "/",
        "/api",
        "/api/orders/",
        "/metrics",
        "/faults",
        "/orders",
    ] {
        stack.get(path).await.problem(404, "not-found");
    }
    let wrong = [
        (Method::DELETE, "/api/orders", "GET, HEAD, POST"),
        (Method::PUT, "/api/orders", "GET, HEAD, POST"),
        (Method::POST, "/api/data", "GET, HEAD"),
        (Method::PATCH, "/health", "GET, HEAD"),
        (
            Method::DELETE,
            "/api/orders/0190b5a0-0000-7000-8000-000000000000",
            "GET, HEAD",
        ),
    ];
    for (method, path, allowed) in wrong {
        let reply = stack.send(stack.request(method.clone(), path)).await;
        reply.problem(405, "method-not-allowed");
        let mut allow: Vec<&str> = reply.header("allow").split(", ").collect();
        allow.sort_unstable();
        assert_eq!(allow.join(", "), allowed, "{method} {path}");
    }
}

//! Secrets are planted wherever a caller can put text; none may come out anywhere.

use reqwest::Method;
use reqwest::header::HeaderValue;
use serde_json::{Value, json};

use crate::harness::{Child, Stack, http, omnitrace, traceparent};

const SERVICES: [&str; 3] = ["gateway", "data", "downstream"];

/// What must not be found, in upper or lower case.
pub const CANARIES: [&str; 10] = [
    "canary.bird",
    "cage.example",
    // Cards that pass the Luhn check, as digits and as printed.
    "4111111111111111",
    "5500005555555559",
    "5500 0055 5555 5559",
    "3782-822463-10005",
    "4111.1111.1111.1111",
    "sk-live-51hcanary",
    "hunter2canary",
    "eyjhbgcioijiuzi1nij9",
];

/// Texts with canaries in them, as callers write such things.
pub const PLANTED: [&str; 11] = [
    "canary.bird+tag@cage.example",
    "CANARY.BIRD@CAGE.EXAMPLE",
    "4111111111111111",
    "5500 0055 5555 5559 and 5500005555555559",
    "3782-822463-10005",
    "4111.1111.1111.1111",
    "Bearer sk-live-51Hcanary",
    "password=hunter2canary",
    r#"{"userPassword":"hunter2canary"}"#,
    "x=1&sig=hunter2canary&code=hunter2canary&y=2",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl",
];

/// Percent-encodes all but letters and digits, as a careful caller does.
fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// The same with little encoded, as a careless one does.
fn barely_encoded(text: &str) -> String {
    text.replace(' ', "%20")
}

/// Plants a text wherever a caller can put one.
pub async fn plant(stack: &Stack, sku: &str, text: &str) {
    let get = |path: String| stack.send(stack.request(Method::GET, &path));
    for text in [encoded(text), barely_encoded(text)] {
        get(format!("/api/data?sku={text}")).await;
        get(format!("/api/data?{text}=1")).await;
        get(format!("/api/orders?limit={text}&cursor={text}")).await;
        get(format!("/api/orders/{text}")).await;
        get(format!("/users/{text}/cards")).await;
    }
    let order = json!({"sku": sku, "quantity": 1, "customer_email": "ada@example.com"});
    for (field, value) in [
        ("sku", json!(text)),
        ("customer_email", json!(text)),
        ("quantity", json!(text)),
        (text, json!(1)),
        ("note", json!(text)),
    ] {
        let mut body = order.clone();
        body[field] = value;
        stack.post_order(&body, None).await;
    }
    stack.post_order(&json!(text), None).await;
    stack
        .send(
            stack
                .request(Method::POST, "/api/orders")
                .header("content-type", "application/json")
                .body(format!("{{\"{text}")),
        )
        .await;
    stack
        .send(
            stack
                .request(Method::POST, "/api/orders")
                .header("content-type", text)
                .body("{}"),
        )
        .await;
    stack
        .send(stack.request(
            Method::from_bytes(b"CANARYMETHOD").expect("a method"),
            "/api/orders",
        ))
        .await;
    for name in [
        "user-agent",
        "traceparent",
        "tracestate",
        "idempotency-key",
        "authorization",
        "cookie",
        "referer",
        "x-forwarded-for",
        "forwarded",
    ] {
        let value = HeaderValue::from_bytes(text.as_bytes()).expect("a header value");
        let request = stack.request(Method::POST, "/api/orders").json(&order);
        stack.send(request.header(name, value)).await;
    }
    // Only ASCII without spaces can be a value of these two.
    let value = encoded(text);
    let request = stack
        .request(Method::GET, "/api/data")
        .header("baggage", format!("user={value}"));
    stack
        .send(
            request
                .header("traceparent", traceparent(true).0)
                .header("tracestate", format!("v={value}")),
        )
        .await;
}

#[tokio::test]
async fn what_must_not_be_in_telemetry_is_not() {
    let mut stack = Stack::builder()
        .env_all("RUST_LOG", "trace")
        .env_all("OTEL_BSP_MAX_QUEUE_SIZE", "100000")
        .env_all("OTEL_BLRP_MAX_QUEUE_SIZE", "100000")
        .start()
        .await;
    let sku = stack.sku().await;
    for text in PLANTED {
        plant(&stack, &sku, text).await;
    }
    // Accepted as well: the address of a customer, in an order that goes all the way, and in one that fails on it.
    let order = json!({"sku": sku, "quantity": 1, "customer_email": "canary.bird@cage.example"});
    stack
        .post_order(&order, Some("canary-key"))
        .await
        .expect(201);
    stack
        .fault_set("downstream", "errors", json!({}))
        .await
        .expect(200);
    stack.post_order(&order, None).await.expect(503);
    stack.fault_clear("downstream", "errors").await.expect(200);
    stack.get_data().await.expect(200);

    let mut scrapes = String::new();
    for service in SERVICES {
        scrapes += &stack.scrape(service).await.text;
        scrapes += &stack.scrape_openmetrics(service).await.text;
    }
    is_clean("a scrape", scrapes.as_bytes());
    assert!(!scrapes.contains("CANARYMETHOD"), "a caller made a series");
    for service in SERVICES {
        assert_eq!(
            stack.kill(service, crate::harness::Signal::SIGTERM).await,
            0,
            "{service}"
        );
        for line in stack.output(service).lines() {
            is_clean(&format!("{service}'s output"), line.as_bytes());
        }
    }
    let deliveries = stack.receiver.deliveries();
    assert!(
        deliveries.len() > 10 && stack.receiver.spans().len() > 500,
        "there was something to search"
    );
    for delivery in &deliveries {
        is_clean(&delivery.path, &delivery.body);
    }
    redacted_not_dropped(&stack);
}

/// The bytes as they are and percent-decoded, letters in one case.
#[track_caller]
fn is_clean(place: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).to_lowercase();
    let decoded = text
        .replace("%40", "@")
        .replace("%2d", "-")
        .replace("%2e", ".")
        .replace("%20", " ")
        .replace("%3d", "=");
    for canary in CANARIES {
        for text in [&text, &decoded] {
            if let Some(at) = text.find(canary) {
                let around: String = text
                    .chars()
                    .skip(text[..at].chars().count().saturating_sub(200))
                    .take(400)
                    .collect();
                panic!("{canary} in {place}: …{around}…");
            }
        }
    }
}

/// The mark stands where the secret was: the attribute was there, and was cleaned.
fn redacted_not_dropped(stack: &Stack) {
    let spans = stack.receiver.spans();
    for key in ["url.path", "url.query", "user_agent.original"] {
        let marked = spans
            .iter()
            .filter_map(|span| span.attributes.get(key))
            .filter_map(Value::as_str);
        assert!(
            marked.filter(|value| value.contains("[redacted]")).count() >= 5,
            "{key}"
        );
    }
}

/// Longest text of a span or log record.
const CUT: usize = 4096;

#[tokio::test]
async fn a_secret_across_the_cut_is_not_half_readable() {
    let mut stack = Stack::start().await;
    let claims = "Y2FuYXJ5".repeat(60);
    let token = format!("eyJhbGciOiJIUzI1NiJ9.eyJ{claims}.c2lnbmF0dXJl");
    for secret in [
        token.as_str(),
        "4111111111111111",
        "canary.bird@cage.example",
    ] {
        for before in [5, 15, 100, 300] {
            let padding = "a".repeat(CUT - "x=&t=".len() - before);
            let path = format!("/api/data?x={padding}&t={secret}");
            let agent = format!("{} {secret}", "a".repeat(CUT - 1 - before));
            let request = stack
                .request(Method::GET, &path)
                .header("user-agent", agent);
            stack.send(request).await;
        }
    }
    stack.kill("gateway", crate::harness::Signal::SIGTERM).await;
    let spans = stack.receiver.spans();
    let cut = |key: &str| -> Vec<String> {
        let texts = spans.iter().map(|span| span.text(key));
        texts.filter(|text| text.len() > CUT / 2).collect()
    };
    for texts in [cut("url.query"), cut("user_agent.original")] {
        assert_eq!(texts.len(), 12, "one of each request");
        for text in texts {
            assert!(text.len() <= CUT + "…".len(), "{} bytes", text.len());
            let end = text.trim_start_matches("x=").trim_start_matches('a');
            for piece in ["eyJ", "Y2Fu", "4111", "cana"] {
                assert!(!end.contains(piece), "{end}");
            }
        }
    }
}

/// A sender of another kind, with a secret wherever it can put text.
fn foreign(text: &str) -> [(&'static str, Value); 3] {
    let said = json!({"stringValue": text});
    let attributes = json!([
        {"key": "said", "value": said}, {"key": text, "value": said},
        {"key": "list", "value": {"arrayValue": {"values": [said]}}},
        {"key": "map", "value": {"kvlistValue": {"values": [{"key": text, "value": said}]}}},
    ]);
    let service = json!({"key": "service.name", "value": {"stringValue": "careless"}});
    let resource = json!({"attributes": [service, attributes[0], attributes[1], attributes[2], attributes[3]]});
    let ids =
        json!({"traceId": uuid::Uuid::new_v4().simple().to_string(), "spanId": "00f067aa0ba902b7"});
    let mut span = json!({"name": text, "attributes": attributes, "status": {"code": 2, "message": text},
        "startTimeUnixNano": "1763942400000000000", "endTimeUnixNano": "1763942400000000001",
        "events": [{"name": text, "attributes": attributes}], "links": [{"attributes": attributes}]});
    for item in ["traceId", "spanId"] {
        span[item] = ids[item].clone();
        span["links"][0][item] = ids[item].clone();
    }
    let record =
        json!({"body": said, "severityText": text, "eventName": text, "attributes": attributes});
    let point = json!({"asDouble": 1.0, "attributes": attributes});
    let scope = json!({"name": text});
    [
        (
            "/v1/traces",
            json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": [span]}]}]}),
        ),
        (
            "/v1/logs",
            json!({"resourceLogs": [{"resource": resource, "scopeLogs": [{"scope": scope, "logRecords": [record]}]}]}),
        ),
        (
            "/v1/metrics",
            json!({"resourceMetrics": [{"resource": resource, "scopeMetrics": [
            {"scope": scope, "metrics": [{"name": "level", "gauge": {"dataPoints": [point]}}]}]}]}),
        ),
    ]
}

#[tokio::test]
async fn the_console_shows_no_secret_that_a_foreign_sender_sent() {
    let mut console = Child::spawn("console", omnitrace(["console", "--listen", "127.0.0.1:0"]));
    let url = format!("http://{}", console.listening().await.http_addr);
    for text in PLANTED {
        for (path, body) in foreign(text) {
            let request = http().post(format!("{url}{path}")).json(&body);
            let sent = request.send().await.expect("an answer");
            assert_eq!(sent.status(), 200, "{path}: {text}");
        }
    }
    for path in [
        "/api/traces?service=careless&start=1&limit=100",
        "/api/services/careless/operations",
        "/api/console/traces?service=careless&limit=100",
        "/api/logs?limit=100",
        "/api/metrics",
        "/api/stats",
        "/metrics",
    ] {
        let answer = http()
            .get(format!("{url}{path}"))
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
        is_clean(path, &answer.bytes().await.expect("a body"));
    }
    let shown = http()
        .get(format!("{url}/api/logs?limit=100"))
        .send()
        .await
        .expect("an answer");
    let shown = shown.text().await.expect("a body");
    assert_eq!(shown.matches("\"body\"").count(), PLANTED.len(), "{shown}");
    is_clean("the console's output", console.output().as_bytes());
}

//! What broken and hostile senders send.

use prost::Message;
use prost::encoding::WireType;
use serde_json::{Value, json};

use crate::harness::{Reply, Running, attribute};
use crate::payload::{MS, START, gzip, log, logs, span, trace_id, traces};

/// The same limit as the harness sets.
const LIMIT: usize = 4 << 20;

/// `google.rpc.Status`, as far as OTLP uses it.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// Checks that a refusal explains itself in the encoding of the request.
fn assert_refused(reply: &Reply, status: u16, json: bool) {
    assert_eq!(
        reply.status,
        status,
        "{}",
        String::from_utf8_lossy(&reply.body)
    );
    let message = if json {
        assert_eq!(reply.header("content-type"), "application/json");
        reply.json()["message"]
            .as_str()
            .map(str::to_owned)
            .unwrap_or_default()
    } else {
        assert_eq!(reply.header("content-type"), "application/x-protobuf");
        RpcStatus::decode(reply.body.as_slice())
            .expect("a status")
            .message
    };
    assert!(!message.is_empty());
}

/// Raw protobuf: a field that holds bytes.
fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::bytes::encode(number, &content.to_vec(), &mut bytes);
    bytes
}

#[tokio::test]
async fn malformed_bodies_are_refused_in_their_own_encoding() {
    let console = Running::start();
    let cut = traces("shop", vec![span(1, 1, None, "x")]).to_string();
    for path in ["/v1/traces", "/v1/logs", "/v1/metrics"] {
        for body in [
            "",
            "{",
            "[]",
            "null",
            "\u{0}\u{1}",
            &cut[..cut.len() - 3],
            r#"{"resourceSpans":5,"resourceLogs":5,"resourceMetrics":5}"#,
        ] {
            let reply = Reply::to(console.post(path, "application/json", body.into())).await;
            assert_refused(&reply, 400, true);
        }
        for body in [
            &b"not protobuf"[..],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f],
            &[0x08, 0x01, 0x0a],
            &[0x0a, 0x02, 0x12],
        ] {
            assert_refused(
                &console.send_protobuf(path, body.to_vec()).await,
                400,
                false,
            );
        }
    }
    for body in [&b"no gzip"[..], &gzip(b"{}")[..15]] {
        let post = console
            .post("/v1/traces", "application/json", body.to_vec())
            .header("content-encoding", "gzip");
        assert_refused(&Reply::to(post).await, 400, true);
    }
    assert_eq!(console.json("/api/stats").await["spans"], 0);
}

#[tokio::test]
async fn other_content_types_and_codings_are_415() {
    let console = Running::start();
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/grpc",
        "application/jsonx",
        "nonsense",
    ] {
        let reply = Reply::to(console.post("/v1/traces", content_type, b"{}".to_vec())).await;
        assert_eq!(reply.status, 415, "{content_type}");
        assert!(
            reply.text().contains("application/x-protobuf"),
            "{}",
            reply.text()
        );
    }
    let reply = Reply::to(
        console
            .client
            .post(format!("{}/v1/logs", console.url))
            .body("{}"),
    )
    .await;
    assert_eq!(reply.status, 415);
    let post = console
        .post("/v1/traces", "application/json", b"{}".to_vec())
        .header("content-encoding", "br");
    assert_eq!(Reply::to(post).await.status, 415);
    let reply = console.get("/v1/traces").await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("allow")),
        (405, "POST")
    );
}

#[tokio::test]
async fn large_bodies_are_413_whether_announced_chunked_or_inflated() {
    let console = Running::start();
    let large = vec![b' '; LIMIT + 1];
    assert_refused(
        &Reply::to(console.post("/v1/traces", "application/json", large.clone())).await,
        413,
        true,
    );
    assert_refused(
        &console.send_protobuf("/v1/traces", large).await,
        413,
        false,
    );
    // Members of a gzip file may follow each other, so that a bomb of any size is cheap to make.
    let member = gzip(&vec![b' '; 1 << 20]);
    let bomb = member.repeat(1_000);
    assert!(bomb.len() < LIMIT);
    let post = console
        .post("/v1/traces", "application/json", bomb)
        .header("content-encoding", "gzip");
    assert_refused(&Reply::to(post).await, 413, true);
    let mut fits = vec![b' '; LIMIT - 2];
    fits.extend(b"{}");
    for (body, status) in [(fits.clone(), 200), ([fits, b" ".to_vec()].concat(), 413)] {
        let post = console
            .post("/v1/traces", "application/json", gzip(&body))
            .header("content-encoding", "gzip");
        assert_eq!(Reply::to(post).await.status, status);
    }
}

#[tokio::test]
async fn deep_values_cost_no_stack() {
    let console = Running::start();
    let nested = |depth: usize| {
        let value = format!(
            "{}{}{}",
            r#"{"arrayValue":{"values":["#.repeat(depth),
            r#"{"intValue":"1"}"#,
            "]}}".repeat(depth)
        );
        let attribute = format!(r#"[{{"key":"deep","value":{value}}}]"#);
        let span = span(1, 1, None, "deep").to_string();
        let span = format!("{},\"attributes\":{attribute}}}", &span[..span.len() - 1]);
        traces("shop", vec![])
            .to_string()
            .replace("\"spans\":[]", &format!("\"spans\":[{span}]"))
    };
    for depth in [20, 40, 1_000, 50_000] {
        let reply =
            Reply::to(console.post("/v1/traces", "application/json", nested(depth).into_bytes()))
                .await;
        assert!(
            [200, 400].contains(&reply.status.as_u16()),
            "{depth}: {}",
            reply.status
        );
        if depth <= 20 {
            assert_eq!(reply.status, 200, "{depth}: {}", reply.text());
            let shown =
                attribute(&console.row(&trace_id(1)).await["attributes"], "deep").to_string();
            assert!(
                shown.starts_with("[[[[") && shown.contains("nested too deep"),
                "{shown}"
            );
        }
    }
    for depth in [20, 60, 1_000, 50_000] {
        // From the inside out, each key and length in front of what is there.
        let mut reversed = Vec::new();
        for number in [1, 5].repeat(depth) {
            let mut head = Vec::new();
            prost::encoding::encode_key(number, WireType::LengthDelimited, &mut head);
            prost::encoding::encode_varint(reversed.len() as u64, &mut head);
            reversed.extend(head.into_iter().rev());
        }
        let value: Vec<u8> = reversed.into_iter().rev().collect();
        let attribute = [field(1, b"deep"), field(2, &value)].concat();
        let span = [
            field(1, &2_u128.to_be_bytes()),
            field(2, &1_u64.to_be_bytes()),
            field(9, &attribute),
        ]
        .concat();
        let reply = console
            .send_protobuf("/v1/traces", field(1, &field(2, &field(2, &span))))
            .await;
        assert!(
            [200, 400].contains(&reply.status.as_u16()),
            "{depth}: {}",
            reply.status
        );
    }
    assert_eq!(console.get("/ready").await.status, 200);
}

#[tokio::test]
async fn long_texts_and_long_lists_are_cut_with_a_mark() {
    let console = Running::start();
    let mut long = span(3, 1, None, &"n".repeat(100_000));
    let mut attributes =
        vec![json!({"key": "long", "value": {"stringValue": "ä".repeat(100_000)}})];
    attributes
        .extend((0..500).map(|i| json!({"key": format!("k{i}"), "value": {"intValue": "1"}})));
    long["attributes"] = attributes.into();
    console
        .take("/v1/traces", &traces("shop", vec![long]))
        .await;
    let row = console.row(&trace_id(3)).await;
    assert!(
        row["name"]
            .as_str()
            .is_some_and(|name| name.len() < 2_000 && name.ends_with("(cut)"))
    );
    let kept = attribute(&row["attributes"], "long")
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(
        kept.len() < 20_000 && kept.ends_with("(cut)"),
        "{}",
        kept.len()
    );
    assert_eq!(
        attribute(&row["attributes"], "otel.dropped_attributes_count"),
        373
    );
    console
        .take(
            "/v1/logs",
            &logs("shop", vec![log(9, &"b".repeat(100_000), Some((3, 1)))]),
        )
        .await;
    let lines = console.json("/api/logs?trace_id=3").await;
    assert!(
        lines["logs"][0]["body"]
            .as_str()
            .is_some_and(|body| body.len() < 20_000 && body.ends_with("(cut)"))
    );
}

#[tokio::test]
async fn clocks_that_make_no_sense_are_shown_somehow() {
    let console = Running::start();
    for (trace, start, end) in [
        (1, START + MS, START),
        (2, 0, 0),
        (3, u64::MAX, u64::MAX),
        (4, 0, u64::MAX),
        (5, u64::MAX, 0),
    ] {
        let mut span = span(trace, 1, None, "odd");
        span["startTimeUnixNano"] = start.to_string().into();
        span["endTimeUnixNano"] = end.to_string().into();
        span["events"] = json!([{"name": "e", "timeUnixNano": u64::MAX.to_string()}, {"name": "e", "timeUnixNano": "0"}]);
        console
            .take("/v1/traces", &traces("shop", vec![span]))
            .await;
        let row = console.row(&trace_id(trace)).await;
        assert_eq!(
            row["duration_us"].as_f64(),
            Some(end.saturating_sub(start) as f64 / 1_000.0),
            "{trace}"
        );
        let jaeger = console.json(&format!("/api/traces/{trace}")).await;
        assert_eq!(jaeger["data"][0]["spans"][0]["startTime"], start / 1_000);
    }
    assert_eq!(
        console.json("/api/traces?service=shop").await["data"]
            .as_array()
            .map(Vec::len),
        Some(5)
    );
    let mut record = log(9, "odd", None);
    record["timeUnixNano"] = u64::MAX.to_string().into();
    console.take("/v1/logs", &logs("shop", vec![record])).await;
    assert_eq!(
        console.json("/api/logs").await["logs"][0]["time_us"],
        u64::MAX / 1_000
    );
}

#[tokio::test]
async fn scripts_are_data() {
    let console = Running::start();
    let script = "</script><img src=x onerror=alert(1)>\u{202e}\u{0}'\"&";
    let mut hostile = span(6, 1, None, script);
    hostile["attributes"] = json!([{"key": script, "value": {"stringValue": script}}]);
    console
        .take("/v1/traces", &traces(script, vec![hostile]))
        .await;
    console
        .take(
            "/v1/logs",
            &logs(script, vec![log(9, script, Some((6, 1)))]),
        )
        .await;
    let row = console.row(&trace_id(6)).await;
    for (what, value) in [
        ("name", &row["name"]),
        ("service", &row["service"]),
        ("attribute", attribute(&row["attributes"], script)),
        ("log", &row["logs"][0]["body"]),
    ] {
        assert_eq!(value, script, "{what}");
    }
    assert_eq!(console.json("/api/services").await["data"], json!([script]));
    for path in [
        "/api/services",
        "/api/logs",
        "/api/console/traces",
        "/api/traces/6",
        "/api/console/traces/6",
        "/api/traces/%3Cscript%3E",
    ] {
        let reply = console.get(path).await;
        assert!(
            reply.header("content-type").contains("json"),
            "{path}: {}",
            reply.header("content-type")
        );
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{path}");
    }
    // A name that would break a line of the exposition or a label in it.
    console
        .take(
            "/v1/traces",
            &traces("a\"b\\c\nd", vec![span(8, 1, None, "x")]),
        )
        .await;
    assert_eq!(console.get("/metrics").await.status, 200);
}

#[tokio::test]
async fn cycles_and_copies_end() {
    let console = Running::start();
    let spans = vec![
        span(9, 1, Some(2), "a"),
        span(9, 2, Some(1), "b"),
        span(9, 3, Some(3), "c"),
        span(9, 4, None, "d"),
        span(9, 4, None, "d again"),
    ];
    console.take("/v1/traces", &traces("shop", spans)).await;
    let trace = console.json("/api/console/traces/9").await;
    assert_eq!(
        (&trace["complete"], trace["rows"].as_array().map(Vec::len)),
        (&json!(false), Some(4))
    );
    let names: Vec<&str> = trace["rows"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|row| row["name"].as_str())
        .collect();
    assert!(
        names.contains(&"d again") && !names.contains(&"d"),
        "a batch that is sent again replaces the first copy: {names:?}"
    );
    let _: Value = console
        .json("/api/dependencies?endTs=1767225700000&lookback=86400000")
        .await;
}

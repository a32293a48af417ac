//! Loki's query API under queries that would cost too much.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::{Reply, Running};
use crate::loki::{ask, second};
use crate::payload::{START, log, logs};

const MINUTE: u64 = 60;

/// So many records of a service, each with an attribute of its own value and of a trace of its own (those without a trace get
/// little room).
async fn many(count: usize, attribute: impl Fn(usize) -> Value) -> Running {
    // Enough for the largest answer.
    many_in(256 << 20, count, attribute).await
}

async fn many_in(memory: u64, count: usize, attribute: impl Fn(usize) -> Value) -> Running {
    let console = Running::with_memory(memory);
    let record = |number: usize| {
        let mut record = log(9, "line", Some((number as u128 + 1, 1)));
        record["timeUnixNano"] = (START + number as u64).to_string().into();
        record["attributes"] = json!([{"key": "n", "value": attribute(number)}]);
        record
    };
    let records: Vec<Value> = (0..count).map(record).collect();
    for some in records.chunks(250) {
        console.take("/v1/logs", &logs("shop", some.to_vec())).await;
    }
    console
}

/// The status and text of a range query over the first minute.
async fn range(console: &Running, query: &str, more: (&str, &str)) -> (u16, String) {
    let (start, end) = (second(0), second(MINUTE));
    let parameters = [("query", query), ("start", &start), ("end", &end), more];
    let reply = ask(console, "query_range", &parameters).await;
    (reply.status.as_u16(), reply.text())
}

#[tokio::test]
async fn no_more_lines_come_than_asked_for() {
    let console = many(6_000, |number| json!({"intValue": number.to_string()})).await;
    let (start, end) = (second(0), second(MINUTE));
    let query = ("query", r#"{service_name="shop"} | drop n, trace_id"#);
    for (limit, count) in [("", 100), ("7", 7), ("5000", 5_000)] {
        let parameters = [query, ("start", &start), ("end", &end), ("limit", limit)];
        let answer = ask(&console, "query_range", &parameters).await.json();
        let values = answer["data"]["result"][0]["values"]
            .as_array()
            .expect("values");
        assert_eq!(values.len(), count);
        assert_eq!(
            values[0][0],
            (START + 5_999).to_string(),
            "the newest first"
        );
    }
}

#[tokio::test]
async fn series_are_bounded() {
    let console = many(501, |number| json!({"intValue": number.to_string()})).await;
    let by_line = r#"count_over_time({service_name="shop"}[1m])"#;
    let (status, why) = range(&console, by_line, ("step", "30")).await;
    assert_eq!(status, 400);
    assert!(
        why.contains("500 series") && why.contains("sum by"),
        "{why}"
    );
    let (status, why) = range(&console, &format!("sum({by_line})"), ("step", "30")).await;
    assert_eq!(status, 200, "{why}");
}

#[tokio::test]
async fn points_are_bounded() {
    let console = many(400, |number| json!({"intValue": number.to_string()})).await;
    let (status, why) = range(&console, "sum(rate({a=\"b\"}[1m]))", ("step", "0.001")).await;
    assert_eq!(status, 400);
    assert!(why.contains("11000 points"), "{why}");
    // Few enough of a series and few enough series, but too many together.
    let query = r#"count_over_time({service_name="shop"}[10m])"#;
    let (status, why) = range(&console, query, ("step", "0.01")).await;
    assert_eq!(status, 400);
    assert!(why.contains("the answer would be larger"), "{why}");
}

#[tokio::test]
async fn answers_are_bounded() {
    let text = |number: usize| json!({"stringValue": format!("{number}{}", "x".repeat(8_000))});
    let console = many(3_000, text).await;
    let query = r#"{service_name="shop"}"#;
    let (status, why) = range(&console, query, ("limit", "5000")).await;
    assert_eq!(status, 400);
    assert!(why.contains("the answer would be larger"), "{why}");
    let (status, _) = range(&console, query, ("limit", "1000")).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn ranges_of_all_time_are_answered() {
    let console = many(3, |number| json!({"intValue": number.to_string()})).await;
    let (end, last) = (u64::MAX.to_string(), "4000000000");
    let sum = r#"sum(count_over_time({service_name="shop"}[500y]))"#;
    let instant = ask(&console, "query", &[("query", sum), ("time", last)])
        .await
        .json();
    assert_eq!(instant["data"]["result"][0]["value"][1], "3", "{instant}");
    for query in [sum, r#"{service_name="shop"}"#] {
        let parameters = [
            ("query", query),
            ("start", "0"),
            ("end", &end),
            ("step", "10y"),
        ];
        let reply = ask(&console, "query_range", &parameters).await;
        assert_eq!(reply.status, 200, "{query}: {}", reply.text());
    }
}

/// More questions than are evaluated at once wait for their turn.
#[tokio::test]
async fn many_questions_at_once_are_all_answered() {
    let console = many(1_000, |number| json!({"intValue": number.to_string()})).await;
    let asked = (0..40).map(|_| {
        range(
            &console,
            r#"{service_name="shop"} |~ "l.*e""#,
            ("limit", "10"),
        )
    });
    for (status, text) in futures_util::future::join_all(asked).await {
        assert_eq!(status, 200, "{text}");
    }
}

#[tokio::test]
async fn what_is_gathered_is_charged_to_the_memory() {
    let console = many_in(
        8 << 20,
        100,
        |number| json!({"intValue": number.to_string()}),
    )
    .await;
    let query = r#"count_over_time({service_name="shop"}[10m])"#;
    let (status, why) = range(&console, query, ("step", "0.006")).await;
    assert_eq!(status, 503);
    assert!(why.contains("no room") && why.contains("--memory"), "{why}");
    let (status, why) = range(&console, query, ("step", "30")).await;
    assert_eq!(status, 200, "{why}");
    let stats = console.json("/api/stats").await;
    assert_eq!(stats["under_way_bytes"], 0, "{stats}");
}

#[tokio::test]
async fn a_form_is_bounded_and_charged() {
    let console = Running::with_memory(8 << 20);
    let path = "/loki/api/v1/labels";
    let form = |size: usize| {
        let body = format!("start=1&x={}", "x".repeat(size)).into_bytes();
        console.post(path, "application/x-www-form-urlencoded", body)
    };
    let reply = Reply::to(form(300 << 10)).await;
    assert_eq!(reply.status, 413, "{}", reply.text());
    // Each of these stops before its end. One more as long as there is still room: what a refused one leaves may be enough.
    let mut waiting = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(8);
    loop {
        let reply = Reply::to(form(63 << 10)).await;
        if reply.status == 503 {
            assert_eq!(reply.header("retry-after"), "1");
            break;
        }
        assert!(Instant::now() < deadline, "there is room for all of them");
        let mut stream = TcpStream::connect(console.address)
            .await
            .expect("a connection");
        let head =
            format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 64000\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("a head");
        // The console refuses the last ones while they send.
        let _ = stream.write_all(&vec![b'x'; 63_000]).await;
        waiting.push(stream);
    }
    assert!(waiting.len() >= 64, "{} take no 4 MiB", waiting.len());
    let spaces = " ".repeat((4 << 20) - 2) + "{}";
    let sent = console.post("/v1/traces", "application/json", spaces.into_bytes());
    assert_eq!(Reply::to(sent).await.status, 200, "senders find room");
}

#[tokio::test]
async fn parameters_and_selectors_are_counted() {
    let console = Running::start();
    let post = async |body: String| {
        let kind = "application/x-www-form-urlencoded";
        let post = console.post("/loki/api/v1/series", kind, body.into_bytes());
        let reply = Reply::to(post).await;
        (reply.status.as_u16(), reply.text())
    };
    let selector = "match[]=%7Ba=~%60%5Cw%7B3%7D%60%7D&";
    let (status, text) = post(selector.repeat(16)).await;
    assert_eq!(status, 200, "{text}");
    for (body, named) in [
        (selector.repeat(17), "17 selectors"),
        (selector.repeat(129), "129 parameters"),
        ("a&".repeat(30_000), "30000 parameters"),
        (
            selector.replace("%7B3%7D", "%7B999%7D%7B99%7D"),
            "regular expression",
        ),
    ] {
        let (status, text) = post(body).await;
        assert_eq!(
            (status, text.contains(named)),
            (400, true),
            "{named}: {text}"
        );
    }
}

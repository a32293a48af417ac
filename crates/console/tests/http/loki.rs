//! Loki's query API: what herald, `omnitrace doctor`, the dashboards and Grafana's Explore ask.

use reqwest::Url;
use serde_json::{Value, json};

use crate::harness::{Reply, Running};
use crate::payload::{MS, START, log, logs, span_id, trace_id};

const SECOND: u64 = 1_000 * MS;

/// Log records of a gateway and a data service, a second apart.
pub async fn shop() -> Running {
    let console = Running::start();
    let at = |seconds: u64, number: u8, body: &str| {
        let mut record = log(number, body, Some((0xa, 3)));
        record["timeUnixNano"] = (START + seconds * SECOND).to_string().into();
        record
    };
    let mut refused = at(2, 17, "card refused");
    refused["severityText"] = "ERROR".into();
    refused["attributes"] = json!([
        {"key": "order.id", "value": {"intValue": "42"}},
        {"key": "took", "value": {"stringValue": "250ms"}},
        {"key": "card", "value": {"kvlistValue": {"values": [{"key": "kind", "value": {"stringValue": "visa"}}]}}},
    ]);
    let gateway = json!({"resourceLogs": [{
        "resource": {"attributes": [
            {"key": "service.name", "value": {"stringValue": "gateway"}},
            {"key": "service.instance.id", "value": {"stringValue": "gateway-1"}},
            {"key": "deployment.environment.name", "value": {"stringValue": "test"}},
        ]},
        "scopeLogs": [{
            "scope": {"name": "gateway::orders", "version": "1.2"},
            "logRecords": [at(1, 9, "order taken"), refused, at(3, 9, r#"{"status": 500, "request": {"path": "/x"}, "list": [1]}"#)],
        }],
    }]});
    console.take("/otlp/v1/logs", &gateway).await;
    console
        .take("/v1/logs", &logs("data", vec![log(13, "slow", None)]))
        .await;
    console
}

/// Asks as a client of Loki does.
pub async fn ask(console: &Running, path: &str, parameters: &[(&str, &str)]) -> Reply {
    let url = Url::parse_with_params(&format!("{}/loki/api/v1/{path}", console.url), parameters);
    Reply::to(console.client.get(url.expect("a URL"))).await
}

/// Seconds after the first record, as nanoseconds.
pub fn second(seconds: u64) -> String {
    (START + seconds * SECOND).to_string()
}

/// The data of a range query over the first minute.
async fn range(console: &Running, query: &str, more: &[(&str, &str)]) -> Value {
    let (start, end) = (second(0), second(60));
    let mut parameters = vec![("query", query), ("start", &start), ("end", &end)];
    parameters.extend(more);
    let reply = ask(console, "query_range", &parameters).await;
    assert_eq!(reply.status, 200, "{query}: {}", reply.text());
    let answer = reply.json();
    assert_eq!(answer["status"], "success", "{query}");
    answer["data"].clone()
}

/// Texts of the lines that a query finds, in the order of their streams.
async fn lines(console: &Running, query: &str) -> Vec<String> {
    let data = range(console, query, &[("direction", "forward")]).await;
    assert_eq!(data["resultType"], "streams", "{query}");
    let streams = data["result"].as_array().expect("streams").clone();
    let mut lines: Vec<(String, String)> = streams
        .iter()
        .flat_map(|stream| stream["values"].as_array().expect("values").clone())
        .map(|value| (text(&value[0]), text(&value[1])))
        .collect();
    lines.sort();
    lines.into_iter().map(|(_, line)| line).collect()
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

/// Why a range query is refused.
pub async fn refusal(console: &Running, query: &str) -> String {
    let reply = ask(console, "query_range", &[("query", query)]).await;
    assert_eq!(reply.status, 400, "{query}: {}", reply.text());
    assert_eq!(reply.header("content-type"), "text/plain; charset=utf-8");
    reply.text()
}

#[tokio::test]
async fn a_stream_carries_its_labels_and_the_metadata_of_its_lines() {
    let console = shop().await;
    let data = range(&console, "{service_name=\"gateway\"} |= \"refused\"", &[]).await;
    assert_eq!(
        data["result"],
        json!([{
            "stream": {
                "service_name": "gateway",
                "deployment_environment_name": "test",
                "service_instance_id": "gateway-1",
                "scope_name": "gateway::orders",
                "scope_version": "1.2",
                "severity_number": "17",
                "severity_text": "ERROR",
                "detected_level": "error",
                "trace_id": trace_id(0xa),
                "span_id": span_id(3),
                "order_id": "42",
                "took": "250ms",
                "card_kind": "visa",
            },
            "values": [[second(2), "card refused"]],
        }])
    );
    let summary = &data["stats"]["summary"];
    assert_eq!(
        (
            &summary["totalLinesProcessed"],
            &summary["totalEntriesReturned"]
        ),
        (&json!(4), &json!(1)),
        "{data}"
    );
}

#[tokio::test]
async fn selectors_and_filters_select() {
    let console = shop().await;
    let json_line = r#"{"status": 500, "request": {"path": "/x"}, "list": [1]}"#;
    let (taken, refused, slow) = ("order taken", "card refused", "slow");
    let trace = format!("{{service_name=~\".+\"}} | trace_id=\"{}\"", trace_id(0xa));
    for (query, wanted) in [
        (
            r#"{service_name="gateway"}"#,
            vec![taken, refused, json_line],
        ),
        (
            r#"{service_name=~".+", service_name!="gateway"}"#,
            vec![slow],
        ),
        (r#"{service_name=~"gate"}"#, vec![]),
        (
            r#"{service_name=~"gate.*|x"} != "status""#,
            vec![taken, refused],
        ),
        (r#"{service_name=~".+", service_name!~"g.*"}"#, vec![slow]),
        (
            r#"{deployment_environment_name="test"} |= `{`"#,
            vec![json_line],
        ),
        // Not a label of the stream.
        (
            r#"{service_name=~".+", service_instance_id="gateway-1"}"#,
            vec![],
        ),
        (
            r#"{service_name=~".+"} | service_instance_id="gateway-1" |~ "^(?i)ORDER""#,
            vec![taken],
        ),
        (
            r#"{service_name="gateway"} |~ "r" !~ "tak" |= "card""#,
            vec![refused],
        ),
        (&trace, vec![taken, refused, json_line]),
        (
            r#"{service_name=~".+", service_name!="herald"} | severity_text="ERROR""#,
            vec![refused],
        ),
        (
            r#"{service_name=~".+"} | detected_level=~"warn|error""#,
            vec![slow, refused],
        ),
        (r#"{service_name=~".+"} | order_id=42"#, vec![refused]),
        (r#"{service_name=~".+"} | order_id>42"#, vec![]),
        (
            r#"{service_name=~".+"} | took>=0.25s | took<1m"#,
            vec![refused],
        ),
        (r#"{service_name=~".+"} | order_id!="""#, vec![refused]),
        (
            r#"{service_name=~".+"} | (order_id=42 or detected_level="warn") and scope_name="""#,
            vec![slow],
        ),
        (
            r#"{service_name=~".+"} | detected_level="warn" or order_id=42 and scope_name="""#,
            vec![slow],
        ),
        (
            r#"{service_name="gateway"} | json | status>=500, request_path="/x""#,
            vec![json_line],
        ),
        (
            r#"{service_name="gateway"} | json | __error__="""#,
            vec![json_line],
        ),
        // Lines with an error are left out by filters of text only.
        (
            r#"{service_name="gateway"} | json | status>=500"#,
            vec![taken, refused, json_line],
        ),
        (
            r#"{service_name="gateway"} | json | status>=500 | __error__="""#,
            vec![json_line],
        ),
        (
            r#"{service_name="gateway"} | json | __error__="JSONParserErr""#,
            vec![taken, refused],
        ),
    ] {
        assert_eq!(lines(&console, query).await, wanted, "{query}");
    }
}

#[tokio::test]
async fn json_adds_labels_and_drop_takes_them_away() {
    let console = shop().await;
    let stream =
        async |query: &str| range(&console, query, &[]).await["result"][0]["stream"].clone();
    let found = stream(r#"{service_name="gateway"} | json | status="500""#).await;
    assert_eq!(
        (&found["status"], &found["request_path"], &found["list"]),
        (&json!("500"), &json!("/x"), &Value::Null)
    );
    let dropped =
        stream(r#"{service_name="gateway"} | json | status="500" | drop status, trace_id"#).await;
    assert_eq!(
        (
            &dropped["status"],
            &dropped["trace_id"],
            &dropped["request_path"]
        ),
        (&Value::Null, &Value::Null, &json!("/x"))
    );
    let body = r#"{"service_name": "other", "9.b": true}"#;
    console
        .take("/v1/logs", &logs("taken", vec![log(9, body, None)]))
        .await;
    let found = stream(r#"{service_name="taken"} | json"#).await;
    assert_eq!(
        (
            &found["service_name"],
            &found["service_name_extracted"],
            &found["_9_b"]
        ),
        (&json!("taken"), &json!("other"), &json!("true"))
    );
}

#[tokio::test]
async fn direction_and_limit_choose_the_lines() {
    let console = shop().await;
    let times = async |more: &[(&str, &str)]| -> Vec<String> {
        let query = r#"{service_name="gateway"} | drop severity_text, severity_number, detected_level, order_id, took, card_kind"#;
        let data = range(&console, query, more).await;
        assert_eq!(data["result"].as_array().map(Vec::len), Some(1), "{data}");
        let values = data["result"][0]["values"]
            .as_array()
            .expect("values")
            .clone();
        values.iter().map(|value| text(&value[0])).collect()
    };
    assert_eq!(times(&[]).await, [second(3), second(2), second(1)]);
    assert_eq!(times(&[("limit", "2")]).await, [second(3), second(2)]);
    let forward = ("direction", "FORWARD");
    assert_eq!(times(&[forward]).await, [second(1), second(2), second(3)]);
    assert_eq!(times(&[forward, ("limit", "1")]).await, [second(1)]);
    // The start belongs to the range, the end does not.
    let (start, end) = (second(1), second(3));
    let narrow = [("start", start.as_str()), ("end", end.as_str())];
    let query = ("query", r#"{service_name="gateway"}"#);
    let found = ask(&console, "query_range", &[query, narrow[0], narrow[1]])
        .await
        .json();
    let streams = found["data"]["result"].as_array().expect("streams").len();
    assert_eq!(streams, 2, "{found}");
}

#[tokio::test]
async fn lines_are_counted_over_time() {
    let console = shop().await;
    let (start, end) = (second(0), second(4));
    let matrix = async |query: &str| {
        let parameters = [
            ("query", query),
            ("start", &start),
            ("end", &end),
            ("step", "1"),
        ];
        let answer = ask(&console, "query_range", &parameters).await.json();
        assert_eq!(answer["data"]["resultType"], "matrix", "{query}: {answer}");
        answer["data"]["result"].clone()
    };
    let from = START / SECOND;
    // A line counts from its own time until just before a range later.
    assert_eq!(
        matrix(r#"sum by (service_name) (count_over_time({service_name=~".+"}[2s]))"#).await,
        json!([
            {"metric": {"service_name": "data"}, "values": [[from, "1"], [from + 1, "1"]]},
            {"metric": {"service_name": "gateway"}, "values": [[from + 1, "1"], [from + 2, "2"], [from + 3, "2"], [from + 4, "1"]]},
        ])
    );
    assert_eq!(
        matrix(r#"sum(rate({service_name="gateway"}[2s] |= "card"))"#).await,
        json!([{"metric": {}, "values": [[from + 2, "0.5"], [from + 3, "0.5"]]}])
    );
    assert_eq!(
        matrix(r#"sum by (service_name) (bytes_rate({service_name="data"}[2s]))"#).await,
        json!([{"metric": {"service_name": "data"}, "values": [[from, "2"], [from + 1, "2"]]}])
    );
    let single = matrix(r#"count_over_time({service_name="data"}[1s])"#).await;
    assert_eq!(single[0]["metric"]["detected_level"], "warn", "{single}");
    assert_eq!(
        matrix(r#"sum(rate({service_name="nobody"}[2s]))"#).await,
        json!([])
    );
    // Grafana's histogram over the lines.
    let levels = matrix(r#"sum by (level, detected_level) (count_over_time({service_name="gateway"} | drop __error__[1m]))"#).await;
    assert_eq!(
        levels[0]["metric"],
        json!({"detected_level": "error"}),
        "{levels}"
    );
    let failed = matrix_refusal(
        &console,
        r#"sum(count_over_time({service_name="gateway"} | json [1m]))"#,
    )
    .await;
    assert!(failed.contains("JSONParserErr"), "{failed}");
    assert_eq!(
        matrix(r#"sum(count_over_time({service_name="gateway"} | json | __error__="" [1s]))"#)
            .await,
        json!([{"metric": {}, "values": [[from + 3, "1"]]}])
    );
}

async fn matrix_refusal(console: &Running, query: &str) -> String {
    let (start, end) = (second(0), second(4));
    let parameters = [("query", query), ("start", &start), ("end", &end)];
    let reply = ask(console, "query_range", &parameters).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    reply.text()
}

#[tokio::test]
async fn an_instant_query_answers_a_vector() {
    let console = shop().await;
    let time = (START / SECOND + 3).to_string();
    let query = r#"sum(count_over_time({service_name="gateway"}[1h]))"#;
    let answer = ask(&console, "query", &[("query", query), ("time", &time)])
        .await
        .json();
    assert_eq!(answer["data"]["resultType"], "vector");
    assert_eq!(
        answer["data"]["result"],
        json!([{"metric": {}, "value": [START / SECOND + 3, "3"]}])
    );
    let lines = ask(
        &console,
        "query",
        &[("query", r#"{service_name="gateway"}"#)],
    )
    .await;
    assert_eq!(lines.status, 400);
    assert!(
        lines.text().contains("not supported as an instant query"),
        "{}",
        lines.text()
    );
}

/// What Grafana's "Save & test" sends.
#[tokio::test]
async fn grafanas_health_check_is_answered() {
    let console = Running::start();
    let time = "1767225600.5";
    let query = ("query", "vector(1)+vector(1)");
    let answer = ask(&console, "query", &[query, ("time", time)])
        .await
        .json();
    assert_eq!(answer["status"], "success");
    assert_eq!(answer["data"]["resultType"], "vector");
    assert_eq!(
        answer["data"]["result"],
        json!([{"metric": {}, "value": [1767225600.5, "2"]}])
    );
}

#[tokio::test]
async fn an_error_of_the_sender_is_an_error() {
    let console = Running::start();
    let mut failed = log(9, "failed", None);
    failed["attributes"] = json!([{"key": "__error__", "value": {"stringValue": "SenderErr"}}]);
    let records = vec![failed, log(9, "fine", None)];
    console.take("/v1/logs", &logs("shop", records)).await;
    let shop = r#"{service_name="shop"}"#;
    for (stages, expected) in [
        ("| missing > 5", vec!["failed"]),
        ("| drop __error__ | missing > 5", vec![]),
        (r#"| missing > 5 | __error__="""#, vec![]),
        (r#"| __error__="SenderErr""#, vec!["failed"]),
    ] {
        assert_eq!(
            lines(&console, &format!("{shop} {stages}")).await,
            expected,
            "{stages}"
        );
    }
}

#[tokio::test]
async fn a_pattern_of_a_label_spans_line_breaks() {
    let console = Running::start();
    let records = logs("two\nlines", vec![log(9, "seen", None)]);
    console.take("/v1/logs", &records).await;
    assert_eq!(lines(&console, r#"{service_name=~".+"}"#).await, ["seen"]);
}

#[tokio::test]
async fn classes_of_letters_are_those_of_loki() {
    let console = Running::start();
    let texts = ["abcdefgh9", "äbcdefgh9", "a b"];
    let records = texts.map(|text| log(9, text, None));
    console
        .take("/v1/logs", &logs("shop", records.to_vec()))
        .await;
    let shop = r#"{service_name="shop"}"#;
    for (regex, expected) in [
        (r"^\w{9}$", vec!["abcdefgh9"]),
        (r"^\w{0,1000}$", vec!["abcdefgh9"]),
        (r"^[^\W\d]+\d$", vec!["abcdefgh9"]),
        (r"\W", vec!["a b", "äbcdefgh9"]),
        (r"[\s]", vec!["a b"]),
        (r"\\w", vec![]),
    ] {
        let mut found = lines(&console, &format!("{shop} |~ `{regex}`")).await;
        found.sort();
        assert_eq!(found, expected, "{regex}");
    }
    for bomb in [
        r"(\w{1000}){1000}",
        r"((a{100}){100}){100}",
        r"(?:.{1000}){99}",
    ] {
        let why = refusal(&console, &format!("{shop} |~ `{bomb}`")).await;
        assert!(why.contains("regular expression"), "{why}");
    }
}

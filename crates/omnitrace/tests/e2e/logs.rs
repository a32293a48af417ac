//! Log records: the same on stdout and over OTLP, with the ids that lead to the trace.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::{LogRecord, Receiver, Stack, eventually, tree};
use crate::traces::DATA;

const SERVICES: [&str; 3] = ["gateway", "data", "downstream"];

/// The keys of a line that are not fields of the event.
const FIXED: [&str; 6] = [
    "timestamp",
    "level",
    "target",
    "message",
    "trace_id",
    "span_id",
];

fn is_hex(value: &Value, digits: usize) -> bool {
    value.as_str().is_some_and(|text| {
        text.len() == digits
            && text
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// A line as the record that must have been exported: level, message, ids, fields.
type Comparable = (String, String, String, String, BTreeMap<String, String>);

fn of_line(line: &Value) -> Comparable {
    let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
    let fields = line.as_object().expect("an object").iter();
    let fields = fields.filter(|(key, _)| !FIXED.contains(&key.as_str()));
    (
        text("level"),
        text("message"),
        text("trace_id"),
        text("span_id"),
        fields
            .map(|(key, value)| (key.clone(), value.to_string()))
            .collect(),
    )
}

fn of_record(record: &LogRecord) -> Comparable {
    let fields = record.attributes.iter();
    (
        record.severity.clone(),
        record.body.clone(),
        record.trace_id.clone(),
        record.span_id.clone(),
        fields
            .map(|(key, value)| (key.clone(), value.to_string()))
            .collect(),
    )
}

/// The log of a service that has ended, each line checked.
#[track_caller]
fn lines(service: &str, output: &[String]) -> Vec<Value> {
    let parse = |text: &String| {
        let line: Value = serde_json::from_str(text)
            .unwrap_or_else(|error| panic!("{service}: {error}: {text:?}"));
        let timestamp = line["timestamp"].as_str().unwrap_or_default();
        assert!(
            chrono::DateTime::parse_from_rfc3339(timestamp).is_ok(),
            "{line}"
        );
        assert!(
            ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"]
                .contains(&line["level"].as_str().unwrap_or_default()),
            "{line}"
        );
        assert!(
            line["target"].is_string() && line["message"].is_string(),
            "{line}"
        );
        assert_eq!(
            line.get("trace_id").is_some(),
            line.get("span_id").is_some(),
            "{line}"
        );
        if line.get("trace_id").is_some() {
            assert!(
                is_hex(&line["trace_id"], 32) && is_hex(&line["span_id"], 16),
                "{line}"
            );
        }
        line
    };
    output.iter().map(parse).collect()
}

#[tokio::test]
async fn stdout_and_otlp_say_the_same_once() {
    let mut stack = Stack::builder().env_all("RUST_LOG", "debug").start().await;
    let sku = stack.sku().await;
    let ordered = stack.order(&sku, 1).await.expect(201).trace_id();
    stack
        .fault_set("downstream", "errors", json!({}))
        .await
        .expect(200);
    let failed = stack.order(&sku, 1).await.expect(503).trace_id();
    stack.order(&sku, 0).await.expect(422);

    let mut all = BTreeMap::new();
    for service in SERVICES {
        assert_eq!(
            stack.kill(service, crate::harness::Signal::SIGTERM).await,
            0,
            "{service}"
        );
        all.insert(service, lines(service, &stack.stdout(service)));
    }
    for service in SERVICES {
        let mut printed: Vec<Comparable> = all[service]
            .iter()
            // The export path does not report about itself over the export path.
            .filter(|line| !is_export_path(line))
            .map(of_line)
            .collect();
        let mut received: Vec<Comparable> = stack
            .receiver
            .logs()
            .iter()
            .filter(|record| record.service == service)
            .map(of_record)
            .collect();
        printed.sort();
        received.sort();
        assert!(printed.len() >= 4, "{service}: {printed:#?}");
        assert_eq!(printed, received, "{service}");
    }
    for service in SERVICES {
        let of = |trace: &str| {
            all[service]
                .iter()
                .filter(|line| line["trace_id"] == trace)
                .collect::<Vec<_>>()
        };
        assert!(
            !of(&ordered).is_empty(),
            "{service} says nothing about the order"
        );
        is_logged_once(service, &of(&failed));
    }
    spans_exist(&stack.receiver);
}

fn is_export_path(line: &Value) -> bool {
    let target = line["target"].as_str().unwrap_or_default();
    ["hyper", "reqwest", "rustls", "h2", "opentelemetry"]
        .iter()
        .any(|prefix| target.starts_with(prefix))
}

/// One error a request, where it became a response, and it says where in the code.
fn is_logged_once(service: &str, lines: &[&Value]) {
    let errors: Vec<&&Value> = lines
        .iter()
        .filter(|line| line["level"] == "ERROR")
        .collect();
    assert_eq!(errors.len(), 1, "{service}: {errors:#?}");
    for line in errors {
        let file = line["code.file.path"].as_str().unwrap_or_default();
        assert!(
            file.ends_with(".rs") && line["code.line.number"].as_u64() > Some(0),
            "{line}"
        );
    }
}

/// Every id in the log leads to a span that was exported.
fn spans_exist(receiver: &Receiver) {
    let spans = receiver.spans();
    for record in receiver
        .logs()
        .iter()
        .filter(|record| !record.trace_id.is_empty())
    {
        let leads = |span: &crate::harness::Span| {
            span.span_id == record.span_id && span.trace_id == record.trace_id
        };
        assert!(spans.iter().any(leads), "leads nowhere: {record:#?}");
    }
    assert!(
        receiver
            .logs()
            .iter()
            .all(|record| record.resource["service.instance.id"].is_string())
    );
}

#[tokio::test]
async fn the_level_changes_live_and_never_touches_spans() {
    // Errors only, but for the line that says where the service listens.
    let stack = Stack::builder()
        .env_all("RUST_LOG", "error,service::run=info")
        .start()
        .await;
    let trace = stack.get_data().await.expect(200).trace_id();
    assert_eq!(
        tree(&stack.trace_over(&trace, &SERVICES).await),
        DATA,
        "a quiet log keeps the trace whole"
    );
    let said: Vec<Value> = stack.log_lines("downstream");
    assert!(
        said.iter().all(|line| line["message"] == "listening"),
        "{said:?}"
    );

    let level = |directives: &'static str| {
        let request = stack
            .client
            .put(stack.admin_url("downstream") + "/log-level");
        stack.send(request.body(directives))
    };
    level("info").await.expect(200);
    let shown = stack.admin("downstream", "/log-level").await.expect(200);
    let mut directives: Vec<&str> = shown.body.split(',').collect();
    directives.sort_unstable();
    assert_eq!(
        directives,
        [
            "actix_http::=off",
            "actix_server::=warn",
            "info",
            "sqlx::=off",
            "sqlx_core::=off",
            "sqlx_postgres::=off"
        ]
    );
    let trace = stack.get_data().await.expect(200).trace_id();
    let quoted = eventually("downstream logs again", async || {
        stack
            .log_lines("downstream")
            .into_iter()
            .find(|line| line["trace_id"] == trace.as_str())
    })
    .await;
    assert_eq!(quoted["message"], "price quoted");

    let refused = level("downstream=loud").await.expect(422);
    assert!(
        refused.body.contains("expected one of"),
        "says what is wrong: {refused:?}"
    );
    level("off").await.expect(200);
    let before = stack.log_lines("downstream").len();
    let trace = stack.get_data().await.expect(200).trace_id();
    assert_eq!(tree(&stack.trace_over(&trace, &SERVICES).await), DATA);
    assert_eq!(stack.log_lines("downstream").len(), before);
    stack.stop().await;
}

#[tokio::test]
async fn a_flood_is_cut_and_what_was_held_back_is_reported() {
    let stack = Stack::builder().only(&["downstream"]).start().await;
    let suppressed = ("log_records_suppressed_total", [("level", "WARN")]);
    assert_eq!(
        stack
            .scrape("downstream")
            .await
            .value(suppressed.0, &suppressed.1),
        Some(0.0)
    );

    stack
        .fault_set("downstream", "log_storm", json!({"lines_per_s": 10_000}))
        .await
        .expect(200);
    stack
        .wait_for_metric("downstream", suppressed.0, &suppressed.1, |value| {
            value > 0.0
        })
        .await;
    // Slowly, so that every line passes: the first tells what was held back before it.
    stack
        .fault_set("downstream", "log_storm", json!({"lines_per_s": 20}))
        .await
        .expect(200);

    eventually(
        "the log and the metric agree on what was held back",
        async || {
            let held_back = stack
                .scrape("downstream")
                .await
                .value(suppressed.0, &suppressed.1);
            let lines = stack.log_lines("downstream");
            let reported: u64 = lines
                .iter()
                .filter_map(|line| line["suppressed"].as_u64())
                .sum();
            (held_back == Some(reported as f64)).then_some(())
        },
    )
    .await;
    let receiver = stack.stop().await;
    assert!(
        receiver
            .logs()
            .iter()
            .any(|record| record.attributes.contains_key("suppressed"))
    );
}

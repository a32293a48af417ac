//! The example of `docs/ADOPT.md`, "Calls" and "Queries", runs, and its telemetry is what the guide promises.

use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use crate::harness::{
    Capture, Child, Receiver, Reply, Scrape, Status, database, http, openmetrics, tree,
};

const SOURCE: &str = include_str!("../../../telemetry/examples/adopt.rs");

const TREE: &str = "\
shop Server GET /hello
  shop Internal acquire connection
  shop Client SELECT pg_tables
  shop Client GET /peer";

/// target/debug/deps/e2e-0123 -> target/debug/examples/adopt
pub fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("path of this test");
    let built = test
        .ancestors()
        .nth(2)
        .expect("target directory")
        .join("examples")
        .join(name);
    assert!(
        built.is_file(),
        "no {}: run `cargo test` for the whole workspace, or `cargo build -p telemetry --examples --features actix,axum,reqwest,sqlx`",
        built.display()
    );
    built
}

#[test]
fn the_example_is_short() {
    let lines = SOURCE
        .lines()
        .filter(|line| !line.trim().is_empty())
        .count();
    assert!(
        lines < 60,
        "{lines} lines that are not blank; the guide promises fewer than 60"
    );
}

#[tokio::test]
async fn the_example_gives_a_trace_a_log_line_and_metrics() {
    let (receiver, peer, database) = (
        Receiver::start(),
        Capture::answering(&json!("hi")),
        database().await,
    );
    let mut command = Command::new(example("adopt"));
    command
        .env_clear()
        .env("DATABASE_URL", &database.url)
        .env("PEER_URL", peer.url())
        .env("LISTEN", "127.0.0.1:0")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url());
    let mut shop = Child::spawn("adopt", command);
    let address = shop.listening().await.http_addr;
    let get = async |path: &str, accept: &str| {
        let request = http()
            .get(format!("http://{address}{path}"))
            .header("accept", accept);
        Reply::read(request.send().await.expect("an answer")).await
    };

    let hello = get("/hello", "*/*").await.expect(200);
    let exposition = get("/metrics", "application/openmetrics-text")
        .await
        .expect(200);
    assert!(shop.terminate().await.success(), "{}", shop.output());

    let trace_id = hello.trace_id();
    let spans = receiver.trace(&trace_id);
    assert_eq!(tree(&spans), TREE);
    assert_eq!(receiver.spans().len(), spans.len(), "a scrape is no trace");
    assert!(
        spans.iter().all(|span| span.status == Status::Unset),
        "{spans:#?}"
    );
    assert!(
        spans
            .iter()
            .all(|span| span.resource["service.version"] == "1.0.0")
    );
    let sent = peer.take_one().header("traceparent");
    assert_eq!(
        sent,
        Some(format!("00-{trace_id}-{}-01", spans[3].span_id)),
        "the peer can go on with the trace"
    );

    let lines = shop.json_lines();
    let line = lines
        .iter()
        .find(|line| line["message"] == "said hello")
        .expect("its log line");
    assert_eq!(
        (&line["trace_id"], &line["span_id"]),
        (&json!(trace_id), &json!(spans[0].span_id))
    );
    assert!(line["tables"].as_u64() > Some(0), "{line}");
    let record = receiver
        .wait_for_log("the same over OTLP", |record| record.body == "said hello")
        .await;
    assert_eq!(
        (record.trace_id, record.span_id),
        (trace_id.clone(), spans[0].span_id.clone())
    );

    let scrape = Scrape::parse(exposition.header("content-type"), exposition.body.clone());
    let ok = ("outcome", "ok");
    for (metric, labels) in [
        (
            "http_server_request_duration_seconds_count",
            [("http_route", "/hello"), ok],
        ),
        (
            "http_client_request_duration_seconds_count",
            [("url_template", "/peer"), ok],
        ),
        (
            "db_client_operation_duration_seconds_count",
            [("db_collection_name", "pg_tables"), ok],
        ),
    ] {
        assert_eq!(scrape.value(metric, &labels), Some(1.0), "{metric}");
    }
    let family = openmetrics(&exposition.body)
        .into_iter()
        .find(|family| family.name == "shop_shown_tables")
        .expect("the metric that the example declares");
    assert_eq!(family.kind, "histogram");
    assert_eq!(family.help, "How many tables each visitor was told of.");
    let buckets: Vec<(&str, f64)> = family
        .samples
        .iter()
        .filter_map(|sample| Some((sample.labels.get("le")?.as_str(), sample.value)))
        .collect();
    assert_eq!(buckets, [("10", 0.0), ("1000", 1.0), ("+Inf", 1.0)]);
    let exemplar = format!("trace_id=\"{trace_id}\",span_id=\"{}\"", spans[0].span_id);
    assert!(
        exposition.body.contains(&exemplar),
        "a bucket leads to the trace"
    );
}

#[tokio::test]
async fn a_request_that_fails_logs_its_cause_once() {
    let (receiver, database) = (Receiver::start(), database().await);
    let mut command = Command::new(example("adopt"));
    command
        .env_clear()
        .env("DATABASE_URL", &database.url)
        // Nothing listens there.
        .env("PEER_URL", "http://127.0.0.1:9")
        .env("LISTEN", "127.0.0.1:0")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url());
    let mut shop = Child::spawn("adopt", command);
    let address = shop.listening().await.http_addr;
    let request = http().get(format!("http://{address}/hello"));
    let failed = Reply::read(request.send().await.expect("an answer")).await;
    let trace_id = failed.expect(502).trace_id();
    assert!(shop.terminate().await.success(), "{}", shop.output());

    let lines = shop.json_lines();
    let errors: Vec<_> = lines
        .iter()
        .filter(|line| line["level"] == "ERROR")
        .collect();
    assert_eq!(errors.len(), 1, "{errors:#?}");
    let line = errors[0];
    assert_eq!(
        (&line["message"], &line["http.response.status_code"]),
        (&json!("request failed"), &json!(502))
    );
    assert_eq!(line["trace_id"], json!(trace_id), "{line}");
    let cause = line["cause"].as_str().unwrap_or_default();
    assert!(cause.contains("ConnectionRefused"), "{line}");
}

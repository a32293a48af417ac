//! Secrets from a sender that does not redact: the collector is the second line. Ids and timestamps stay what they are.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span};
use prost::Message;
use serde_json::Value;

use crate::harness::{NativeStack, eventually, jaeger_tag, list};
use crate::privacy::{CANARIES, PLANTED, plant};

const SENDER: &str = "careless";
const IDS: usize = 10_000;
/// Values of one record.
const CHUNK: usize = 100;

/// A name that no canary hides: where a database says which value it did not like.
const DETAIL: &str = "duplicate key: Key (customer_email)=(canary.bird@cage.example) already exists. \
    Failing row contains (1, hunter2canary, 4111111111111111).";

fn text(value: &str) -> Option<AnyValue> {
    Some(AnyValue {
        value: Some(Any::StringValue(value.to_owned())),
    })
}

fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: text(value),
        ..KeyValue::default()
    }
}

fn resource() -> Option<Resource> {
    Some(Resource {
        attributes: vec![attribute("service.name", SENDER)],
        ..Resource::default()
    })
}

fn now_ns() -> u64 {
    chrono::Utc::now()
        .timestamp_nanos_opt()
        .unwrap_or_default()
        .cast_unsigned()
}

fn random_bytes(length: usize) -> Vec<u8> {
    std::iter::repeat_with(|| uuid::Uuid::new_v4().into_bytes())
        .flatten()
        .take(length)
        .collect()
}

fn span_of(name: &str, attributes: Vec<KeyValue>) -> Span {
    Span {
        trace_id: random_bytes(16),
        span_id: random_bytes(8),
        name: name.to_owned(),
        kind: span::SpanKind::Server as i32,
        start_time_unix_nano: now_ns() - 1_000_000,
        end_time_unix_nano: now_ns(),
        attributes,
        ..Span::default()
    }
}

/// A secret wherever a span can hold text.
fn careless_span(secret: &str) -> Span {
    let said = format!("before {secret} after");
    let mut span = span_of(
        &said,
        vec![
            attribute("url.query", &format!("q={secret}")),
            attribute("http.request.header.x", secret),
            attribute("error.message", &said),
        ],
    );
    span.status = Some(Status {
        code: 2,
        message: said.clone(),
    });
    span.events = vec![span::Event {
        time_unix_nano: now_ns(),
        name: said.clone(),
        attributes: vec![attribute("exception.message", &said)],
        ..span::Event::default()
    }];
    span
}

fn record_of(body: &str, attributes: Vec<KeyValue>) -> LogRecord {
    LogRecord {
        time_unix_nano: now_ns(),
        body: text(body),
        attributes,
        ..LogRecord::default()
    }
}

async fn send_spans(native: &NativeStack, spans: Vec<Span>) {
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: resource(),
            scope_spans: vec![ScopeSpans {
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    };
    send(native, "/v1/traces", request.encode_to_vec()).await;
}

async fn send_logs(native: &NativeStack, log_records: Vec<LogRecord>) {
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: resource(),
            scope_logs: vec![ScopeLogs {
                log_records,
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    };
    send(native, "/v1/logs", request.encode_to_vec()).await;
}

async fn send(native: &NativeStack, path: &str, body: Vec<u8>) {
    let answer = native
        .stack
        .client
        .post(native.url("collector:4318") + path)
        .header("content-type", "application/x-protobuf")
        .body(body)
        .send()
        .await
        .expect("an answer of the collector");
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh: just test-stack"]
async fn no_backend_shows_a_secret_and_no_id_is_harmed() {
    let native = NativeStack::builder()
        .victorialogs()
        .without(&["alertmanager", "blackbox", "probe", "postgres-exporter"])
        .services(|services| services.env_all("RUST_LOG", "debug"))
        .start()
        .await;
    // Through the front door, where the services redact…
    let sku = native.stack.sku().await;
    for secret in PLANTED {
        plant(&native.stack, &sku, secret).await;
    }
    // … and past them.
    let secrets = || PLANTED.iter().copied().chain([DETAIL]);
    send_spans(&native, secrets().map(careless_span).collect()).await;
    let careless = |secret| {
        record_of(
            &format!("user said {secret}!"),
            vec![attribute("detail", secret)],
        )
    };
    send_logs(&native, secrets().map(careless).collect()).await;
    let ids = send_ids(&native).await;

    ids_are_unharmed(&native, &ids).await;
    let seen = everything(&native).await;
    for (backend, text) in &seen {
        let text = text.to_lowercase();
        for canary in CANARIES {
            let at = text.find(canary);
            let around = at.map(|at| {
                text[at.saturating_sub(200)..]
                    .chars()
                    .take(400)
                    .collect::<String>()
            });
            assert!(
                at.is_none(),
                "{canary} in {backend}: …{}…",
                around.unwrap_or_default()
            );
        }
    }
}

/// Trace ids, order ids and timestamps as text, in attributes and in bodies.
async fn send_ids(native: &NativeStack) -> Vec<String> {
    let ids: Vec<String> = (0..IDS)
        .map(|number| match number % 4 {
            0 => hex::encode(random_bytes(16)),
            1 => uuid::Uuid::now_v7().to_string(),
            2 => uuid::Uuid::new_v4().to_string(),
            _ => {
                // Nanoseconds, microseconds, milliseconds of some moment of this decade.
                let unit = [1, 1_000, 1_000_000][number / 4 % 3];
                ((now_ns() - number as u64 * 10_000_000_000_000) / unit).to_string()
            }
        })
        .collect();
    for chunk in ids.chunks(CHUNK) {
        let body = format!("ids {}", chunk.join(" "));
        send_logs(native, vec![record_of(&body, Vec::new())]).await;
        let attributes = chunk
            .iter()
            .enumerate()
            .map(|(index, id)| attribute(&format!("id.{index}"), id))
            .collect();
        send_spans(native, vec![span_of("ids", attributes)]).await;
    }
    ids
}

async fn ids_are_unharmed(native: &NativeStack, ids: &[String]) {
    let traces = eventually("all ids in Jaeger", async || {
        let found = native
            .jaeger_search(SENDER, &serde_json::json!({}), 1000)
            .await;
        let with_ids: Vec<Value> = found
            .iter()
            .flat_map(|trace| list(&trace["spans"]))
            .filter(|span| span["operationName"] == "ids")
            .collect();
        (with_ids.len() == IDS / CHUNK).then_some(with_ids)
    })
    .await;
    let mut found: Vec<String> = traces
        .iter()
        .flat_map(|span| (0..CHUNK).filter_map(|index| jaeger_tag(span, &format!("id.{index}"))))
        .collect();
    let mut want = ids.to_vec();
    found.sort();
    want.sort();
    assert!(
        found == want,
        "harmed in Jaeger: {:?}",
        missing(&want, &found)
    );

    ids_in_lines("the console", &want, async || {
        let lines = native
            .loki_query(&format!("{{service_name=\"{SENDER}\"}} |= \"ids \""))
            .await;
        lines.into_iter().map(|(_, line)| line).collect()
    })
    .await;
    ids_in_lines("VictoriaLogs", &want, async || {
        let records = native.stored_logs(SENDER).await;
        let lines = records
            .into_iter()
            .filter_map(|mut record| record.remove("_msg"));
        lines.filter(|line| line.starts_with("ids ")).collect()
    })
    .await;
}

async fn ids_in_lines(store: &str, want: &[String], lines: impl AsyncFn() -> Vec<String>) {
    let lines = eventually(&format!("all ids in {store}"), async || {
        let lines = lines().await;
        (lines.len() == IDS / CHUNK).then_some(lines)
    })
    .await;
    let mut found: Vec<String> = lines
        .iter()
        .flat_map(|line| line.split(' ').skip(1))
        .map(str::to_owned)
        .collect();
    found.sort();
    assert!(
        found == want,
        "harmed in {store}: {:?}",
        missing(want, &found)
    );
}

fn missing<'a>(want: &'a [String], found: &[String]) -> Vec<&'a String> {
    want.iter()
        .filter(|id| found.binary_search(id).is_err())
        .take(10)
        .collect()
}

/// All that the backends would show anybody, and what the collector and the services say of themselves.
async fn everything(native: &NativeStack) -> Vec<(String, String)> {
    let mut seen = Vec::new();
    for service in [SENDER, "gateway", "data", "downstream"] {
        let traces = native
            .jaeger_search(service, &serde_json::json!({}), 5000)
            .await;
        assert!(!traces.is_empty(), "{service}");
        seen.push((
            format!("Jaeger, {service}"),
            Value::from(traces).to_string(),
        ));
        let logs = native
            .loki_query(&format!("{{service_name=\"{service}\"}}"))
            .await;
        assert!(!logs.is_empty(), "{service}");
        let logs: String = logs
            .iter()
            .map(|(labels, line)| format!("{labels} {line}\n"))
            .collect();
        seen.push((format!("the console in Loki's place, {service}"), logs));
        let records = native.stored_logs(service).await;
        assert!(!records.is_empty(), "{service}");
        seen.push((format!("VictoriaLogs, {service}"), format!("{records:?}")));
    }
    let series = eventually("Prometheus has scraped every service", async || {
        let series = native.prometheus_query("{__name__!=\"\"}").await;
        let has = |service: &str| {
            let of = |series: &Value| series["metric"]["service_name"] == service;
            series.iter().any(of)
        };
        ["gateway", "data", "downstream"]
            .iter()
            .all(|service| has(service))
            .then_some(series)
    })
    .await;
    seen.push(("Prometheus".to_owned(), Value::from(series).to_string()));
    seen.push((
        "the span metrics".to_owned(),
        native.scrape_part("collector:8889").await.text,
    ));
    for part in ["collector", "jaeger", "loki", "victorialogs"] {
        seen.push((format!("the output of {part}"), native.output(part)));
    }
    seen
}

//! Names, against the crate of the semantic conventions. It marks the constants of deprecated names, and with one of them this
//! file does not compile.
#![deny(deprecated)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::sync::mpsc::channel;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::Uri;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_semantic_conventions::{SCHEMA_URL, attribute, metric, resource};
use prost::Message;
use telemetry::metric::Stability;
use telemetry::names::{self, Attribute};
use telemetry::{Metric, ServiceInfo, Settings};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// On spans, events and log records.
const ATTRIBUTES: [&str; 31] = [
    attribute::CLIENT_ADDRESS,
    attribute::CODE_FILE_PATH,
    attribute::CODE_LINE_NUMBER,
    attribute::DB_CLIENT_CONNECTION_POOL_NAME,
    attribute::DB_COLLECTION_NAME,
    attribute::DB_NAMESPACE,
    attribute::DB_OPERATION_NAME,
    attribute::DB_QUERY_TEXT,
    attribute::DB_RESPONSE_STATUS_CODE,
    attribute::DB_SYSTEM_NAME,
    attribute::ERROR_TYPE,
    attribute::HTTP_REQUEST_METHOD,
    attribute::HTTP_REQUEST_RESEND_COUNT,
    attribute::HTTP_RESPONSE_STATUS_CODE,
    attribute::HTTP_ROUTE,
    attribute::MESSAGING_DESTINATION_NAME,
    attribute::MESSAGING_MESSAGE_ID,
    attribute::MESSAGING_OPERATION_NAME,
    attribute::MESSAGING_OPERATION_TYPE,
    attribute::MESSAGING_SYSTEM,
    attribute::NETWORK_PROTOCOL_VERSION,
    attribute::SERVER_ADDRESS,
    attribute::SERVER_PORT,
    attribute::SERVICE_PEER_NAME,
    attribute::URL_FULL,
    attribute::URL_PATH,
    attribute::URL_QUERY,
    attribute::URL_SCHEME,
    attribute::URL_TEMPLATE,
    attribute::USER_AGENT_ORIGINAL,
    attribute::USER_AGENT_SYNTHETIC_TYPE,
];

/// Ours.
const OWN_ATTRIBUTES: [&str; 1] = ["omnitrace.exemplar"];

/// Of the resource.
const RESOURCE: [&str; 7] = [
    resource::PROCESS_PID,
    resource::SERVICE_INSTANCE_ID,
    resource::SERVICE_NAME,
    resource::SERVICE_VERSION,
    resource::TELEMETRY_SDK_LANGUAGE,
    resource::TELEMETRY_SDK_NAME,
    resource::TELEMETRY_SDK_VERSION,
];

/// Labels of metrics that are not among [`ATTRIBUTES`].
const LABELS: [&str; 4] = [
    attribute::DB_CLIENT_CONNECTION_STATE,
    attribute::SERVICE_INSTANCE_ID,
    attribute::SERVICE_NAME,
    attribute::SERVICE_VERSION,
];

/// Ours.
const OWN_LABELS: [&str; 5] = [
    "level",
    "lock_holder",
    "outcome",
    "semconv_version",
    "version",
];

/// All but those that are declared as `Own`.
const METRICS: [&str; 17] = [
    metric::DB_CLIENT_CONNECTION_COUNT,
    metric::DB_CLIENT_CONNECTION_MAX,
    metric::DB_CLIENT_CONNECTION_PENDING_REQUESTS,
    metric::DB_CLIENT_CONNECTION_TIMEOUTS,
    metric::DB_CLIENT_CONNECTION_WAIT_TIME,
    metric::DB_CLIENT_OPERATION_DURATION,
    metric::HTTP_CLIENT_REQUEST_DURATION,
    metric::HTTP_SERVER_ACTIVE_REQUESTS,
    metric::HTTP_SERVER_REQUEST_DURATION,
    metric::OTEL_SDK_EXPORTER_LOG_EXPORTED,
    metric::OTEL_SDK_EXPORTER_SPAN_EXPORTED,
    metric::OTEL_SDK_PROCESSOR_LOG_PROCESSED,
    metric::OTEL_SDK_PROCESSOR_LOG_QUEUE_CAPACITY,
    metric::OTEL_SDK_PROCESSOR_LOG_QUEUE_SIZE,
    metric::OTEL_SDK_PROCESSOR_SPAN_PROCESSED,
    metric::OTEL_SDK_PROCESSOR_SPAN_QUEUE_CAPACITY,
    metric::OTEL_SDK_PROCESSOR_SPAN_QUEUE_SIZE,
];

type Names = BTreeSet<String>;

fn set<'a>(names: impl IntoIterator<Item = &'a str>) -> Names {
    names.into_iter().map(str::to_owned).collect()
}

/// As Prometheus writes them.
fn underscored<'a>(names: impl IntoIterator<Item = &'a str>) -> Names {
    names
        .into_iter()
        .map(|name| name.replace('.', "_"))
        .collect()
}

fn metrics() -> impl Iterator<Item = &'static Metric> {
    names::METRICS.into_iter().flatten()
}

#[test]
fn the_pinned_schema_is_that_of_the_crate() {
    assert_eq!(names::SCHEMA_URL, SCHEMA_URL);
    assert_eq!(SCHEMA_URL.rsplit('/').next(), Some(names::SEMCONV_VERSION));
}

#[test]
fn every_attribute_is_of_the_conventions_or_listed_as_ours() {
    let (own, standard): (Vec<&Attribute>, Vec<&Attribute>) = names::ATTRIBUTES
        .iter()
        .partition(|attribute| attribute.stability == Stability::Own);
    let names = |attributes: Vec<&Attribute>| set(attributes.iter().map(|one| one.name));
    assert_eq!(names(standard), set(ATTRIBUTES));
    assert_eq!(names(own), set(OWN_ATTRIBUTES));
}

#[test]
fn every_label_is_of_the_conventions_or_listed_as_ours() {
    let labels = metrics().flat_map(|metric| metric.labels);
    let found = set(labels.chain(names::GLOBAL_LABELS).copied());
    let standard = underscored(ATTRIBUTES.into_iter().chain(LABELS));
    let others = found.difference(&standard).map(String::as_str);
    assert_eq!(set(others), set(OWN_LABELS));
}

#[test]
fn every_metric_is_of_the_conventions_or_declared_as_ours() {
    let standard = metrics().filter(|metric| metric.stability != Stability::Own);
    let found = standard.map(|metric| {
        let name = metric.name.trim_end_matches("_total");
        name.trim_end_matches("_seconds")
    });
    assert_eq!(set(found), underscored(METRICS));
}

/// What a process with one span and one log record exports, and then counts of those that come after its shutdown.
struct Run {
    /// By path.
    bodies: BTreeMap<String, Bytes>,
    scrape: String,
}

static RUN: LazyLock<Run> = LazyLock::new(|| {
    let (sender, received) = channel();
    let app = Router::new().fallback(async move |uri: Uri, body: Bytes| {
        let _ = sender.send((uri.path().to_owned(), body));
    });
    let runtime = Runtime::new().expect("threads");
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
    let listener = listener.expect("a free port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    runtime.spawn(axum::serve(listener, app).into_future());
    let settings = Settings::from_lookup(&|name| match name {
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(endpoint.clone()),
        "OTEL_EXPORTER_OTLP_COMPRESSION" => Some("none".to_owned()),
        _ => None,
    });
    let info = ServiceInfo {
        name: "conventions".to_owned(),
        version: "1".to_owned(),
    };
    let telemetry = telemetry::init(info, &settings.expect("constants"), &[]);
    let telemetry = telemetry.expect("the only one of this process");
    let metrics = telemetry.metrics();
    let work = || tracing::info_span!("work").in_scope(|| tracing::info!("inside"));
    work();
    assert!(
        telemetry.shutdown(Duration::from_secs(60)),
        "nothing is lost"
    );
    work();
    Run {
        bodies: received.try_iter().collect(),
        scrape: metrics.render(None).body,
    }
});

fn keys(resource: Option<&Resource>) -> Names {
    let attributes = &resource.expect("a resource").attributes;
    set(attributes.iter().map(|one| one.key.as_str()))
}

#[test]
fn what_is_exported_names_its_schema() {
    let bodies = &RUN.bodies;
    let spans = ExportTraceServiceRequest::decode(bodies["/v1/traces"].clone());
    let spans = &spans.expect("spans").resource_spans[0];
    let logs = ExportLogsServiceRequest::decode(bodies["/v1/logs"].clone());
    let logs = &logs.expect("log records").resource_logs[0];
    let schemas = [
        &spans.schema_url,
        &spans.scope_spans[0].schema_url,
        &logs.schema_url,
        &logs.scope_logs[0].schema_url,
    ];
    assert_eq!(schemas, [SCHEMA_URL; 4]);
    assert_eq!(keys(spans.resource.as_ref()), set(RESOURCE));
    assert_eq!(keys(logs.resource.as_ref()), set(RESOURCE));
}

#[test]
fn what_comes_after_the_shutdown_is_counted_as_the_conventions_say() {
    for metric in [
        metric::OTEL_SDK_PROCESSOR_SPAN_PROCESSED,
        metric::OTEL_SDK_PROCESSOR_LOG_PROCESSED,
    ] {
        let name = format!("{}_total{{", metric.replace('.', "_"));
        let mut lines = RUN.scrape.lines().filter(|line| line.starts_with(&name));
        let late = lines.find(|line| line.contains("error_type=\"already_shutdown\""));
        assert!(late.expect(metric).ends_with(" 1"), "{late:?}");
    }
}

//! Names, against the crate of the semantic conventions. It marks the constants of deprecated names, and with one of them this
//! file does not compile.
#![deny(deprecated)]

use std::collections::BTreeSet;

use opentelemetry_semantic_conventions::{SCHEMA_URL, attribute, metric};
use telemetry::Metric;
use telemetry::metric::Stability;
use telemetry::names::{self, Attribute};

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
fn the_pinned_version_is_that_of_the_crate() {
    let version = SCHEMA_URL.rsplit('/').next();
    assert_eq!(version, Some(names::SEMCONV_VERSION));
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

//! `deploy/grafana/provisioning`: the data sources, and where a click in one leads.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::dashboards::{Expression, Language};
use crate::harness::{list, repository};

fn provisioned(file: &str) -> Value {
    let path = repository("deploy/grafana/provisioning").join(file);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn sources() -> Vec<Value> {
    list(&provisioned("datasources/datasources.yaml")["datasources"])
}

fn source(uid: &str) -> Value {
    let found = sources().into_iter().find(|source| source["uid"] == uid);
    found.unwrap_or_else(|| panic!("no data source with the uid {uid:?}"))
}

/// Their uids.
pub fn uids() -> BTreeSet<String> {
    let uid = |source: &Value| source["uid"].as_str().expect("a uid").to_owned();
    sources().iter().map(uid).collect()
}

/// What a span's links ask Loki and Prometheus.
pub fn expressions() -> Vec<Expression> {
    // As Grafana fills them in; in the file `$$` is a dollar sign.
    let filled = |query: &Value| {
        query
            .as_str()
            .expect("a query")
            .replace("$$", "$")
            .replace("${__tags}", "service_name=\"data\"")
            .replace("$__tags", "service_name=\"data\"")
            .replace("${__trace.traceId}", "0af7651916cd43dd8448eb211c80319c")
    };
    let links = &source("jaeger")["jsonData"];
    let to_logs = filled(&links["tracesToLogsV2"]["query"]);
    let mut found = vec![Expression::new(
        "a span's logs".into(),
        Language::LogQl,
        &to_logs,
    )];
    for query in list(&links["tracesToMetrics"]["queries"]) {
        let place = format!("a span's metrics, {}", query["name"]);
        found.push(Expression::new(
            place,
            Language::PromQl,
            &filled(&query["query"]),
        ));
    }
    found
}

#[test]
fn every_signal_leads_to_the_next() {
    let at = |uid: &str, pointer: &str| source(uid)["jsonData"].pointer(pointer).cloned();
    let by_service = json!([{"key": "service.name", "value": "service_name"}]);
    for (uid, pointer, wanted) in [
        (
            "prometheus",
            "/exemplarTraceIdDestinations/0/name",
            json!("trace_id"),
        ),
        (
            "prometheus",
            "/exemplarTraceIdDestinations/0/datasourceUid",
            json!("jaeger"),
        ),
        ("prometheus", "/alertmanagerUid", json!("alertmanager")),
        ("jaeger", "/tracesToLogsV2/datasourceUid", json!("loki")),
        ("jaeger", "/tracesToLogsV2/customQuery", json!(true)),
        ("jaeger", "/tracesToLogsV2/tags", by_service.clone()),
        (
            "jaeger",
            "/tracesToMetrics/datasourceUid",
            json!("prometheus"),
        ),
        ("jaeger", "/tracesToMetrics/tags", by_service),
        ("jaeger", "/nodeGraph/enabled", json!(true)),
        ("loki", "/derivedFields/0/datasourceUid", json!("jaeger")),
        ("loki", "/derivedFields/0/matcherType", json!("label")),
        ("loki", "/derivedFields/0/matcherRegex", json!("trace_id")),
        ("loki", "/derivedFields/0/url", json!("$${__value.raw}")),
    ] {
        assert_eq!(at(uid, pointer), Some(wanted), "{uid} {pointer}");
    }
    let ports = sources();
    let urls: Vec<&str> = ports
        .iter()
        .filter_map(|source| source["url"].as_str())
        .collect();
    let wanted = [
        "prometheus:9090",
        "jaeger:16686",
        "loki:3100",
        "alertmanager:9093",
    ];
    assert_eq!(urls, wanted.map(|address| format!("http://{address}")));
}

/// Grafana takes a single dollar sign for an environment variable, and puts nothing in its place.
#[test]
fn no_dollar_sign_stands_alone() {
    fn texts(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::String(text) => found.push(text.clone()),
            Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
            Value::Object(map) => map.values().for_each(|item| texts(item, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    texts(&json!(sources()), &mut found);
    assert!(
        found.iter().any(|text| text.contains("$$")),
        "no variable at all"
    );
    for text in found {
        assert!(!text.replace("$$", "").contains('$'), "{text:?}: write $$");
    }
}

/// Where the provider looks is where compose puts them.
#[test]
fn the_dashboards_are_provisioned() {
    let provider = &provisioned("dashboards/dashboards.yaml")["providers"][0];
    assert_eq!(provider["type"], "file");
    let path = provider["options"]["path"].as_str().expect("a path");
    let compose = std::fs::read_to_string(repository("deploy/compose.yaml")).expect("compose.yaml");
    for mount in [
        format!("- ../dashboards:{path}:ro"),
        "- ./grafana/provisioning:/etc/grafana/provisioning:ro".to_owned(),
    ] {
        assert!(
            compose.contains(&mount),
            "deploy/compose.yaml does not mount {mount:?}"
        );
    }
}

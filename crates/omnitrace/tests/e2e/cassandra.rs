//! Traces on a distributed engine: the standard stack with `deploy/jaeger/cassandra.yaml` and one node of Cassandra.
//! `just test-cassandra` (needs Maven and Java 17).

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::harness::{NativeStack, config, eventually, run_tool};
use crate::stack_outages::{Load, MEANWHILE, SERVICES, exported, spans_in_jaeger};

#[tokio::test]
#[ignore = "needs Maven, Java 17 and the programs of deploy/tools/build.sh: just test-cassandra"]
async fn traces_in_cassandra_are_found_outlive_its_death_and_expire() {
    let without = [
        "loki",
        "alertmanager",
        "blackbox",
        "probe",
        "postgres-exporter",
        "prometheus",
    ];
    let builder = NativeStack::builder().cassandra().without(&without);
    let mut native = builder.start().await;
    an_order_is_found(&native).await;
    nothing_accepted_is_lost(&mut native).await;
    native.terminate("jaeger").await;
    native.terminate("cassandra").await;
    every_row_expires(native.directory.path());
}

/// By id, service, operation, tag and duration; and by none of them where it does not match.
async fn an_order_is_found(native: &NativeStack) {
    let sku = native.stack.sku().await;
    let trace_id = native.stack.order(&sku, 1).await.expect(201).trace_id();
    native.traced_over(&trace_id, &SERVICES).await;
    let found = async |more: &[(&str, &str)]| {
        let asked = [
            &[("service", "data"), ("lookback", "1h"), ("limit", "100")],
            more,
        ]
        .concat();
        let traces = native.jaeger_find(&asked).await;
        traces.iter().any(|trace| trace["traceID"] == trace_id)
    };
    let tags = |method: &str| json!({"http.request.method": method}).to_string();
    let (post, patch) = (tags("POST"), tags("PATCH"));
    for more in [
        &[][..],
        &[("operation", "POST /orders")],
        &[("tags", &post)],
        &[("operation", "POST /orders"), ("tags", &post)],
        &[("minDuration", "1us")],
        &[("minDuration", "1us"), ("operation", "POST /orders")],
    ] {
        eventually(&format!("the order is found by {more:?}"), async || {
            found(more).await.then_some(())
        })
        .await;
    }
    for more in [
        ("operation", "GET /nothing"),
        ("tags", &patch),
        ("minDuration", "1h"),
    ] {
        assert!(!found(&[more]).await, "the order is found by {more:?}");
    }
}

/// Cassandra is killed under load and started again: the collector's queue on disk has held the spans.
async fn nothing_accepted_is_lost(native: &mut NativeStack) {
    let sku = native.stack.sku().await;
    let load = Load::start(native.stack.url("gateway"), sku);
    load.more(MEANWHILE).await;
    native.kill("cassandra").await;
    load.more(MEANWHILE).await;
    native.restart("cassandra").await;
    load.more(MEANWHILE).await;
    let answered = load.stop().await.answered;
    let spans = exported(native, "span").await;
    let stored = eventually("every exported span in Cassandra", async || {
        let stored = spans_in_jaeger(native).await;
        (stored >= spans).then_some(stored)
    })
    .await;
    assert_eq!(stored, spans, "spans");
    eprintln!("{answered} requests, {spans} spans: none lost");
}

/// The tables that hold traces and what finds them; each has rows.
const TABLES: [&str; 6] = [
    "traces",
    "service_names",
    "service_name_index",
    "service_operation_index",
    "duration_index",
    "tag_index",
];

/// Cassandra's own tool reads the times from the files of a node that has ended.
fn every_row_expires(directory: &Path) {
    let ttl = "trace_ttl: 96h";
    assert!(config("jaeger/cassandra.yaml").text().contains(ttl));
    let seconds = 96 * 3600;
    let settings = directory.join("tools-cassandra-cassandra.yaml");
    let settings = format!("-Dcassandra.config=file://{}", settings.display());
    let files: Vec<String> = TABLES
        .iter()
        .flat_map(|table| {
            let files = files_of(directory, table);
            assert!(!files.is_empty(), "{table} has no rows");
            files
        })
        .collect();
    let viewer = "org.apache.cassandra.tools.SSTableMetadataViewer";
    let arguments: Vec<&str> = [settings.as_str(), viewer]
        .into_iter()
        .chain(files.iter().map(String::as_str))
        .collect();
    let (succeeded, said) = run_tool("cassandra", &arguments);
    assert!(succeeded, "{said}");
    for bound in ["min", "max"] {
        let line = format!("TTL {bound}: {seconds} ");
        let lines = said.matches(&line).count();
        assert_eq!(lines, files.len(), "{line}:\n{said}");
    }
}

fn files_of(directory: &Path, table: &str) -> Vec<String> {
    let keyspace = directory.join("cassandra-data/data/jaeger");
    let entries = |path: PathBuf| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        entries
            .map(|entry| entry.expect("an entry").path())
            .collect()
    };
    let is_of_table = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.rsplit_once('-').is_some_and(|(name, _)| name == table)
    };
    let files = entries(keyspace)
        .into_iter()
        .filter(is_of_table)
        .flat_map(entries);
    let names = files.map(|path| path.display().to_string());
    names.filter(|name| name.ends_with("-Data.db")).collect()
}

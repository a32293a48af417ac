//! Series, samples, spans and log lines of the whole stack, `omnitrace up --standard`, while users ask every route.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::Value;

use super::Bench;
use super::prometheus::{APPENDED, Prometheus};
use crate::cost::process::{self, Process};
use crate::cost::services::SERVICES;

/// Ports of `up`: each a free one.
const PORTS: [&str; 15] = [
    "gateway",
    "data",
    "downstream",
    "herald",
    "gateway-admin",
    "data-admin",
    "downstream-admin",
    "otlp-grpc",
    "otlp-http",
    "jaeger",
    "prometheus",
    "alertmanager",
    "loki",
    "blackbox",
    "postgres-exporter",
];

/// More than flushes of the collector's connectors and scrapes take, on a busy machine.
const VISIBLE: Duration = Duration::from_secs(60);
/// Of rates: the end of the load.
const WINDOW: &str = "1m";

/// The numbers of the whole stack.
#[derive(Debug, Serialize)]
pub struct Metrics {
    /// By what they are of.
    pub series: BTreeMap<String, f64>,
    /// Calls from one service to another, or to the database, in the service graph.
    pub edges: f64,
    /// All series in Prometheus.
    pub head_series: f64,
    /// That Prometheus took in.
    pub samples_per_second: f64,
    /// Requests that the gateway answered, those of the probe included.
    pub requests: f64,
    /// Of all three services.
    pub spans_per_request: f64,
    /// Of all parts that send any.
    pub log_records_per_request: f64,
    /// Of all three services, as JSON.
    pub log_bytes_per_request: f64,
    /// CPU time of the collector per request: for its spans, its log records, and what the collector does without requests.
    pub collector_cpu_us_per_request: f64,
    /// What the gateway shows to Prometheus.
    #[serde(skip)]
    pub page: String,
}

/// Requests of the gateway.
const ASKED: &str =
    r#"traces_span_metrics_calls_total{service_name="gateway",span_kind="SPAN_KIND_SERVER"}"#;

/// A name in the table, and an expression whose result is one number, or one for each value of a label.
const SERIES: [(&str, &str, &str); 6] = [
    (
        "instance of a service, scraped",
        "service_name",
        r#"count by (service_name) ({job="services",service_name!=""})"#,
    ),
    (
        "instance of another part, scraped",
        "job",
        r#"count by (job) ({job=~"otel-collector|jaeger|prometheus|alertmanager|postgres|herald"})"#,
    ),
    (
        "span metrics of a service",
        "service_name",
        r#"count by (service_name) ({__name__=~"traces_span_metrics_.+"})"#,
    ),
    (
        "service graph",
        "",
        r#"count({__name__=~"traces_service_graph_.+"})"#,
    ),
    ("recorded by rules", "", r#"count({__name__=~".+:.+"})"#),
    (
        "alerts",
        "",
        r#"count({__name__=~"ALERTS|ALERTS_FOR_STATE"})"#,
    ),
];

/// Starts the stack, has users ask it, and reads Prometheus.
pub async fn measure(bench: &Bench<'_>) -> Result<Metrics> {
    let directory = crate::cost::overhead::directory()?;
    let data = directory.path().join("data");
    let mut up = Process::start("up", command(bench, &data), directory.path())?;
    let ready = up.line("the event `ready`", |line| line["event"] == "ready")?;
    let gateway = text(&ready["gateway_url"])?;
    let prometheus = up.line("Prometheus", |line| {
        line["event"] == "started" && line["part"] == "prometheus"
    })?;
    let prometheus = Prometheus {
        client: &bench.client,
        url: text(&prometheus["url"])?.to_owned(),
    };
    users(bench, gateway, directory.path())?;
    prometheus.is_whole().await?;
    let mut metrics = prometheus.metrics(&data).await?;
    let gateway = up.line("the gateway", |line| {
        line["event"] == "started" && line["part"] == "gateway"
    })?;
    let page = format!("{}/metrics", text(&gateway["admin_url"])?);
    metrics.page = bench.client.get(page).send().await?.text().await?;
    up.stop();
    Ok(metrics)
}

fn command(bench: &Bench<'_>, data: &Path) -> std::process::Command {
    let mut command = process::command(&bench.omnitrace);
    command
        .args(["up", "--json", "--standard", "--deploy"])
        .arg(&bench.deploy)
        .arg("--data-dir")
        .arg(data)
        .arg("--rules")
        .arg(bench.rules())
        .args(PORTS.map(|name| format!("--{name}-port=0")));
    command
}

/// The users of this load test; their own spans are nobody's.
fn users(bench: &Bench<'_>, gateway: &str, directory: &Path) -> Result<()> {
    let mut command = process::command(&std::env::current_exe()?);
    command
        .args([
            "--target",
            gateway,
            "--users",
            "20",
            "--metrics-listen",
            "127.0.0.1:0",
            "--duration",
        ])
        .arg(format!("{}s", bench.args.seconds))
        .env("OTEL_SDK_DISABLED", "true");
    Process::start("users", command, directory)?.finished()
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().context("an event of `up` names no address")
}

impl Prometheus<'_> {
    /// Waits for the series of what happens last: calls of every service, in the graph, and a rate.
    async fn is_whole(&self) -> Result<()> {
        let services = SERVICES.join("|");
        let start = Instant::now();
        for expression in [
            format!(
                r#"count(count by (service_name) (traces_span_metrics_calls_total{{service_name=~"{services}"}})) == 3"#
            ),
            r#"count(traces_service_graph_request_total{client="gateway",server="data"})"#
                .to_owned(),
            format!("sum(rate({APPENDED}[{WINDOW}])) > 0"),
        ] {
            while self.query(&expression).await?.is_empty() {
                if start.elapsed() > VISIBLE {
                    bail!("Prometheus finds nothing: {expression}");
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        Ok(())
    }

    async fn metrics(&self, data: &Path) -> Result<Metrics> {
        let mut series = BTreeMap::new();
        for (what, label, expression) in SERIES {
            let found = self.query(expression).await?;
            if found.is_empty() && what != "alerts" {
                bail!("Prometheus finds nothing: {expression}");
            }
            for (labels, number) in found {
                let name = labels[label]
                    .as_str()
                    .map_or(what.to_owned(), |value| format!("{what}: {value}"));
                series.insert(name, number);
            }
        }
        let spans = format!(
            r#"sum(traces_span_metrics_calls_total{{service_name=~"{}"}})"#,
            SERVICES.join("|")
        );
        let requests = self.number(&format!("sum({ASKED})")).await?;
        let records = "sum(otelcol_receiver_accepted_log_records_total)";
        let cpu = format!(
            "1e6 * sum(rate(otelcol_process_cpu_seconds_total[{WINDOW}])) / sum(rate({ASKED}[{WINDOW}]))"
        );
        let logs = SERVICES.map(|name| std::fs::metadata(data.join(format!("logs/{name}.log"))));
        let logs = logs.into_iter().map(|file| anyhow::Ok(file?.len()));
        Ok(Metrics {
            series,
            edges: self
                .number("count(traces_service_graph_request_total)")
                .await?,
            head_series: self.number("prometheus_tsdb_head_series").await?,
            samples_per_second: self
                .number(&format!("sum(rate({APPENDED}[{WINDOW}]))"))
                .await?,
            requests,
            spans_per_request: self.number(&spans).await? / requests,
            log_records_per_request: self.number(records).await? / requests,
            log_bytes_per_request: logs.sum::<Result<u64>>()? as f64 / requests,
            collector_cpu_us_per_request: self.number(&cpu).await?,
            page: String::new(),
        })
    }
}

//! Log stores of a [`NativeStack`]. The console stands in for Loki and answers its queries. It is ours, and keeps nothing over
//! a restart: where records are counted and secrets are looked for, VictoriaLogs gets every record too.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use standard::{Config, Deployment};

use super::native::{Command, OURS};
use super::native_ask::encoded;
use super::native_config::config;
use super::native_parts::command;
use super::{NativeStack, eventually, list};

/// The collector's exporters of logs: the shipped one, and the one beside it.
const LOKI: &str = "otlp_http/loki";
const VICTORIALOGS: &str = "otlp_http/victorialogs";

/// A log record as VictoriaLogs has it: `_msg`, `_time`, `trace_id`, `service.name`, …
pub type Stored = BTreeMap<String, String>;

impl NativeStack {
    pub(super) fn loki(&self) -> Command {
        let listen = self.addresses.of("console:8000");
        command(OURS, ["console", "--listen", listen].map(str::to_owned))
    }

    pub(super) fn victorialogs(&self, deployment: &Deployment<'_>) -> Command {
        let data = deployment.subdirectory("victorialogs-data");
        command(
            "victorialogs",
            [
                format!("-httpListenAddr={}", self.addresses.of("victorialogs:9428")),
                format!("-storageDataPath={}", data.expect("a directory")),
                // The least that it allows: what is younger is lost by a SIGKILL.
                "-inmemoryDataFlushInterval=1s".to_owned(),
            ],
        )
    }

    /// An overlay for the collector: wherever logs go to Loki they go to VictoriaLogs too, by the same queue and retries.
    pub(super) fn second_exporter(&self, overlays: &[&str]) -> Config {
        let base = shipped("collector.yaml");
        let mut exporter = base["exporters"][LOKI].clone();
        let settings = exporter.as_object_mut().expect("the exporter to Loki");
        settings.remove("endpoint").expect("Loki's address");
        let url = self.url("victorialogs:9428") + "/insert/opentelemetry/v1/logs";
        settings.insert("logs_endpoint".to_owned(), url.into());
        settings.insert(
            "headers".to_owned(),
            json!({"VL-Stream-Fields": "service.name"}),
        );
        let files = std::iter::once(base).chain(overlays.iter().map(|file| shipped(file)));
        let pipelines: serde_json::Map<String, Value> =
            files.flat_map(|file| both(&file)).collect();
        assert!(!pipelines.is_empty(), "no pipeline leads to {LOKI}");
        let overlay =
            json!({"exporters": {VICTORIALOGS: exporter}, "service": {"pipelines": pipelines}});
        Config::made("victorialogs.yaml", overlay.to_string())
    }

    /// Log entries that a LogQL expression finds: stream labels (structured metadata included) and line.
    pub async fn loki_query(&self, expression: &str) -> Vec<(Value, String)> {
        let url = format!(
            "{}/loki/api/v1/query_range?{}",
            self.url("console:8000"),
            encoded(&[("query", expression), ("limit", "5000"), ("since", "1h")])
        );
        let answer = self.get(url).await.unwrap_or_default();
        let entries = |stream: &Value| -> Vec<(Value, String)> {
            let line = |value: &Value| value[1].as_str().unwrap_or_default().to_owned();
            list(&stream["values"])
                .iter()
                .map(|value| (stream["stream"].clone(), line(value)))
                .collect()
        };
        list(&answer["data"]["result"])
            .iter()
            .flat_map(entries)
            .collect()
    }

    /// All records of a service that VictoriaLogs has.
    pub async fn stored_logs(&self, service: &str) -> Vec<Stored> {
        self.logsql(&format!("\"service.name\":=\"{service}\""))
            .await
    }

    /// The records that a LogsQL expression finds in VictoriaLogs.
    pub async fn logsql(&self, expression: &str) -> Vec<Stored> {
        let url = format!(
            "{}/select/logsql/query?{}",
            self.url("victorialogs:9428"),
            encoded(&[("query", expression)])
        );
        let answer = self
            .stack
            .client
            .get(url)
            .send()
            .await
            .expect("an answer of VictoriaLogs");
        let (status, text) = (
            answer.status(),
            answer.text().await.expect("all of the answer"),
        );
        assert!(status.is_success(), "{expression}: {status} {text}");
        let record = |line| serde_json::from_str(line).expect("a record");
        text.lines().map(record).collect()
    }

    /// Kills VictoriaLogs when nothing that it has taken is still in memory only: it has no write-ahead log, and answers
    /// before it writes. The collector is held for that moment, in the midst of what it was sending.
    pub async fn kill_victorialogs(&mut self) {
        self.signal("collector", super::Signal::SIGSTOP);
        eventually("VictoriaLogs has written everything", async || {
            let scrape = self.scrape_part("victorialogs:9428").await;
            let waiting = scrape.value("vl_pending_rows", &[])?
                + scrape.value("vl_storage_rows", &[("type", "storage/inmemory")])?;
            (waiting == 0.0).then_some(())
        })
        .await;
        self.kill("victorialogs").await;
        self.signal("collector", super::Signal::SIGCONT);
    }
}

fn shipped(file: &str) -> Value {
    let config = config(&format!("collector/{file}"));
    serde_saphyr::from_str(config.text()).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The file's pipelines that lead to Loki, with both exporters.
fn both(file: &Value) -> Vec<(String, Value)> {
    let pipelines = file["service"]["pipelines"].as_object();
    pipelines
        .into_iter()
        .flatten()
        .filter_map(|(name, pipeline)| {
            let mut exporters = list(&pipeline["exporters"]);
            exporters.iter().any(|name| name == LOKI).then(|| {
                exporters.push(VICTORIALOGS.into());
                (name.clone(), json!({"exporters": exporters}))
            })
        })
        .collect()
}

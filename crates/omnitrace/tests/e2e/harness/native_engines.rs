//! Engines that scale, for a [`NativeStack`]: Cassandra for traces and VictoriaMetrics for metrics, one node of each.

use std::collections::BTreeMap;

use serde_json::Value;
use standard::{Config, Deployment};

use super::native::Command;
use super::native_ask::encoded;
use super::native_config::config;
use super::native_parts::command;
use super::{NativeStack, eventually};

/// What a test asks for.
#[derive(Clone, Copy, Default)]
pub(super) struct Engines {
    pub(super) cassandra: bool,
    pub(super) victoriametrics: bool,
}

impl Engines {
    /// The parts that are not started.
    pub(super) fn absent(self) -> impl Iterator<Item = &'static str> {
        let all = [
            ("cassandra", self.cassandra),
            ("victoriametrics", self.victoriametrics),
        ];
        let absent = all.into_iter().filter(|(_, wanted)| !wanted);
        absent.map(|(part, _)| part)
    }
}

/// How VictoriaMetrics is started; docs/DEPLOY.md gives the same retention.
pub fn victoriametrics_arguments(listen: &str, data: &str) -> Vec<String> {
    vec![
        format!("-httpListenAddr={listen}"),
        format!("-storageDataPath={data}"),
        "-retentionPeriod=35d".to_owned(),
    ]
}

impl NativeStack {
    /// Variables of `deploy/compose*.yaml`.
    pub(super) fn engine_variables(&self) -> BTreeMap<String, String> {
        let url = self.url("victoriametrics:8428") + "/api/v1/write";
        let wanted = self.engines.victoriametrics;
        let variables = wanted.then(|| ("REMOTE_WRITE_URL".to_owned(), url));
        variables.into_iter().collect()
    }

    pub(super) fn victoriametrics(&self, deployment: &Deployment<'_>) -> Command {
        let data = deployment.subdirectory("victoriametrics-data");
        let listen = self.addresses.of("victoriametrics:8428");
        let arguments = victoriametrics_arguments(listen, &data.expect("a directory"));
        command("victoriametrics", arguments)
    }

    pub(super) fn cassandra(&self, deployment: &Deployment<'_>) -> Command {
        let data = deployment.subdirectory("cassandra-data");
        let peers = self.addresses.port("cassandra:7000");
        let clients = self.addresses.port("cassandra:9042");
        let config = config("tools/cassandra/cassandra.yaml")
            .replace("/var/lib/cassandra", &data.expect("a directory"))
            .and_then(|config| config.replace("7000", peers))
            .and_then(|config| config.replace("9042", clients))
            .and_then(|config| config.write(self.directory.path()));
        let config = config.expect("the configuration of Cassandra");
        let daemon = "org.apache.cassandra.service.CassandraDaemon";
        command(
            "cassandra",
            [
                format!("-Dcassandra.config=file://{config}"),
                daemon.to_owned(),
            ],
        )
    }

    /// The first of Jaeger's overlays.
    pub(super) fn store_of_traces(&self, deployment: &Deployment<'_>) -> Config {
        if self.engines.cassandra {
            config("jaeger/cassandra.yaml")
        } else {
            deployment.badger().expect("deploy/jaeger/badger.yaml")
        }
    }

    /// Variables of `deploy/jaeger/cassandra.yaml`.
    pub(super) fn of_cassandra(&self) -> Vec<(String, String)> {
        let variables = [
            ("CASSANDRA_SERVERS", self.addresses.of("cassandra:9042")),
            ("CASSANDRA_REPLICATION_FACTOR", "1"),
            ("CASSANDRA_PLAINTEXT", "true"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let wanted = variables.into_iter().filter(|_| self.engines.cassandra);
        wanted.collect()
    }

    /// It speaks no HTTP.
    pub(super) async fn cassandra_listens(&mut self) {
        let address = self.addresses.of("cassandra:9042").to_owned();
        let child = self.parts.get_mut("cassandra").expect("just started");
        eventually(&format!("Cassandra listens on {address}"), async || {
            if let Some(status) = child.try_wait() {
                panic!("Cassandra ended with {status}\n{}", child.output());
            }
            tokio::net::TcpStream::connect(&address).await.ok()
        })
        .await;
    }

    /// The answer of Prometheus (`prometheus:9090`) or VictoriaMetrics (`victoriametrics:8428`) to an expression at a time.
    pub async fn promql_at(&self, engine: &str, expression: &str, time: f64) -> Value {
        // VictoriaMetrics shifts a recent time by half a minute, unless it may not use its cache.
        let time = time.to_string();
        let parameters = [("query", expression), ("time", &time), ("nocache", "1")];
        let url = format!("{}/api/v1/query?{}", self.url(engine), encoded(&parameters));
        let answer = self.get(url).await.expect("an answer");
        assert_eq!(
            answer["status"], "success",
            "{engine}: {expression}: {answer}"
        );
        answer["data"]["result"].clone()
    }
}

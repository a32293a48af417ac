//! The standard stack on this machine, without Docker: real programs, and the files in `deploy/`. Only Loki is not the real
//! one, see `native_logs`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;
use standard::{Addresses, Part};

use super::native_config::{addresses, client_tls};
use super::native_engines::Engines;
use super::{
    Child, Directory, Signal, Stack, StackBuilder, eventually, http, omnitrace, spawn_tool,
};

/// What a [`NativeStack`] is started with.
pub struct NativeBuilder {
    services: StackBuilder,
    overlays: Vec<&'static str>,
    without: Vec<&'static str>,
    alertmanager: Option<String>,
    herald: Option<String>,
    tls: Option<PathBuf>,
    counts_logs: bool,
    engines: Engines,
}

impl NativeBuilder {
    /// Adds a file of `deploy/collector` as a further `--config`.
    pub fn overlay(mut self, file: &'static str) -> Self {
        self.overlays.push(file);
        self
    }

    /// Leaves out a part that the test does not look at.
    pub fn without(mut self, parts: &[&'static str]) -> Self {
        self.without.extend(parts);
        self
    }

    /// Changes how the three services are started.
    pub fn services(mut self, change: impl FnOnce(StackBuilder) -> StackBuilder) -> Self {
        self.services = change(self.services);
        self
    }

    /// Alertmanager's configuration; by default one that sends nothing.
    pub fn alertmanager(mut self, config: String) -> Self {
        self.alertmanager = Some(config);
        self
    }

    /// `ip:port` of a herald that is scraped.
    pub fn herald(mut self, address: &str) -> Self {
        self.herald = Some(address.to_owned());
        self
    }

    /// Adds VictoriaLogs, a store that is not ours, and sends it every log record that Loki is sent.
    pub fn victorialogs(mut self) -> Self {
        self.counts_logs = true;
        self
    }

    /// As compose.cassandra.yaml, with one node of Cassandra.
    pub fn cassandra(mut self) -> Self {
        self.engines.cassandra = true;
        self
    }

    /// As compose.remote-write.yaml, with VictoriaMetrics.
    pub fn victoriametrics(mut self) -> Self {
        self.engines.victoriametrics = true;
        self
    }

    /// As compose.tls.yaml, with the certificates in a directory of deploy/tls/certificates.sh.
    pub fn tls(mut self, certificates: &Path) -> Self {
        self.tls = Some(certificates.to_owned());
        self.overlay("tls.yaml")
    }

    /// Starts everything; each part is ready when this returns.
    pub async fn start(self) -> NativeStack {
        let mut addresses = addresses();
        if let Some(herald) = &self.herald {
            addresses.set("herald:9095", herald);
        }
        let mut collector = addresses.url("collector:4318");
        let mut services = self.services;
        if self.tls.is_none() {
            // With TLS a test puts a proxy in front of it.
            let console = addresses.of("console:8000").to_owned();
            addresses.set("loki:3100", &console);
        }
        if let Some(certificates) = &self.tls {
            collector = collector.replace("http:", "https:");
            for (variable, path) in client_tls(&certificates.join("gateway")) {
                services = services.env_all(variable, &path);
            }
        }
        let services = services
            .env_all("OTEL_EXPORTER_OTLP_ENDPOINT", &collector)
            .env_all("OMNITRACE_PROBE_TOKEN", PROBE_TOKEN)
            .env_all("OTEL_BSP_SCHEDULE_DELAY", "200")
            .env_all("OTEL_BLRP_SCHEDULE_DELAY", "200")
            // As in deploy/compose.yaml: a new exemplar for each scrape.
            .env_all("OMNITRACE_EXEMPLAR_INTERVAL_MS", "5000");
        let stack = services.start().await;
        count_statements(&stack).await;
        let mut native = NativeStack {
            stack,
            addresses,
            directory: Directory::new(),
            parts: BTreeMap::new(),
            commands: BTreeMap::new(),
            tls: self.tls,
            counts_logs: self.counts_logs,
            engines: self.engines,
        };
        native.prepare(&self.overlays, self.alertmanager, self.herald.is_some());
        let mut without = self.without;
        if !self.counts_logs {
            without.push("victorialogs");
        }
        without.extend(self.engines.absent());
        let parts = PARTS.into_iter().filter(|part| !without.contains(part));
        for part in parts.clone() {
            native.start_part(part).await;
            if part == "cassandra" {
                // Without its store Jaeger ends.
                native.ready(part).await;
            }
        }
        for part in parts {
            native.ready(part).await;
        }
        native
    }
}

/// Start order: whoever is called is there first.
const PARTS: [&str; 11] = [
    "loki",
    "victorialogs",
    "victoriametrics",
    "cassandra",
    "jaeger",
    "collector",
    "postgres-exporter",
    "blackbox",
    "alertmanager",
    "probe",
    "prometheus",
];

/// What the services and their probe know.
pub(super) const PROBE_TOKEN: &str = "a-token-of-the-native-probe";

pub(super) const CONTAINERS: &str = "containers";

/// The tool of a part that is our own executable.
pub(super) const OURS: &str = "omnitrace";

/// What a part is started with.
pub(super) struct Command {
    pub(super) tool: &'static str,
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
}

/// A running stack. Dropped: every process is killed.
pub struct NativeStack {
    /// The three services and their verbs.
    pub stack: Stack,
    /// Where everything is.
    pub addresses: Addresses,
    /// Configurations and data.
    pub directory: Directory,
    pub(super) parts: BTreeMap<&'static str, Child>,
    pub(super) commands: BTreeMap<&'static str, Command>,
    pub(super) tls: Option<PathBuf>,
    pub(super) counts_logs: bool,
    pub(super) engines: Engines,
}

impl NativeStack {
    /// Starts one with nothing special about it.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// Starts one with settings.
    pub fn builder() -> NativeBuilder {
        NativeBuilder {
            services: Stack::builder(),
            overlays: Vec::new(),
            without: Vec::new(),
            alertmanager: None,
            herald: None,
            tls: None,
            counts_logs: false,
            engines: Engines::default(),
        }
    }

    /// `http://ip:port` of a compose address, `prometheus:9090` for example.
    pub fn url(&self, address: &str) -> String {
        self.addresses.url(address)
    }

    /// Where the overlay `filelog.yaml` looks for the output of containers.
    pub fn containers(&self) -> PathBuf {
        self.directory.path().join(CONTAINERS)
    }

    /// Has the blackbox exporter probe another target with a module of `deploy/prometheus/blackbox.yml`.
    pub fn probe(&self, name: &str, target: &str, module: &str) {
        let file = self
            .directory
            .path()
            .join(format!("targets/probes/{name}.json"));
        let probe = json!([{"targets": [target], "labels": {"probe": name, "module": module}}]);
        std::fs::write(file, probe.to_string()).expect("a probe");
    }

    /// Ends a part at once, as a crash would.
    pub async fn kill(&mut self, part: &str) {
        let mut child = self.parts.remove(part).expect("a part that runs");
        child.signal(Signal::SIGKILL);
        child.wait().await;
    }

    /// Freezes or thaws a part.
    pub fn signal(&self, part: &str, signal: Signal) {
        self.parts[part].signal(signal);
    }

    /// Ends a part as an operator would.
    pub async fn terminate(&mut self, part: &str) {
        let mut child = self.parts.remove(part).expect("a part that runs");
        child.terminate().await;
    }

    /// Starts a part that was ended, with the files it had; ready when this returns.
    pub async fn restart(&mut self, part: &'static str) {
        self.start_part(part).await;
        self.ready(part).await;
    }

    /// What a part has written.
    pub fn output(&self, part: &str) -> String {
        self.parts[part].output()
    }

    async fn start_part(&mut self, part: &'static str) {
        let command = &self.commands[part];
        let child = match command.tool {
            OURS => {
                let mut child = omnitrace(&command.arguments);
                let variables = command.environment.iter();
                child.envs(variables.map(|(name, value)| (name, value)));
                Child::spawn(part, child)
            }
            tool => spawn_tool(tool, &command.arguments, &command.environment),
        };
        self.parts.insert(part, child);
    }

    async fn ready(&mut self, part: &'static str) {
        if part == "cassandra" {
            return self.cassandra_listens().await;
        }
        let url = match part {
            "loki" => self.url("console:8000") + "/ready",
            "victorialogs" => self.url("victorialogs:9428") + "/health",
            "victoriametrics" => self.url("victoriametrics:8428") + "/health",
            "probe" => self.url("probe:9080") + "/ready",
            _ => {
                let mut parts = Part::ALL.into_iter();
                let found = parts.find(|known| known.name() == part).expect("a part");
                found.ready_url(&self.addresses)
            }
        };
        let client = http();
        let child = self.parts.get_mut(part).expect("just started");
        eventually(&format!("{part} is ready at {url}"), async || {
            if let Some(status) = child.try_wait() {
                panic!("{part} ended with {status}\n{}", child.output());
            }
            let answer = client.get(&url).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }
}

/// What the compose file's Postgres does when it is first started: its exporter shows the slowest statements.
async fn count_statements(stack: &Stack) {
    use sqlx::Executor;
    let mut connection = stack.database.connect().await;
    connection
        .execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        .await
        .expect("pg_stat_statements (part of PostgreSQL; on Debian in the server's package)");
}

//! The standard stack on this machine, without Docker: real programs, and the files in `deploy/`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::native_config::{Addresses, Config, client_tls, repository};
use super::{Child, Directory, Signal, Stack, StackBuilder, eventually, http, spawn_tool};

/// What a [`NativeStack`] is started with.
pub struct NativeBuilder {
    services: StackBuilder,
    overlays: Vec<&'static str>,
    without: Vec<&'static str>,
    alertmanager: Option<String>,
    herald: Option<String>,
    tls: Option<PathBuf>,
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

    /// As compose.tls.yaml, with the certificates in a directory of deploy/tls/certificates.sh.
    pub fn tls(mut self, certificates: &Path) -> Self {
        self.tls = Some(certificates.to_owned());
        self.overlay("tls.yaml")
    }

    /// Starts everything; each part is ready when this returns.
    pub async fn start(self) -> NativeStack {
        let mut addresses = Addresses::new();
        if let Some(herald) = &self.herald {
            addresses.set("herald:9095", herald);
        }
        let mut collector = addresses.url("collector:4318");
        let mut services = self.services;
        if let Some(certificates) = &self.tls {
            collector = collector.replace("http:", "https:");
            for (variable, path) in client_tls(&certificates.join("gateway")) {
                services = services.env_all(variable, &path);
            }
        }
        let services = services
            .env_all("OTEL_EXPORTER_OTLP_ENDPOINT", &collector)
            .env_all("OTEL_BSP_SCHEDULE_DELAY", "200")
            .env_all("OTEL_BLRP_SCHEDULE_DELAY", "200")
            // As in deploy/compose.yaml: a new exemplar for each scrape.
            .env_all("OMNITRACE_EXEMPLAR_INTERVAL_MS", "5000");
        let stack = services.start().await;
        count_statements(&stack).await;
        addresses.set(
            "gateway:8080",
            stack.url("gateway").trim_start_matches("http://"),
        );
        let mut native = NativeStack {
            stack,
            addresses,
            directory: Directory::new(),
            parts: BTreeMap::new(),
            commands: BTreeMap::new(),
            tls: self.tls,
        };
        native.prepare(&self.overlays, self.alertmanager, self.herald.is_some());
        for part in PARTS {
            if !self.without.contains(&part) {
                native.start_part(part).await;
            }
        }
        for part in PARTS {
            if !self.without.contains(&part) {
                native.ready(part).await;
            }
        }
        native
    }
}

/// Start order: whoever is called is there first.
const PARTS: [&str; 7] = [
    "loki",
    "jaeger",
    "collector",
    "postgres-exporter",
    "blackbox",
    "alertmanager",
    "prometheus",
];

const CONTAINERS: &str = "containers";

struct Command {
    tool: &'static str,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

/// A running stack. Dropped: every process is killed.
pub struct NativeStack {
    /// The three services and their verbs.
    pub stack: Stack,
    /// Where everything is.
    pub addresses: Addresses,
    /// Configurations and data.
    pub directory: Directory,
    parts: BTreeMap<&'static str, Child>,
    commands: BTreeMap<&'static str, Command>,
    tls: Option<PathBuf>,
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
        let child = spawn_tool(command.tool, &command.arguments, &command.environment);
        self.parts.insert(part, child);
    }

    async fn ready(&mut self, part: &'static str) {
        let url = match part {
            "loki" => self.url("loki:3100") + "/ready",
            "jaeger" => self.url("jaeger:13133") + "/status",
            "collector" => self.url("collector:13133") + "/",
            "postgres-exporter" => self.url("postgres-exporter:9187") + "/",
            "blackbox" => self.url("blackbox:9115") + "/-/healthy",
            "alertmanager" => self.url("alertmanager:9093") + "/-/ready",
            _ => self.url("prometheus:9090") + "/-/ready",
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

    fn prepare(&mut self, overlays: &[&str], alertmanager: Option<String>, herald: bool) {
        let directory = self.directory.path().to_owned();
        let commands = [
            ("loki", self.loki(&directory)),
            ("jaeger", self.jaeger(&directory)),
            ("collector", self.collector(&directory, overlays)),
            ("postgres-exporter", self.postgres_exporter()),
            ("blackbox", self.blackbox(&directory)),
            ("alertmanager", self.alertmanager(&directory, alertmanager)),
            ("prometheus", self.prometheus(&directory, herald)),
        ];
        self.commands.extend(commands);
    }

    fn loki(&self, directory: &Path) -> Command {
        let data = subdirectory(directory, "loki-data");
        let config = Config::of("loki/loki.yaml")
            .replace(
                "http_listen_address: 0.0.0.0",
                "http_listen_address: 127.0.0.1",
            )
            .replace(
                "http_listen_port: 3100",
                &format!("http_listen_port: {}", self.addresses.port("loki:3100")),
            )
            .replace(
                "grpc_listen_port: 9096",
                &format!("grpc_listen_port: {}", self.addresses.port("loki:9096")),
            )
            .replace("127.0.0.1:9096", self.addresses.of("loki:9096"))
            .replace(": /loki", &format!(": {data}"));
        command(
            "loki",
            [format!("-config.file={}", config.write(directory))],
        )
    }

    fn jaeger(&self, directory: &Path) -> Command {
        let data = subdirectory(directory, "badger");
        let config = Config::of("jaeger/jaeger.yaml")
            .replace("/badger/", &format!("{data}/"))
            .replace(
                "host: 0.0.0.0\n                port: 8888",
                &self.own_metrics("jaeger:8888"),
            )
            .listen("jaeger", &self.addresses);
        let mut files = vec![config];
        if self.tls.is_some() {
            files.push(Config::of("jaeger/tls.yaml").certificates(self.tls.as_deref(), "jaeger"));
        }
        command("jaeger", config_flags(files, directory))
    }

    fn own_metrics(&self, address: &str) -> String {
        format!(
            "host: 127.0.0.1\n                port: {}",
            self.addresses.port(address)
        )
    }

    fn collector(&self, directory: &Path, overlays: &[&str]) -> Command {
        let data = subdirectory(directory, "otelcol");
        let config = Config::of("collector/collector.yaml")
            .replace("/var/lib/otelcol", &data)
            .replace(
                "host: 0.0.0.0\n                port: 8888",
                &self.own_metrics("collector:8888"),
            )
            .listen("collector", &self.addresses)
            .call(&self.addresses);
        let containers = subdirectory(directory, CONTAINERS);
        let overlays = overlays.iter().map(|file| {
            let config = Config::of(&format!("collector/{file}"))
                .certificates(self.tls.as_deref(), "collector")
                .listen("collector", &self.addresses)
                .call(&self.addresses);
            match *file {
                "filelog.yaml" => config.replace("/var/lib/docker/containers", &containers),
                _ => config,
            }
        });
        let files = std::iter::once(config).chain(overlays);
        command("otelcol", config_flags(files, directory))
    }

    fn postgres_exporter(&self) -> Command {
        let mut command = command(
            "postgres_exporter",
            [
                format!(
                    "--web.listen-address={}",
                    self.addresses.of("postgres-exporter:9187")
                ),
                "--collector.stat_statements".to_owned(),
            ],
        );
        let mut url = url::Url::parse(&self.stack.database.url).expect("database URL");
        url.set_query(Some("sslmode=disable"));
        command
            .environment
            .push(("DATA_SOURCE_NAME".to_owned(), url.into()));
        command
    }

    fn blackbox(&self, directory: &Path) -> Command {
        command(
            "blackbox_exporter",
            [
                format!(
                    "--config.file={}",
                    Config::of("prometheus/blackbox.yml").write(directory)
                ),
                format!(
                    "--web.listen-address={}",
                    self.addresses.of("blackbox:9115")
                ),
            ],
        )
    }

    fn alertmanager(&self, directory: &Path, config: Option<String>) -> Command {
        let path = directory.join("alertmanager.yml");
        let silent = || {
            json!({"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}).to_string()
        };
        std::fs::write(&path, config.unwrap_or_else(silent)).expect("alertmanager.yml");
        command(
            "alertmanager",
            [
                format!("--config.file={}", path.display()),
                format!(
                    "--storage.path={}",
                    subdirectory(directory, "alertmanager-data")
                ),
                format!(
                    "--web.listen-address={}",
                    self.addresses.of("alertmanager:9093")
                ),
                // Alone: no gossip.
                "--cluster.listen-address=".to_owned(),
            ],
        )
    }

    fn prometheus(&self, directory: &Path, herald: bool) -> Command {
        let targets = subdirectory(directory, "targets");
        subdirectory(directory, "targets/load");
        subdirectory(directory, "targets/probes");
        let services = ["gateway", "data", "downstream"].map(|service| {
            let admin = self.stack.admin_url(service);
            json!({"targets": [admin.trim_start_matches("http://")]})
        });
        std::fs::write(
            format!("{targets}/services.json"),
            json!(services).to_string(),
        )
        .expect("targets");
        let rules = repository("alerts/rules/demo.yml");
        // Discovery by DNS becomes discovery by file; Grafana is not here.
        let by_dns = |name: &str, port: &str| {
            format!(
                "    dns_sd_configs:\n      - names: [{name}]\n        type: A\n        port: {port}\n        refresh_interval: 5s\n"
            )
        };
        let mut config = Config::of("prometheus/prometheus.yml")
            .replace(&by_dns("omnitrace-services", "9080"), "")
            .replace("/etc/prometheus/targets", &targets)
            .replace(
                &by_dns("load", "9646"),
                &format!("    file_sd_configs:\n      - files: ['{targets}/load/*.json']\n"),
            )
            .replace(
                "/etc/prometheus/rules.yml",
                rules.to_str().expect("a path of text"),
            )
            .replace("targets: [grafana:3000]", "targets: []");
        if !herald {
            config = config.replace("targets: [herald:9095]", "targets: []");
        }
        let config = config.call(&self.addresses).write(directory);
        command(
            "prometheus",
            [
                format!("--config.file={config}"),
                format!(
                    "--storage.tsdb.path={}",
                    subdirectory(directory, "prometheus-data")
                ),
                format!(
                    "--web.listen-address={}",
                    self.addresses.of("prometheus:9090")
                ),
                "--enable-feature=exemplar-storage".to_owned(),
                // As in deploy/compose.yaml: an alert that fired before Alertmanager was found is not a minute late.
                "--rules.alert.resend-delay=5s".to_owned(),
            ],
        )
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

fn subdirectory(directory: &Path, name: &str) -> String {
    let path = directory.join(name);
    std::fs::create_dir_all(&path).expect("a directory");
    path.display().to_string()
}

fn command(tool: &'static str, arguments: impl IntoIterator<Item = String>) -> Command {
    Command {
        tool,
        arguments: arguments.into_iter().collect(),
        environment: Vec::new(),
    }
}

fn config_flags(files: impl IntoIterator<Item = Config>, directory: &Path) -> Vec<String> {
    let flag = |file: Config| ["--config".to_owned(), file.write(directory)];
    files.into_iter().flat_map(flag).collect()
}

//! How each part of a [`NativeStack`] is started: its arguments, and its file of `deploy/` for this machine.

use std::path::Path;

use serde_json::json;

use super::NativeStack;
use super::native::{CONTAINERS, Command, OURS, PROBE_TOKEN};
use super::native_config::{Config, repository};

/// How often a certificate is read, and how often so that a test can wait for it.
const HOURLY: &str = "reload_interval: 1h";
const SOON: &str = "reload_interval: 1s";

impl NativeStack {
    pub(super) fn prepare(
        &mut self,
        overlays: &[&str],
        alertmanager: Option<String>,
        herald: bool,
    ) {
        let directory = self.directory.path().to_owned();
        let commands = [
            ("loki", self.loki()),
            ("victorialogs", self.victorialogs(&directory)),
            ("jaeger", self.jaeger(&directory)),
            ("collector", self.collector(&directory, overlays)),
            ("postgres-exporter", self.postgres_exporter()),
            ("blackbox", self.blackbox(&directory)),
            ("probe", self.probe_of_gateway()),
            ("alertmanager", self.alertmanager(&directory, alertmanager)),
            ("prometheus", self.prometheus(&directory, herald)),
        ];
        self.commands.extend(commands);
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
            let config = Config::of("jaeger/tls.yaml").replace(HOURLY, SOON);
            files.push(config.certificates(self.tls.as_deref(), "jaeger"));
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
        let second = self.counts_logs.then(|| self.second_exporter(overlays));
        let overlays = overlays.iter().map(|file| {
            let config = Config::of(&format!("collector/{file}"))
                .certificates(self.tls.as_deref(), "collector")
                .listen("collector", &self.addresses)
                .call(&self.addresses);
            match *file {
                "filelog.yaml" => config.replace("/var/lib/docker/containers", &containers),
                "tls.yaml" => config.replace(HOURLY, SOON),
                _ => config,
            }
        });
        let files = std::iter::once(config).chain(overlays).chain(second);
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
        let config = match &self.tls {
            None => Config::of("prometheus/blackbox.yml"),
            Some(made) => {
                let made = made.join("blackbox/blackbox.yml");
                let text = std::fs::read_to_string(made).expect("made by certificates.sh");
                Config::made("blackbox.yml", text).certificates(self.tls.as_deref(), "blackbox")
            }
        };
        command(
            "blackbox_exporter",
            [
                format!("--config.file={}", config.write(directory)),
                format!(
                    "--web.listen-address={}",
                    self.addresses.of("blackbox:9115")
                ),
            ],
        )
    }

    fn probe_of_gateway(&self) -> Command {
        let mut command = command(OURS, ["probe".to_owned()]);
        let set = [
            ("OMNITRACE_HTTP_ADDR", "127.0.0.1:0".to_owned()),
            (
                "OMNITRACE_ADMIN_ADDR",
                self.addresses.of("probe:9080").to_owned(),
            ),
            ("OMNITRACE_PROBE_TOKEN", PROBE_TOKEN.to_owned()),
            ("OMNITRACE_PROBE_INTERVAL_MS", "5000".to_owned()),
            ("GATEWAY_URL", self.stack.url("gateway")),
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                self.addresses.url("collector:4318"),
            ),
        ];
        let set = set.into_iter();
        command.environment = set.map(|(name, value)| (name.to_owned(), value)).collect();
        command
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
        let admin = ["gateway", "data", "downstream"].map(|service| self.stack.admin_url(service));
        let admin = admin.iter().map(|url| url.trim_start_matches("http://"));
        let services: Vec<&str> = admin.chain([self.addresses.of("probe:9080")]).collect();
        std::fs::write(
            format!("{targets}/services.json"),
            json!([{"targets": services}]).to_string(),
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

pub(super) fn subdirectory(directory: &Path, name: &str) -> String {
    let path = directory.join(name);
    std::fs::create_dir_all(&path).expect("a directory");
    path.display().to_string()
}

pub(super) fn command(tool: &'static str, arguments: impl IntoIterator<Item = String>) -> Command {
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

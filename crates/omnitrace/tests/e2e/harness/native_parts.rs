//! How each part of a [`NativeStack`] is started, and what differs from the files of `deploy/`: certificates that tests wait
//! for, a second log store, an Alertmanager that tells nobody.

use std::collections::BTreeMap;

use serde_json::json;
use standard::{Config, Deployment, Part};

use super::NativeStack;
use super::native::{CONTAINERS, Command, OURS, PROBE_TOKEN};
use super::native_config::{certified, config, deploy, repository};

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
        let deploy = deploy();
        let directory = self.directory.path();
        let variables = self.engine_variables();
        let deployment = Deployment::new(&deploy, directory, &self.addresses, variables);
        let deployment = deployment.expect("the files of deploy/");
        self.name_targets(&deployment);
        let mut commands = vec![
            ("loki", self.loki()),
            ("victorialogs", self.victorialogs(&deployment)),
            ("victoriametrics", self.victoriametrics(&deployment)),
            ("cassandra", self.cassandra(&deployment)),
            ("probe", self.probe_of_gateway()),
        ];
        for part in Part::ALL {
            let made = match part {
                Part::Jaeger => deployment.jaeger(self.jaeger_overlays(&deployment)),
                Part::Collector => {
                    deployment.collector(self.collector_overlays(&deployment, overlays))
                }
                Part::PostgresExporter => {
                    deployment.postgres_exporter(&self.stack.database.url, true)
                }
                Part::Blackbox => deployment.blackbox(self.certificates_of_blackbox()),
                Part::Alertmanager => {
                    deployment.alertmanager(alertmanager.clone().unwrap_or_else(silent))
                }
                Part::Prometheus => {
                    deployment.prometheus(&repository("alerts/rules/demo.yml"), herald)
                }
            };
            let standard::Command {
                arguments,
                mut environment,
            } = made.expect("the files of deploy/");
            if part == Part::Jaeger {
                environment.extend(self.of_cassandra());
            }
            let tool = part.tool();
            commands.push((
                part.name(),
                Command {
                    tool,
                    arguments,
                    environment,
                },
            ));
        }
        self.commands.extend(commands);
    }

    fn jaeger_overlays(&self, deployment: &Deployment<'_>) -> Vec<Config> {
        let tls = self.tls.as_deref().map(|certificates| {
            let config = config("jaeger/tls.yaml").replace(HOURLY, SOON);
            certified(config.expect("tls.yaml"), Some(certificates), "jaeger")
        });
        std::iter::once(self.store_of_traces(deployment))
            .chain(tls)
            .collect()
    }

    fn collector_overlays(&self, deployment: &Deployment<'_>, overlays: &[&str]) -> Vec<Config> {
        let containers = deployment.subdirectory(CONTAINERS).expect("a directory");
        let second = self.counts_logs.then(|| self.second_exporter(overlays));
        let overlays = overlays.iter().map(|file| {
            let config = deployment.config(&format!("collector/{file}"), "collector");
            let config = certified(config.expect(file), self.tls.as_deref(), "collector");
            let config = match *file {
                "filelog.yaml" => config.replace("/var/lib/docker/containers", &containers),
                "tls.yaml" => config.replace(HOURLY, SOON),
                _ => Ok(config),
            };
            config.expect(file)
        });
        overlays.chain(second).collect()
    }

    fn certificates_of_blackbox(&self) -> Option<Config> {
        let certificates = self.tls.as_deref()?;
        let made = certificates.join("blackbox/blackbox.yml");
        let text = std::fs::read_to_string(made).expect("made by certificates.sh");
        let config = Config::made("blackbox.yml", text);
        Some(certified(config, Some(certificates), "blackbox"))
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

    /// Tells Prometheus of the services and their probe.
    fn name_targets(&self, deployment: &Deployment<'_>) {
        let admin = ["gateway", "data", "downstream"].map(|service| self.stack.admin_url(service));
        let admin = admin.iter().map(|url| url.trim_start_matches("http://"));
        let services: Vec<&str> = admin.chain([self.addresses.of("probe:9080")]).collect();
        let targets = deployment.targets().expect("a directory");
        let named = json!([{"targets": services}]).to_string();
        std::fs::write(format!("{targets}/services.json"), named).expect("targets");
    }
}

/// Alertmanager's configuration that sends nothing.
fn silent() -> String {
    json!({"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}).to_string()
}

pub(super) fn command(tool: &'static str, arguments: impl IntoIterator<Item = String>) -> Command {
    Command {
        tool,
        arguments: arguments.into_iter().collect(),
        environment: Vec::new(),
    }
}

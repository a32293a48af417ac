//! The command of each part, and its configuration for this machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::compose::Compose;
use crate::config::local;
use crate::{Addresses, Command, Config, Part};

/// The files of `deploy/`, and where they go.
pub struct Deployment<'a> {
    deploy: &'a Path,
    directory: &'a Path,
    addresses: &'a Addresses,
    compose: Compose,
}

impl<'a> Deployment<'a> {
    /// `directory` gets the configurations and data. `variables` are those of `compose.yaml` that are set.
    ///
    /// # Errors
    /// A file cannot be read, or the configurations cannot hold the path of `directory`.
    pub fn new(
        deploy: &'a Path,
        directory: &'a Path,
        addresses: &'a Addresses,
        mut variables: BTreeMap<String, String>,
    ) -> Result<Self> {
        check_path(directory)?;
        for (variable, address) in [
            ("PROMETHEUS_PORT", "prometheus:9090"),
            ("ALERTMANAGER_PORT", "alertmanager:9093"),
        ] {
            variables.insert(variable.to_owned(), addresses.port(address).to_owned());
        }
        Ok(Self {
            deploy,
            directory,
            addresses,
            compose: Compose::read(deploy, variables)?,
        })
    }

    /// Variables by which the services send their telemetry to the collector.
    ///
    /// # Errors
    /// `compose.yaml` has none.
    pub fn telemetry(&self) -> Result<Vec<(String, String)>> {
        let variables = self.compose.telemetry()?.into_iter();
        Ok(variables
            .map(|(name, value)| (name, local(&value, self.addresses)))
            .collect())
    }

    /// A file of `deploy/` for a part that listens and calls.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn config(&self, name: &str, host: &str) -> Result<Config> {
        let config = Config::read(self.deploy, name)?;
        Ok(config.listen(host, self.addresses).call(self.addresses))
    }

    /// Jaeger, which stores where the first of the `overlays` says: [`Deployment::badger`], or another file of `deploy/jaeger`.
    ///
    /// # Errors
    /// A file cannot be read, written or understood; so of all the following.
    pub fn jaeger(&self, overlays: Vec<Config>) -> Result<Command> {
        let config = Config::read(self.deploy, "jaeger/jaeger.yaml")?
            .own_metrics(self.addresses.of("jaeger:8888"))?
            .listen("jaeger", self.addresses);
        self.configured(Part::Jaeger, config, overlays)
    }

    /// Jaeger's store on disk.
    ///
    /// # Errors
    /// As [`Deployment::jaeger`].
    pub fn badger(&self) -> Result<Config> {
        let directory = self.subdirectory("badger")?;
        Config::read(self.deploy, "jaeger/badger.yaml")?
            .replace("/badger/", &format!("{directory}/"))
    }

    /// The collector, with its queues on disk. `overlays` are further configurations.
    ///
    /// # Errors
    /// As [`Deployment::jaeger`].
    pub fn collector(&self, overlays: Vec<Config>) -> Result<Command> {
        let config = Config::read(self.deploy, "collector/collector.yaml")?
            .own_metrics(self.addresses.of("collector:8888"))?
            .replace("/var/lib/otelcol", &self.subdirectory("otelcol")?)?
            .listen("collector", self.addresses)
            .call(self.addresses);
        self.configured(Part::Collector, config, overlays)
    }

    /// The first of two tiers of collectors. The instances of the second are at the addresses of the name `host`.
    ///
    /// # Errors
    /// As [`Deployment::jaeger`].
    pub fn first_tier(&self, host: &str, port: &str) -> Result<Command> {
        let config = self
            .config("collector/tier1.yaml", "collector")?
            .own_metrics(self.addresses.of("collector:8888"))?;
        let environment = [
            ("OMNITRACE_TIER2_HOST", host),
            ("OMNITRACE_TIER2_PORT", port),
        ];
        Ok(Command {
            arguments: vec!["--config".to_owned(), config.write(self.directory)?],
            environment: environment
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        })
    }

    /// The exporter of Postgres's metrics. Without `counts_statements` the database lacks the extension
    /// `pg_stat_statements`.
    ///
    /// # Errors
    /// As [`Deployment::jaeger`], and a URL that is none.
    pub fn postgres_exporter(&self, database: &str, counts_statements: bool) -> Result<Command> {
        let part = Part::PostgresExporter;
        let mut arguments = self.compose.arguments(part.name(), &[])?;
        arguments.retain(|argument| counts_statements || !argument.contains("stat_statements"));
        arguments.push(self.listen_address(part));
        // The driver's error could repeat the password.
        let mut url = url::Url::parse(database)
            .ok()
            .context("DATABASE_URL: not a URL")?;
        // The exporter's driver does not know the other modes, and refuses parameters that it does not know.
        let secure = ["require", "verify-ca", "verify-full"];
        let mode = url
            .query_pairs()
            .find(|(name, value)| name == "sslmode" && secure.contains(&value.as_ref()))
            .map_or("disable".to_owned(), |(_, value)| value.into_owned());
        url.set_query(Some(&format!("sslmode={mode}")));
        Ok(Command {
            arguments,
            environment: vec![("DATA_SOURCE_NAME".to_owned(), url.into())],
        })
    }

    /// The blackbox exporter, with another configuration than that of `deploy/` if there is one.
    ///
    /// # Errors
    /// As [`Deployment::jaeger`].
    pub fn blackbox(&self, other: Option<Config>) -> Result<Command> {
        let config = match other {
            Some(config) => config,
            None => Config::read(self.deploy, "prometheus/blackbox.yml")?,
        };
        let config = config.write(self.directory)?;
        let places = [("/etc/blackbox/blackbox.yml", config)];
        self.listening(Part::Blackbox, &places, Vec::new())
    }

    /// Alertmanager with this configuration.
    ///
    /// # Errors
    /// As [`Deployment::jaeger`].
    pub fn alertmanager(&self, config: String) -> Result<Command> {
        let config = Config::made("alertmanager.yml", config).write(self.directory)?;
        let places = [
            ("/etc/alertmanager/alertmanager.yml", config),
            ("/alertmanager", self.subdirectory("alertmanager-data")?),
        ];
        self.listening(Part::Alertmanager, &places, Vec::new())
    }

    /// Prometheus with the rules of a file. Services are what the files `*.json` of [`Deployment::targets`] name. Without
    /// `herald` none is scraped. With the variable `REMOTE_WRITE_URL` it sends every sample there, too.
    ///
    /// # Errors
    /// As [`Deployment::jaeger`].
    pub fn prometheus(&self, rules: &Path, herald: bool) -> Result<Command> {
        check_path(rules)?;
        let targets = self.targets()?;
        let load = format!("    file_sd_configs:\n      - files: ['{targets}/load/*.json']\n");
        // Discovery by DNS becomes discovery by file; there is no Grafana.
        let mut config = Config::read(self.deploy, "prometheus/prometheus.yml")?
            .replace(&by_dns("omnitrace-services", "9080"), "")?
            .replace("/etc/prometheus/targets", &targets)?
            .replace(&by_dns("load", "9646"), &load)?
            .replace("/etc/prometheus/rules.yml", &rules.display().to_string())?
            .replace("targets: [grafana:3000]", "targets: []")?;
        if !herald {
            config = config.replace("targets: [herald:9095]", "targets: []")?;
        }
        config = config.call(self.addresses);
        if let Some(url) = self.compose.variable("REMOTE_WRITE_URL") {
            let remote_write = Config::read(self.deploy, "prometheus/remote-write.yml")?;
            // As compose.remote-write.yaml does it.
            let text = format!("{}{}    url: {url:?}\n", config.text(), remote_write.text());
            config = Config::made("prometheus/prometheus.yml", text);
        }
        let places = [
            (
                "/etc/prometheus/prometheus.yml",
                config.write(self.directory)?,
            ),
            ("/prometheus", self.subdirectory("prometheus-data")?),
        ];
        let environment = self.compose.environment(Part::Prometheus.name())?;
        self.listening(Part::Prometheus, &places, environment)
    }

    /// The directory of Prometheus's targets. Its subdirectories `load` and `probes` are for a load test and for targets of
    /// the blackbox exporter.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn targets(&self) -> Result<String> {
        for directory in ["targets/load", "targets/probes"] {
            self.subdirectory(directory)?;
        }
        self.subdirectory("targets")
    }

    /// A directory for data, made if it is missing.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn subdirectory(&self, name: &str) -> Result<String> {
        let path = self.directory.join(name);
        std::fs::create_dir_all(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path.display().to_string())
    }

    /// A program that takes nothing but configurations.
    fn configured(&self, part: Part, config: Config, overlays: Vec<Config>) -> Result<Command> {
        let mut arguments = Vec::new();
        for config in std::iter::once(config).chain(overlays) {
            arguments.extend(["--config".to_owned(), config.write(self.directory)?]);
        }
        let environment = self.compose.environment(part.name())?;
        Ok(Command {
            arguments,
            environment,
        })
    }

    /// A program with the arguments of `compose.yaml`.
    fn listening(
        &self,
        part: Part,
        places: &[(&str, String)],
        environment: Vec<(String, String)>,
    ) -> Result<Command> {
        let mut arguments = self.compose.arguments(part.name(), places)?;
        arguments.push(self.listen_address(part));
        Ok(Command {
            arguments,
            environment,
        })
    }

    fn listen_address(&self, part: Part) -> String {
        let address = self.addresses.of(part.address());
        format!("--web.listen-address={address}")
    }
}

fn by_dns(name: &str, port: &str) -> String {
    format!(
        "    dns_sd_configs:\n      - names: [{name}]\n        type: A\n        port: {port}\n        refresh_interval: 5s\n"
    )
}

/// Whether the configurations can hold a path: they have no quotes around it, and expand variables in it.
///
/// # Errors
/// They cannot; the error says which characters are allowed.
pub fn check_path(path: &Path) -> Result<()> {
    let plain = |c: char| c.is_alphanumeric() || "/._-+@".contains(c);
    match path.to_str() {
        Some(text) if text.chars().all(plain) => Ok(()),
        _ => bail!(
            "{}: the files of the standard stack cannot hold this path; allowed are letters, digits and /._-+@",
            path.display()
        ),
    }
}

/// The directory `deploy` of a checkout: the given one, or that of `start` or of a directory above it.
///
/// # Errors
/// There is none; the error says how to name one.
pub fn find_deploy(given: Option<&Path>, start: &Path) -> Result<PathBuf> {
    let is_there = |deploy: &Path| deploy.join("compose.yaml").is_file();
    if let Some(given) = given {
        if !is_there(given) {
            bail!(
                "--deploy {}: no compose.yaml in it; name the directory deploy of a checkout",
                given.display()
            );
        }
        return Ok(given.canonicalize()?);
    }
    let found = start.ancestors().map(|above| above.join("deploy"));
    found.into_iter().find(|deploy| is_there(deploy)).with_context(|| {
        format!(
            "no deploy/compose.yaml in {} or above it: run this in a checkout, or name its directory deploy with --deploy DIR",
            start.display()
        )
    })
}

//! Options of `omnitrace doctor`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::backend_tls::BackendTlsArgs;
use crate::up::state::State;
use crate::values::{base_url, duration};

/// Text of `omnitrace help doctor`.
pub const ABOUT: &str = "\
Send one order through the gateway and follow it through every backend: its trace in Jaeger, its log lines in Loki, its \
request and an exemplar in Prometheus, the rules, the scrape targets, Alertmanager, and Grafana's data sources. It prints one line \
per path; a line about a failure says what to look at. Without any URL it asks the stack in --data-dir: the console in place of Jaeger, Loki and \
Prometheus, and herald must be ready; or the parts of `up --standard`. With URLs, a backend without a URL is shown as absent, which is a failure only if --require names it; at least \
one backend is needed.";

/// Examples of `omnitrace help doctor`.
pub const EXAMPLES: &str = "\
Examples:
  omnitrace doctor                                      the stack of `omnitrace up`
  omnitrace doctor --gateway-url http://127.0.0.1:8080 --prometheus-url http://127.0.0.1:9090 \\
      --jaeger-url http://127.0.0.1:16686
  omnitrace doctor --require grafana,loki --timeout 3m
  omnitrace doctor --json | jq '.paths[] | select(.state == \"fail\")'
  omnitrace doctor --preflight                          can the stack be started on this machine?";

/// `omnitrace doctor`.
#[derive(Debug, Clone, Args)]
pub struct DoctorArgs {
    /// Directory of the running stack, which is asked if no URL is given
    #[arg(long, value_name = "DIR", default_value = ".omnitrace")]
    pub data_dir: PathBuf,
    /// The public API, where the probe order is sent [default: http://127.0.0.1:8080 if a backend's URL is given]
    #[arg(long, value_name = "URL", env = "GATEWAY_URL", value_parser = base_url)]
    pub gateway_url: Option<String>,
    /// Prometheus
    #[arg(long, value_name = "URL", env = "PROMETHEUS_URL", value_parser = base_url)]
    pub prometheus_url: Option<String>,
    /// Jaeger's query API
    #[arg(long, value_name = "URL", env = "JAEGER_URL", value_parser = base_url)]
    pub jaeger_url: Option<String>,
    /// Loki
    #[arg(long, value_name = "URL", env = "LOKI_URL", value_parser = base_url)]
    pub loki_url: Option<String>,
    /// Alertmanager
    #[arg(long, value_name = "URL", env = "ALERTMANAGER_URL", value_parser = base_url)]
    pub alertmanager_url: Option<String>,
    /// The collector's health check
    #[arg(long, value_name = "URL", env = "COLLECTOR_URL", value_parser = base_url)]
    pub collector_url: Option<String>,
    /// Grafana
    #[arg(long, value_name = "URL", env = "GRAFANA_URL", value_parser = base_url)]
    pub grafana_url: Option<String>,
    /// Grafana's user
    #[arg(
        long,
        value_name = "NAME",
        env = "GRAFANA_USER",
        default_value = "admin"
    )]
    pub grafana_user: String,
    /// Grafana's password; without one its data sources are not asked
    #[arg(
        long,
        value_name = "TEXT",
        env = "GRAFANA_PASSWORD",
        hide_env_values = true
    )]
    pub grafana_password: Option<String>,
    /// Certificates for `https://` addresses
    #[command(flatten)]
    pub tls: BackendTlsArgs,
    /// Backends that must not be absent
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub require: Vec<Backend>,
    /// No backend may be absent
    #[arg(long)]
    pub require_all: bool,
    /// Longest time for the whole run, including the wait until data become visible
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub timeout: Duration,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Only check ports, memory and disk, before the stack is started
    #[arg(long)]
    pub preflight: bool,
    /// With --preflight: ports of 127.0.0.1 that will be published
    #[arg(long, value_name = "PORTS", value_delimiter = ',', default_values_t = [3000, 8080, 16686, 9090, 9093, 4317, 4318])]
    pub ports: Vec<u16>,
    /// With --preflight: the stack runs already, so its ports are in use
    #[arg(long)]
    pub skip_ports: bool,
    /// With --preflight: directory of images and volumes
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub disk_path: PathBuf,
}

/// A part of the stack that the doctor asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// Metrics and rules.
    Prometheus,
    /// Traces.
    Jaeger,
    /// Logs.
    Loki,
    /// Notifications.
    Alertmanager,
    /// The collector.
    Collector,
    /// Dashboards.
    Grafana,
    /// Takes the console's alerts; asked in a stack of `omnitrace up` only.
    #[value(skip)]
    Herald,
}

impl Backend {
    /// The backends that an option can name.
    pub const ALL: [Self; 6] = [
        Self::Prometheus,
        Self::Jaeger,
        Self::Loki,
        Self::Alertmanager,
        Self::Collector,
        Self::Grafana,
    ];

    /// The name in options and output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prometheus => "Prometheus",
            Self::Jaeger => "Jaeger",
            Self::Loki => "Loki",
            Self::Alertmanager => "Alertmanager",
            Self::Collector => "collector",
            Self::Grafana => "Grafana",
            Self::Herald => "herald",
        }
    }

    /// The variable that names it.
    pub fn variable(self) -> &'static str {
        match self {
            Self::Prometheus => "PROMETHEUS_URL",
            Self::Jaeger => "JAEGER_URL",
            Self::Loki => "LOKI_URL",
            Self::Alertmanager => "ALERTMANAGER_URL",
            Self::Collector => "COLLECTOR_URL",
            Self::Grafana => "GRAFANA_URL",
            Self::Herald => "HERALD_URL",
        }
    }
}

impl DoctorArgs {
    /// The URL of a backend, if one was given.
    fn url(&self, backend: Backend) -> Option<&String> {
        match backend {
            Backend::Prometheus => self.prometheus_url.as_ref(),
            Backend::Jaeger => self.jaeger_url.as_ref(),
            Backend::Loki => self.loki_url.as_ref(),
            Backend::Alertmanager => self.alertmanager_url.as_ref(),
            Backend::Collector => self.collector_url.as_ref(),
            Backend::Grafana => self.grafana_url.as_ref(),
            Backend::Herald => None,
        }
    }

    /// Whether its absence is a failure.
    pub fn requires(&self, backend: Backend) -> bool {
        self.require_all || self.require.contains(&backend)
    }

    /// The URLs that were given, or, if none was given, those of the stack that runs in `data_dir`.
    pub fn places(&self) -> Result<Places> {
        let given = |backend| Some((backend, self.url(backend)?.clone()));
        let backends: Vec<(Backend, String)> = Backend::ALL.into_iter().filter_map(given).collect();
        match (&self.gateway_url, backends.is_empty()) {
            (None, true) => self.of_running_stack(),
            (gateway, _) => Ok(Places {
                gateway: gateway
                    .clone()
                    .unwrap_or_else(|| DEFAULT_GATEWAY.to_owned()),
                backends,
                is_console: false,
                instances: Vec::new(),
            }),
        }
    }

    fn of_running_stack(&self) -> Result<Places> {
        Places::of(&State::running(&self.data_dir).context("no URL is given")?)
    }
}

const DEFAULT_GATEWAY: &str = "http://127.0.0.1:8080";

/// The backends that the console replaces.
const CONSOLE: [Backend; 3] = [Backend::Prometheus, Backend::Jaeger, Backend::Loki];

/// The parts of `up --standard` that are backends, beside the collector.
const STANDARD: [(Backend, &str); 4] = [
    (Backend::Prometheus, "prometheus"),
    (Backend::Jaeger, "jaeger"),
    (Backend::Loki, "loki"),
    (Backend::Alertmanager, "alertmanager"),
];

/// The addresses that the doctor checks.
#[derive(Debug, Clone)]
pub struct Places {
    /// The public API.
    pub gateway: String,
    /// Backends and their URLs.
    pub backends: Vec<(Backend, String)>,
    /// The backends are the console of the running stack, which has no others.
    pub is_console: bool,
    /// `instance` of each target that the console must have.
    pub instances: Vec<String>,
}

impl Places {
    /// Those of a stack of `up`.
    ///
    /// # Errors
    /// It has only just begun to start.
    pub fn of(state: &State) -> Result<Self> {
        let starting = "the stack has only just begun to start; try again";
        let gateway = state.url("gateway").context(starting)?;
        let mut backends = Vec::new();
        let console = state.url("console");
        if let Some(console) = console {
            backends.extend(CONSOLE.map(|backend| (backend, console.to_owned())));
            let herald = state.url("herald").context(starting)?;
            backends.push((Backend::Herald, herald.to_owned()));
        }
        let of_standard = |(backend, part)| Some((backend, state.url(part)?.to_owned()));
        backends.extend(STANDARD.into_iter().filter_map(of_standard));
        let collector = state.part("collector");
        let health = collector.and_then(|part| part.ready_url.as_deref());
        let health = health.map(|url| (Backend::Collector, url.trim_end_matches('/').to_owned()));
        backends.extend(health);
        Ok(Self {
            gateway: gateway.to_owned(),
            is_console: console.is_some(),
            backends,
            instances: state.instances(),
        })
    }

    /// The URL of a backend, if it has one.
    pub fn url(&self, backend: Backend) -> Option<&str> {
        let mut backends = self.backends.iter();
        let (_, url) = backends.find(|(known, _)| *known == backend)?;
        Some(url)
    }
}

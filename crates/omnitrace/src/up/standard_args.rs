//! Options of `omnitrace up` about the standard stack.

use std::path::PathBuf;

use clap::Args;

/// The standard stack in place of the console.
#[derive(Debug, Args)]
#[command(next_help_heading = "The standard stack without Docker (ports: 0 is any free one)")]
pub struct StandardArgs {
    /// Start OpenTelemetry Collector, Jaeger, Prometheus and Alertmanager with the files of deploy/, in place of the console
    #[arg(long, conflicts_with = "no_console")]
    pub standard: bool,
    /// Directory deploy of a checkout [default: that of the current directory or above]
    #[arg(long, value_name = "DIR", requires = "standard")]
    pub deploy: Option<PathBuf>,
    #[command(flatten)]
    pub ports: StandardPorts,
}

/// Preferred ports.
#[derive(Debug, Args)]
#[group(id = "standard_ports", requires = "standard")]
pub struct StandardPorts {
    /// Jaeger: web page and query API
    #[arg(long, value_name = "PORT", default_value_t = 16686)]
    jaeger_port: u16,
    /// Prometheus
    #[arg(long, value_name = "PORT", default_value_t = 9090)]
    prometheus_port: u16,
    /// Alertmanager
    #[arg(long, value_name = "PORT", default_value_t = 9093)]
    alertmanager_port: u16,
    /// The console in Loki's place
    #[arg(long, value_name = "PORT", default_value_t = 3100)]
    loki_port: u16,
    /// Blackbox exporter
    #[arg(long, value_name = "PORT", default_value_t = 9115)]
    blackbox_port: u16,
    /// Exporter of Postgres's metrics
    #[arg(long, value_name = "PORT", default_value_t = 9187)]
    postgres_exporter_port: u16,
}

impl StandardPorts {
    /// The ports with their flags, and the addresses of the Compose network that they stand for. All other addresses, without
    /// the collector's of OTLP, are for the parts only.
    pub fn all(&self) -> [(&'static str, &'static str, u16); 6] {
        [
            ("--jaeger-port", "jaeger:16686", self.jaeger_port),
            ("--prometheus-port", "prometheus:9090", self.prometheus_port),
            (
                "--alertmanager-port",
                "alertmanager:9093",
                self.alertmanager_port,
            ),
            ("--loki-port", "loki:3100", self.loki_port),
            ("--blackbox-port", "blackbox:9115", self.blackbox_port),
            (
                "--postgres-exporter-port",
                "postgres-exporter:9187",
                self.postgres_exporter_port,
            ),
        ]
    }
}

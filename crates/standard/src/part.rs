//! The parts whose program is not ours.

use crate::Addresses;

/// A part of the standard stack, in start order: a part that others call starts before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Traces.
    Jaeger,
    /// Takes OTLP from the services.
    Collector,
    /// Metrics of Postgres.
    PostgresExporter,
    /// Requests from outside.
    Blackbox,
    /// Routes alerts to their receivers.
    Alertmanager,
    /// Metrics and rules.
    Prometheus,
}

/// What differs between the parts.
struct Description {
    name: &'static str,
    tool: &'static str,
    /// The address that people and other parts call.
    address: &'static str,
    /// The address and path that answer with 200 when it is ready.
    ready: (&'static str, &'static str),
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Jaeger,
        Self::Collector,
        Self::PostgresExporter,
        Self::Blackbox,
        Self::Alertmanager,
        Self::Prometheus,
    ];

    fn description(self) -> Description {
        let of = |name, tool, address, ready| Description {
            name,
            tool,
            address,
            ready,
        };
        match self {
            Self::Jaeger => of(
                "jaeger",
                "jaeger",
                "jaeger:16686",
                ("jaeger:13133", "/status"),
            ),
            Self::Collector => of(
                "collector",
                "otelcol",
                "collector:4318",
                ("collector:13133", "/"),
            ),
            Self::PostgresExporter => of(
                "postgres-exporter",
                "postgres_exporter",
                "postgres-exporter:9187",
                ("postgres-exporter:9187", "/"),
            ),
            Self::Blackbox => of(
                "blackbox",
                "blackbox_exporter",
                "blackbox:9115",
                ("blackbox:9115", "/-/healthy"),
            ),
            Self::Alertmanager => of(
                "alertmanager",
                "alertmanager",
                "alertmanager:9093",
                ("alertmanager:9093", "/-/ready"),
            ),
            Self::Prometheus => of(
                "prometheus",
                "prometheus",
                "prometheus:9090",
                ("prometheus:9090", "/-/ready"),
            ),
        }
    }

    /// Its name in `deploy/compose.yaml`.
    pub fn name(self) -> &'static str {
        self.description().name
    }

    /// Its program, as [`crate::Tools`] knows it.
    pub fn tool(self) -> &'static str {
        self.description().tool
    }

    /// The address that people and other parts call.
    pub fn address(self) -> &'static str {
        self.description().address
    }

    /// A 200 from here means "ready".
    pub fn ready_url(self, addresses: &Addresses) -> String {
        let (address, path) = self.description().ready;
        addresses.url(address) + path
    }
}

/// How a part's program is started.
#[derive(Debug, Clone)]
pub struct Command {
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its environment.
    pub environment: Vec<(String, String)>,
}

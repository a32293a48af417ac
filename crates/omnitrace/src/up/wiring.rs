//! Arguments and environment of each child.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;

use super::child::Launch;
use super::embedded::Otlp;
use super::inherited::Unused;
use super::replicas::service_of;
use super::{balancer, state};
use crate::cli::UpArgs;
use crate::environment;

/// Addresses of the parts that a service talks to, as far as they are started.
#[derive(Debug, Default)]
pub struct Peers {
    /// The destination of OTLP: the console, or another collector; `None` if the variables set everything.
    pub otlp: Option<String>,
    /// Variables by which `deploy/` sends telemetry to the collector.
    pub of_deploy: Vec<(String, String)>,
    /// The caller's variables that the services do not get.
    pub unused: Vec<Unused>,
    /// `DATABASE_URL` of data.
    pub database: String,
    /// URL of downstream.
    pub downstream: String,
    /// URL of data.
    pub data: String,
    /// URL of the gateway.
    pub gateway: String,
    /// The token that marks the probe's requests.
    pub probe_token: String,
}

/// A secret token: a caller who knows it can mark requests as the probe's.
pub fn probe_token() -> Result<String> {
    let given = environment::text("OMNITRACE_PROBE_TOKEN")?;
    Ok(given.unwrap_or_else(|| uuid::Uuid::new_v4().simple().to_string()))
}

/// A role that sends telemetry. What `up` waits for has to pass its log filter, which are the lines of `needed`.
fn reporting(name: &'static str, needed: &str, peers: &Peers, args: &UpArgs) -> Result<Launch> {
    let mut launch = Launch {
        arguments: vec![name.into()],
        ..Launch::default()
    };
    let set = &mut launch.environment;
    // `up` reads these lines, whatever a terminal would show.
    set.push(("OMNITRACE_LOG_FORMAT", "json".to_owned()));
    set.push(("OTEL_SERVICE_NAME", name.to_owned()));
    // An order should be visible soon after it was placed; the specification's 5 s are for production.
    for delay in ["OTEL_BSP_SCHEDULE_DELAY", "OTEL_BLRP_SCHEDULE_DELAY"] {
        if !args.no_console || environment::text(delay)?.is_none() {
            set.push((delay, "500".to_owned()));
        }
    }
    if let Some(filter) = environment::text("RUST_LOG")? {
        set.push(("RUST_LOG", format!("{filter},{needed}")));
    }
    let unused = peers.unused.iter().map(|unused| unused.name.clone());
    launch.removed.extend(unused);
    launch.of_deploy.clone_from(&peers.of_deploy);
    if let Some(otlp) = &peers.otlp {
        set.push(("OTEL_EXPORTER_OTLP_ENDPOINT", otlp.clone()));
    }
    Ok(launch)
}

/// An instance of a service: gateway, data, downstream or probe.
pub fn service(
    part: &'static str,
    http: SocketAddr,
    admin: SocketAddr,
    peers: &Peers,
    args: &UpArgs,
) -> Result<Launch> {
    let name = service_of(part);
    // The line `listening`, and that of the probe order.
    let needed = match args.no_console {
        true => "service::run=info",
        false => "service::run=info,gateway::handlers=info",
    };
    let mut launch = reporting(name, needed, peers, args)?;
    let set = &mut launch.environment;
    set.push(("OMNITRACE_HTTP_ADDR", http.to_string()));
    set.push(("OMNITRACE_ADMIN_ADDR", admin.to_string()));
    set.push(("OMNITRACE_PROBE_TOKEN", peers.probe_token.clone()));
    if args.replicas.count(name) > 1 {
        let delay = balancer::DRAIN_DELAY.as_millis().to_string();
        set.push(("OMNITRACE_DRAIN_DELAY_MS", delay));
    }
    match name {
        "data" => {
            set.push(("DATABASE_URL", peers.database.clone()));
            set.push(("DOWNSTREAM_URL", peers.downstream.clone()));
        }
        "probe" => set.push(("GATEWAY_URL", peers.gateway.clone())),
        _ => {}
    }
    if name != "data" {
        launch.removed.push("DATABASE_URL".to_owned());
    }
    if name == "gateway" {
        set.push(("DATA_URL", peers.data.clone()));
    } else {
        // The variable concerns external callers: the services trust each other.
        launch.removed.push("OMNITRACE_TRUST_CALLERS".to_owned());
    }
    Ok(launch)
}

/// The console, which posts alerts to herald as soon as that listens.
pub fn console(
    listen: SocketAddr,
    otlp: &[Otlp; 2],
    data_dir: &Path,
    herald: SocketAddr,
    args: &UpArgs,
) -> Launch {
    let mut launch = Launch {
        arguments: vec![
            "console".into(),
            "--listen".into(),
            listen.to_string().into(),
        ],
        ..Launch::default()
    };
    launch.arguments.extend(otlp.iter().map(Otlp::argument));
    launch
        .arguments
        .extend(["--memory".into(), args.console_memory.text.clone().into()]);
    // Short, so that the first pages are not empty.
    launch
        .arguments
        .extend(["--scrape-interval".into(), "1s".into()]);
    launch
        .arguments
        .extend(["--targets".into(), state::targets_path(data_dir).into()]);
    let alerts = data_dir.join("alerts.json");
    launch.arguments.extend(["--state".into(), alerts.into()]);
    if let Some(rules) = &args.rules {
        launch.arguments.extend(["--rules".into(), rules.into()]);
    }
    let herald = format!("http://{herald}");
    let alerts = format!("{herald}/alerts");
    launch
        .arguments
        .extend(["--notify-url".into(), alerts.into()]);
    launch
        .arguments
        .extend(["--herald-url".into(), herald.into()]);
    // Herald listens on loopback only.
    let not_for_it = [
        "DATABASE_URL",
        "OMNITRACE_NOTIFY_SECRET",
        "OMNITRACE_CONSOLE_TOKEN",
    ];
    launch.removed.extend(not_for_it.map(str::to_owned));
    launch
}

/// The caller's variables about herald's listener, which `up` ignores: here only the console or Alertmanager sends alerts, over
/// loopback and without TLS.
const DOOR: [&str; 5] = [
    "HERALD_SECRET",
    "HERALD_SECRET_FILE",
    "HERALD_TLS_CERTIFICATE",
    "HERALD_TLS_KEY",
    "HERALD_TLS_CLIENT_CA",
];

/// The console in Loki's place: it takes the collector's logs and answers LogQL, and neither scrapes nor alerts.
pub fn loki(listen: SocketAddr, no_rules: &Path, unused: &[Unused], args: &UpArgs) -> Launch {
    let memory = args.console_memory.text.clone();
    let arguments: [OsString; 7] = [
        "console".into(),
        "--listen".into(),
        listen.to_string().into(),
        "--memory".into(),
        memory.into(),
        "--rules".into(),
        no_rules.into(),
    ];
    let unused = unused.iter().map(|unused| unused.name.clone());
    Launch {
        arguments: arguments.into(),
        removed: unused.chain(["DATABASE_URL".to_owned()]).collect(),
        ..Launch::default()
    }
}

/// Whom herald asks for evidence.
pub struct Backends {
    /// Base URL of Prometheus, or of the console.
    pub prometheus: String,
    /// Base URL of Jaeger, or of the console.
    pub jaeger: String,
    /// Base URL of the console.
    pub loki: String,
    /// Base URL of the pages that answer Grafana's addresses and have the runbooks: the console's, where it has all data.
    pub pages: Option<String>,
}

impl Backends {
    /// The console for everything.
    pub fn console(url: &str) -> Self {
        let [prometheus, jaeger, loki] = [url, url, url].map(str::to_owned);
        Self {
            prometheus,
            jaeger,
            loki,
            pages: Some(url.to_owned()),
        }
    }
}

/// Herald, which asks the backends for evidence. Its targets are those of the caller's variables.
pub fn herald(
    listen: SocketAddr,
    data_dir: &Path,
    backends: &Backends,
    peers: &Peers,
    args: &UpArgs,
) -> Result<Launch> {
    let mut launch = reporting("herald", "herald::server=info", peers, args)?;
    let state_dir = data_dir.join("herald");
    let own: [(&str, OsString); 5] = [
        ("--listen", listen.to_string().into()),
        ("--state-dir", state_dir.into()),
        ("--prometheus-url", (&backends.prometheus).into()),
        ("--jaeger-url", (&backends.jaeger).into()),
        ("--loki-url", (&backends.loki).into()),
    ];
    for (option, value) in own {
        launch.arguments.extend([option.into(), value]);
    }
    for link in ["GRAFANA_URL", "RUNBOOKS_URL"] {
        if let (Some(pages), None) = (&backends.pages, environment::text(link)?) {
            launch.environment.push((link, pages.clone()));
        }
    }
    launch.removed.push("DATABASE_URL".to_owned());
    launch.removed.extend(DOOR.map(str::to_owned));
    Ok(launch)
}

/// The private Postgres, on `port` or any free one (0).
pub fn postgres(data_dir: &Path, port: u16) -> Launch {
    let arguments = vec![
        "postgres".into(),
        "--json".into(),
        "--data-dir".into(),
        data_dir.into(),
        "--port".into(),
        port.to_string().into(),
    ];
    Launch {
        arguments,
        ..Launch::default()
    }
}

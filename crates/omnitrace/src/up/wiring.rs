//! What each child is told: its arguments and its environment.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;

use super::child::Launch;
use super::inherited::Unused;
use super::state;
use crate::cli::UpArgs;
use crate::environment;

/// Addresses of the parts that a service talks to, as far as they are started.
#[derive(Debug, Default)]
pub struct Peers {
    /// Where OTLP goes: the console, or somebody else's collector; `None` when the variables say it all.
    pub otlp: Option<String>,
    /// The caller's variables that the services do not get.
    pub unused: Vec<Unused>,
    /// `DATABASE_URL` of data.
    pub database: String,
    /// URL of downstream.
    pub downstream: String,
    /// URL of data.
    pub data: String,
}

/// A service: gateway, data or downstream.
pub fn service(
    name: &'static str,
    http: SocketAddr,
    admin: SocketAddr,
    peers: &Peers,
    args: &UpArgs,
) -> Result<Launch> {
    let mut launch = Launch {
        arguments: vec![name.into()],
        ..Launch::default()
    };
    let set = &mut launch.environment;
    set.push(("OMNITRACE_HTTP_ADDR", http.to_string()));
    set.push(("OMNITRACE_ADMIN_ADDR", admin.to_string()));
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
        // What `up` waits for has to pass the filter: the line `listening`, and that of the probe order.
        let needed = if args.no_console {
            ""
        } else {
            ",gateway::handlers=info"
        };
        set.push(("RUST_LOG", format!("{filter},service::run=info{needed}")));
    }
    let unused = peers.unused.iter().map(|unused| unused.name.clone());
    launch.removed.extend(unused);
    if let Some(otlp) = &peers.otlp {
        set.push(("OTEL_EXPORTER_OTLP_ENDPOINT", otlp.clone()));
    }
    match name {
        "data" => {
            set.push(("DATABASE_URL", peers.database.clone()));
            set.push(("DOWNSTREAM_URL", peers.downstream.clone()));
        }
        _ => launch.removed.push("DATABASE_URL".to_owned()),
    }
    if name == "gateway" {
        set.push(("DATA_URL", peers.data.clone()));
    } else {
        // It is about strangers: among themselves the services trust each other.
        launch.removed.push("OMNITRACE_TRUST_CALLERS".to_owned());
    }
    Ok(launch)
}

/// The console.
pub fn console(listen: SocketAddr, data_dir: &Path, args: &UpArgs) -> Launch {
    let mut launch = Launch {
        arguments: vec![
            "console".into(),
            "--listen".into(),
            listen.to_string().into(),
        ],
        ..Launch::default()
    };
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
    launch.removed.push("DATABASE_URL".to_owned());
    launch
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

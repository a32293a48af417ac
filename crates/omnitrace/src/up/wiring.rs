//! What each child is told: its arguments and its environment.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};

use super::child::Launch;
use super::report::Report;
use super::state;
use crate::cli::UpArgs;
use crate::environment;

/// About another collector than the console.
const FOREIGN_OTLP: [&str; 19] = [
    "OTEL_TRACES_EXPORTER",
    "OTEL_LOGS_EXPORTER",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_LOGS_HEADERS",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_LOGS_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_LOGS_CLIENT_KEY",
];

/// Addresses of the parts that a service talks to, as far as they are started.
#[derive(Debug, Default)]
pub struct Peers {
    /// Where OTLP goes: the console, or somebody else's collector.
    pub otlp: String,
    /// `DATABASE_URL` of data.
    pub database: String,
    /// URL of downstream.
    pub downstream: String,
    /// URL of data.
    pub data: String,
}

/// Where telemetry goes without a console.
pub fn foreign_collector() -> Result<String> {
    environment::text("OTEL_EXPORTER_OTLP_ENDPOINT")?.context(
        "--no-console: OTEL_EXPORTER_OTLP_ENDPOINT is not set; set it to your collector, for example http://localhost:4318",
    )
}

/// Says which of the user's variables are not used, and why.
pub fn explain_overrides(args: &UpArgs, report: &Report) -> Result<()> {
    if environment::text("OTEL_SERVICE_NAME")?.is_some() {
        report.progress(
            "up",
            "OTEL_SERVICE_NAME is not used: each service is named after its role",
        );
    }
    if !args.no_console && environment::text("OTEL_EXPORTER_OTLP_ENDPOINT")?.is_some() {
        report.progress("up", "OTEL_EXPORTER_OTLP_* is not used: telemetry goes to the console (use --no-console to send it there)");
    }
    Ok(())
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
        if environment::text(delay)?.is_none() {
            set.push((delay, "500".to_owned()));
        }
    }
    if let Some(filter) = environment::text("RUST_LOG")? {
        // The line `listening` has to pass the filter.
        set.push(("RUST_LOG", format!("{filter},service::run=info")));
    }
    if !args.no_console {
        launch.removed.extend(FOREIGN_OTLP);
    }
    set.push(("OTEL_EXPORTER_OTLP_ENDPOINT", peers.otlp.clone()));
    match name {
        "data" => {
            set.push(("DATABASE_URL", peers.database.clone()));
            set.push(("DOWNSTREAM_URL", peers.downstream.clone()));
        }
        _ => launch.removed.push("DATABASE_URL"),
    }
    if name == "gateway" {
        set.push(("DATA_URL", peers.data.clone()));
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
    launch.removed.push("DATABASE_URL");
    launch
}

/// The private Postgres.
pub fn postgres(data_dir: &Path) -> Launch {
    let arguments = vec![
        "postgres".into(),
        "--json".into(),
        "--data-dir".into(),
        data_dir.into(),
    ];
    Launch {
        arguments,
        ..Launch::default()
    }
}

//! The command `omnitrace`: the whole system on one machine, and every part of it as a role.
//!
//! One process has one `service.name`, so `omnitrace up` starts this same executable once for every role.

mod alertmanager;
mod alerts;
mod answer;
mod backend_tls;
mod cli;
mod completions;
mod doctor;
mod environment;
mod fault;
mod files;
mod gameday;
mod health;
mod herald;
mod licenses;
mod log_level;
mod logs;
mod man;
mod new;
mod notify;
mod orphan;
mod otlp_ports;
mod outbox;
mod postgres;
mod problem;
mod query;
mod reset;
mod restart;
mod roles;
mod rules;
mod runtime;
mod sql;
mod start;
mod status;
mod stop;
mod terminal;
mod up;
mod values;

use std::process::ExitCode;

/// The build: version and git revision, or the tag of its image.
const BUILD: &str = env!("OMNITRACE_BUILD");

fn main() -> ExitCode {
    // reqwest is built without a TLS provider of its own (feature unification with the downloader).
    // A second installation is refused, which is fine.
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let result = roles::run(terminal::parse::<cli::Cli>().chosen());
    match result.and_then(|code| terminal::all_written().map(|()| code)) {
        Ok(code) => code,
        Err(error) => {
            terminal::complain(&error);
            ExitCode::FAILURE
        }
    }
}

//! A load test whose numbers can be compared with the servers' own.
//!
//! Goose runs the users; requests go through the telemetry crate's client, so each is the root of its trace; every one is counted
//! here, and the counts are exported, so that what the servers say can be checked against what their users saw.

mod args;
mod cost;
mod metrics;
mod profile;
mod progress;
mod report;
mod run;
mod stdout;
mod summary;
mod target;
mod thresholds;
mod truth;
mod users;

use std::process::ExitCode;

use clap::Parser;
use telemetry::redact::plain;

/// `service.name` of this process's spans.
const SERVICE_NAME: &str = "load";

fn main() -> ExitCode {
    let mut args = args::Args::parse();
    telemetry::install_tls();
    if let Some(command) = args.command.take() {
        return ended(cost::run(command));
    }
    stdout::log_warnings();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    ended(runtime.block_on(run::run(args)))
}

fn ended(result: anyhow::Result<bool>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("{}", plain::lines(&format!("error: {error:#}")));
    ExitCode::from(2)
}

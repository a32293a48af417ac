//! From the command line to the code that does it.

use std::process::ExitCode;

use anyhow::Result;

use crate::cli::{Command, ConsoleArgs};
use crate::{alertmanager, doctor, environment, fault, health, outbox, postgres, rules, up};

/// Runs a command to its end.
pub fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Up(args) => return up::run(&args),
        Command::Fault { action } => return fault::run(action),
        Command::Outbox { action } => return outbox::run(action),
        Command::Health(args) => return health::run(&args),
        Command::Rules(args) => return rules::run(&args),
        Command::Doctor(args) => return doctor::run(&args),
        Command::AlertmanagerConfig(args) => alertmanager::run(&args)?,
        Command::Gateway => gateway::run()?,
        Command::Data => data::run()?,
        Command::Downstream => downstream::run()?,
        Command::Console(args) => run_console(args)?,
        Command::Herald(args) => crate::herald::run(*args)?,
        Command::Postgres(args) => postgres::role::run(&postgres::role::Settings {
            data_dir: args.data_dir,
            port: args.port,
            ephemeral: args.ephemeral,
            json: args.json,
        })?,
    }
    Ok(ExitCode::SUCCESS)
}

fn run_console(args: ConsoleArgs) -> Result<()> {
    console::run(console::Settings {
        listen: args.listen,
        memory_bytes: args.memory.bytes,
        max_body_bytes: args.max_body,
        targets_file: args.targets,
        scrape_interval: args.scrape_interval,
        allowed_hosts: args.allow_host,
        allowed_origins: args.allow_origin,
        parent_pipe: environment::parent_pipe()?,
    })
}

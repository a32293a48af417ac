//! Calls the code of each command.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::cli::{Command as Role, ConsoleArgs};
use crate::runtime::block_on;
use crate::terminal::say;
use crate::{
    BUILD, alertmanager, alerts, completions, doctor, environment, fault, gameday, health,
    licenses, log_level, logs, man, new, notify, outbox, postgres, query, reset, restart, rules,
    sql, start, status, stop, up,
};

/// Runs a command to its end.
pub fn run(command: Role) -> Result<ExitCode> {
    match command {
        Role::Up(args) => return up::run(&args),
        Role::New(args) => return new::run(&args),
        Role::Fault { action } => return fault::run(action),
        Role::Gameday { action } => return gameday::run(&action),
        Role::Outbox { action } => return outbox::run(action),
        Role::Health(args) => return health::run(&args),
        Role::Status(args) => return status::run(&args),
        Role::Logs(args) => return logs::run(&args),
        Role::Start(args) => return start::run(&args),
        Role::Stop(args) => return stop::run(&args),
        Role::Completions(args) => return completions::run(&args),
        Role::Man(args) => return man::run(&args),
        Role::Licenses(args) => return licenses::run(&args),
        Role::Reset(args) => return reset::run(&args),
        Role::Restart(args) => return restart::run(&args),
        Role::Query(args) => return query::run(*args),
        Role::Sql(args) => return sql::run(args),
        Role::LogLevel(args) => return log_level::run(args),
        Role::Alerts(args) => return alerts::run(*args),
        Role::Rules(args) => return rules::run(&args),
        Role::Doctor(args) => return doctor::run(&args),
        Role::AlertmanagerConfig(args) => alertmanager::run(&args)?,
        Role::Gateway => gateway::run(BUILD)?,
        Role::Data => data::run(BUILD)?,
        Role::Migrate => migrate()?,
        Role::Downstream => downstream::run(BUILD)?,
        Role::Probe => probe::run(BUILD)?,
        Role::Console(args) => run_console(args)?,
        Role::Herald(args) => {
            with_allocator(GIVEN_BACK)?;
            crate::herald::run(*args)?;
        }
        Role::Postgres(args) => postgres::role::run(&postgres::role::Settings {
            data_dir: args.data_dir,
            port: args.port,
            ephemeral: args.ephemeral,
            json: args.json,
        })?,
    }
    Ok(ExitCode::SUCCESS)
}

fn migrate() -> Result<()> {
    let schema = block_on(data::migrate())?;
    say(&format!("the schema {schema} is up to date"));
    Ok(())
}

/// glibc's setting for the number of heaps per process. With one heap per thread, memory that one thread frees is lost to
/// the others: full of changing traces, the console would need almost twice its budget.
const ONE_HEAP: (&str, &str) = ("MALLOC_ARENA_MAX", "1");

/// glibc's setting for the size from which memory goes back to the system at once. It would rise with the first large body
/// that herald frees, and what later ones leave would stay.
const GIVEN_BACK: (&str, &str) = ("MALLOC_MMAP_THRESHOLD_", "131072");

/// Replaces this process by one with a setting of the allocator, which is read only at the start.
fn with_allocator((name, value): (&str, &str)) -> Result<()> {
    if environment::text(name)?.is_some() {
        return Ok(());
    }
    let mut again = Command::new(std::env::current_exe().context("where this executable is")?);
    let why = again
        .args(std::env::args_os().skip(1))
        .env(name, value)
        .exec();
    Err(why).with_context(|| {
        format!("this command cannot start itself again with {name}={value}; set it yourself")
    })
}

fn run_console(args: ConsoleArgs) -> Result<()> {
    with_allocator(ONE_HEAP)?;
    let others = &args.others;
    let (told, herald_url) = (notify::receivers(others)?, notify::herald(others)?);
    let access = notify::access(others)?;
    let [otlp_grpc, otlp_http] = args.otlp.of_console(args.listen);
    console::run(console::Settings {
        listen: args.listen,
        otlp_grpc,
        otlp_http,
        memory_bytes: args.memory.bytes,
        max_body_bytes: args.max_body,
        targets_file: args.targets,
        rules_file: args.rules,
        state_file: args.state,
        notify: told,
        herald_url,
        access,
        scrape_interval: args.scrape_interval,
        allowed_hosts: args.allow_host,
        allowed_origins: args.allow_origin,
        parent_pipe: environment::parent_pipe()?,
    })
}

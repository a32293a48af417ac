//! `omnitrace restart`: ends one part of a running stack, and waits until `up` has started it again where it was.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::runtime::block_on;
use crate::terminal::say;
use crate::up::probe::until_ready;
use crate::up::state::{Part, State};
use crate::up::stopped;

/// A service drains for 10 s and flushes for 5 s; Postgres checks its files.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);
const ONE_ANSWER: Duration = Duration::from_secs(5);

/// Examples of `omnitrace help restart`.
pub const EXAMPLES: &str = "\
Examples:
  omnitrace restart data                                the others go on
  omnitrace restart data-2                              the second instance (up --replicas data=2)";

/// `omnitrace restart`.
#[derive(Debug, Args)]
pub struct RestartArgs {
    /// postgres, console, herald, downstream, data, gateway, probe, an instance such as data-2, or a part of --standard such as jaeger
    part: String,
    /// Directory of the running stack
    #[arg(long, value_name = "DIR", default_value = ".omnitrace")]
    data_dir: PathBuf,
}

/// Restarts one part; the others continue.
pub fn run(args: &RestartArgs) -> Result<ExitCode> {
    let before = requested_part(&State::running(&args.data_dir)?, args)?;
    kill(Pid::from_raw(before.pid.cast_signed()), Signal::SIGTERM)
        .with_context(|| format!("cannot end {} (process {})", before.name, before.pid))?;
    let after = again(&args.data_dir, &before)?;
    say(&format!(
        "{} restarted: process {} is gone, {} listens in its place",
        after.name, before.pid, after.pid
    ));
    Ok(ExitCode::SUCCESS)
}

/// Waits until the next process of a part listens, and is ready if it is a service.
pub fn again(data_dir: &Path, before: &Part) -> Result<Part> {
    let after = listening(data_dir, before)?;
    if let Some(admin_url) = &after.admin_url {
        // Until it is ready, the other instances need to go on.
        let client = incoming::client().no_proxy().timeout(ONE_ANSWER).build()?;
        block_on(until_ready(&client, &after.name, admin_url, PATIENCE))?;
    }
    Ok(after)
}

/// The part as it runs now.
fn requested_part(state: &State, args: &RestartArgs) -> Result<Part> {
    let name = &args.part;
    let part = state.known_part(name)?;
    if state.no_restart {
        bail!(
            "this stack was started with --no-restart, so ending {name} would stop all of it: stop it with Ctrl-C, and start it again"
        );
    }
    if stopped::is_stopped(&args.data_dir, name, state.pid) {
        bail!("{name} was stopped: `omnitrace start {name}`");
    }
    if !part.is_alive() {
        bail!(
            "{name} has just ended by itself and is being started again: look with `omnitrace health`"
        );
    }
    // The console would not start with these rules, so the running one continues. Prometheus checks its own.
    if let (Some(rules), "console") = (&state.rules, name.as_str()) {
        console::check_rules(rules)?;
    }
    Ok(part.clone())
}

fn listening(data_dir: &Path, before: &Part) -> Result<Part> {
    let deadline = Instant::now() + PATIENCE;
    let log = data_dir.join(format!("logs/{}.log", before.name));
    let log = log.display();
    let stopped = || {
        format!(
            "{} did not start again, and so all of the stack was stopped: see {log}",
            before.name
        )
    };
    while Instant::now() < deadline {
        sleep(POLL);
        let state = State::running(data_dir).with_context(stopped)?;
        let part = state.part(&before.name);
        let part = part.filter(|part| part.restarts > before.restarts && part.is_alive());
        if let Some(part) = part.filter(|part| listens(part, &state)) {
            return Ok(part.clone());
        }
    }
    bail!(
        "{} does not listen again within {PATIENCE:?}: see {log}",
        before.name
    )
}

/// The process before has ended, so it is this one that answers.
fn listens(part: &Part, state: &State) -> bool {
    let url = part.url.as_ref().or(state.database_url.as_ref());
    let url = url.and_then(|url| url::Url::parse(url).ok());
    let address =
        url.and_then(|url| Some((url.host_str()?.to_owned(), url.port_or_known_default()?)));
    address.is_some_and(|address| TcpStream::connect(address).is_ok())
}

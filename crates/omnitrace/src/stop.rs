//! `omnitrace stop`: ends a running stack, as Ctrl-C where it was started does, or one part of it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::terminal::say;
use crate::up::state::State;
use crate::up::stopped;

/// Services that hang are waited for, one after the other, before they are killed.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);

/// Examples of `omnitrace help stop`.
pub const EXAMPLES: &str = "\
Examples:
  omnitrace stop                                        the stack of .omnitrace; orders stay
  omnitrace stop downstream                             one part, until `omnitrace start downstream`
  omnitrace stop downstream --kill                      as a crash would";

/// `omnitrace stop`.
#[derive(Debug, Args)]
pub struct StopArgs {
    /// One part only, as `omnitrace status` names it; it stays away until `omnitrace start PART`
    part: Option<String>,
    /// Kill the part, instead of asking it to stop
    #[arg(long, requires = "part")]
    kill: bool,
    /// Directory of the running stack
    #[arg(long, value_name = "DIR", default_value = ".omnitrace")]
    data_dir: PathBuf,
}

/// Asks `up` to stop, and waits until it has.
pub fn run(args: &StopArgs) -> Result<ExitCode> {
    if let Some(part) = &args.part {
        return stop_part(args, part);
    }
    let pid = State::running(&args.data_dir)?.pid;
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM)
        .with_context(|| format!("cannot stop `omnitrace up` (process {pid})"))?;
    let deadline = Instant::now() + PATIENCE;
    while State::running(&args.data_dir).is_ok_and(|state| state.pid == pid) {
        if Instant::now() > deadline {
            bail!(
                "`omnitrace up` (process {pid}) has not stopped within {PATIENCE:?}; a second `omnitrace stop` stops it at once"
            );
        }
        sleep(POLL);
    }
    say(&format!(
        "stopped: process {pid} and all that it had started"
    ));
    Ok(ExitCode::SUCCESS)
}

/// Ends one part, and waits until it is gone.
fn stop_part(args: &StopArgs, name: &str) -> Result<ExitCode> {
    let state = State::running(&args.data_dir)?;
    let part = state.known_part(name)?;
    let pid = part.pid;
    stopped::stop(&args.data_dir, name, state.pid)?;
    if part.is_alive() {
        let signal = if args.kill {
            Signal::SIGKILL
        } else {
            Signal::SIGTERM
        };
        kill(Pid::from_raw(pid.cast_signed()), signal)
            .with_context(|| format!("cannot stop {name} (process {pid})"))?;
    }
    let deadline = Instant::now() + PATIENCE;
    while part.is_alive() {
        if Instant::now() > deadline {
            bail!(
                "{name} (process {pid}) has not stopped within {PATIENCE:?}; --kill stops it at once"
            );
        }
        sleep(POLL);
    }
    say(&format!(
        "{name} stopped: process {pid}; `omnitrace start {name}` starts it again"
    ));
    Ok(ExitCode::SUCCESS)
}

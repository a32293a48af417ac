//! `omnitrace stop`: ends a running stack, as Ctrl-C where it was started does.

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

/// Services that hang are waited for, one after the other, before they are killed.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);

/// Examples of `omnitrace help stop`.
pub const EXAMPLES: &str = "\
Examples:
  omnitrace stop                                        the stack of .omnitrace; orders stay";

/// `omnitrace stop`.
#[derive(Debug, Args)]
pub struct StopArgs {
    /// Directory of the running stack
    #[arg(long, value_name = "DIR", default_value = ".omnitrace")]
    data_dir: PathBuf,
}

/// Asks `up` to stop, and waits until it has.
pub fn run(args: &StopArgs) -> Result<ExitCode> {
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

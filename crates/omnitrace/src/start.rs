//! `omnitrace start`: brings back a part that `omnitrace stop PART` has ended.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use crate::restart::again;
use crate::terminal::say;
use crate::up::state::State;
use crate::up::stopped;

/// Examples of `omnitrace help start`.
pub const EXAMPLES: &str = "\
Examples:
  omnitrace stop downstream && sleep 60 && omnitrace start downstream";

/// `omnitrace start`.
#[derive(Debug, Args)]
pub struct StartArgs {
    /// The part that `omnitrace stop PART` has ended
    part: String,
    /// Directory of the running stack
    #[arg(long, value_name = "DIR", default_value = ".omnitrace")]
    data_dir: PathBuf,
}

/// Lets the part come back, and waits until it has.
pub fn run(args: &StartArgs) -> Result<ExitCode> {
    let (name, data_dir) = (&args.part, &args.data_dir);
    let state = State::running(data_dir)?;
    let before = state.known_part(name)?;
    if !stopped::is_stopped(data_dir, name, state.pid) {
        bail!("{name} was not stopped by `omnitrace stop {name}`: nothing to do");
    }
    stopped::start(data_dir, name)?;
    let after = again(data_dir, before)?;
    say(&format!("{} started: process {}", after.name, after.pid));
    Ok(ExitCode::SUCCESS)
}

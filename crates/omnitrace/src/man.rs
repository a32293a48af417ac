//! `omnitrace man`: the help of every command as manual pages.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, CommandFactory};
use owned::Directory;

use crate::cli::Cli;
use crate::terminal::{quoted, say, without_values};

/// Examples of `omnitrace help man`.
pub const EXAMPLES: &str = "\
Examples:
  omnitrace man --out ~/.local/share/man/man1           then: man omnitrace-up";

/// `omnitrace man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Directory that gets a page for each command; it is made if it is missing
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Writes `omnitrace.1`, `omnitrace-up.1`, …
pub fn run(args: &ManArgs) -> Result<ExitCode> {
    Directory::make(&args.out, 0o755).context("--out")?;
    let shown = quoted(&args.out.display().to_string());
    clap_mangen::generate_to(without_values(Cli::command()), &args.out)
        .with_context(|| format!("--out: cannot write pages to {shown}"))?;
    say(&format!(
        "wrote omnitrace.1 and a page for each command to {shown}"
    ));
    Ok(ExitCode::SUCCESS)
}

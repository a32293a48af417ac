//! `omnitrace completions`: scripts that complete this command in a shell.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::terminal::write_raw;

/// Examples of `omnitrace help completions`.
pub const EXAMPLES: &str = "\
Examples:
  omnitrace completions bash > ~/.local/share/bash-completion/completions/omnitrace
  omnitrace completions zsh > \"${fpath[1]}/_omnitrace\"
  omnitrace completions fish > ~/.config/fish/completions/omnitrace.fish";

/// `omnitrace completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Whose completions
    shell: Shell,
}

/// Prints the script.
pub fn run(args: &CompletionsArgs) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "omnitrace", &mut script);
    write_raw(&script);
    Ok(ExitCode::SUCCESS)
}

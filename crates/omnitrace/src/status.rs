//! `omnitrace status`: shows what runs in a data directory, and where. It makes no requests; `omnitrace health` does.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

use crate::terminal::{quoted, say, say_json};
use crate::up::state::{Part, State};

/// Examples of `omnitrace help status`.
pub const EXAMPLES: &str = "\
Examples:
  omnitrace status                                      parts, processes, addresses
  omnitrace status --json | jq -r .database_url         the private database, for psql";

/// `omnitrace status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Directory of the running stack
    #[arg(long, value_name = "DIR", default_value = ".omnitrace")]
    data_dir: PathBuf,
    /// Print JSON, with the URL of the private database (its password is in it); null when DATABASE_URL names one of yours
    #[arg(long)]
    json: bool,
}

/// Prints the state that `up` keeps.
pub fn run(args: &StatusArgs) -> Result<ExitCode> {
    let state = State::running(&args.data_dir)?;
    if args.json {
        let parts: Vec<Value> = state.parts.iter().map(fields).collect();
        say_json(&json!({
            "pid": state.pid,
            "ready": state.ready,
            "parts": parts,
            "database_url": state.database_url,
        }));
        return Ok(ExitCode::SUCCESS);
    }
    let ready = if state.ready { "ready" } else { "starting" };
    say(&format!("omnitrace up   process {}   {ready}", state.pid));
    let width = width(state.parts.iter().map(|part| part.name.as_str()));
    for part in &state.parts {
        say(&line(part, width));
    }
    Ok(ExitCode::SUCCESS)
}

fn fields(part: &Part) -> Value {
    json!({
        "part": part.name,
        "pid": part.pid,
        "running": part.is_alive(),
        "restarts": part.restarts,
        "url": part.url,
        "admin_url": part.admin_url,
        "otlp_grpc_url": part.otlp_grpc_url,
        "otlp_http_url": part.otlp_http_url,
    })
}

/// The width of a column of names.
pub fn width<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    names.map(str::len).fold(11, usize::max)
}

fn line(part: &Part, width: usize) -> String {
    let process = match part.is_alive() {
        true => format!("process {}", part.pid),
        false => "restarting".to_owned(),
    };
    let mut line = format!("  {:<width$} {process:<16}", part.name);
    if let Some(url) = &part.url {
        line.push_str(&format!(" {}", quoted(url)));
    }
    for (what, url) in part.other_urls() {
        line.push_str(&format!(" {what} {}", quoted(url)));
    }
    if part.restarts > 0 {
        line.push_str(&format!("   restarts: {}", part.restarts));
    }
    line.trim_end().to_owned()
}

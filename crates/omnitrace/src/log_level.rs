//! `omnitrace log-level`: shows or changes the log filter of a running service.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use reqwest::Method;
use serde_json::json;

use crate::answer;
use crate::fault::{Target, services};
use crate::problem;
use crate::runtime::block_on;
use crate::terminal::{quoted, say, say_json};

/// Examples of `omnitrace help log-level`.
pub const EXAMPLES: &str = "\
Examples:
  omnitrace log-level data
  omnitrace log-level data info,data::store=error";

/// `omnitrace log-level`.
#[derive(Debug, Args)]
pub struct LogLevelArgs {
    /// gateway, data or downstream; data-2 is the second instance of data (`up --replicas`)
    service: String,
    /// As in RUST_LOG: info, or info,data::store=error; without it, the current filter is shown
    filter: Option<String>,
    #[command(flatten)]
    target: Target,
}

/// Shows the filter, or changes it until the service ends.
pub fn run(args: LogLevelArgs) -> Result<ExitCode> {
    let service = services(Some(&args.service), &args.target)?.remove(0);
    let method = match args.filter {
        Some(_) => Method::PUT,
        None => Method::GET,
    };
    let client = reqwest::Client::builder().no_proxy();
    let client = client.timeout(Duration::from_secs(10)).build()?;
    let url = format!("{}/log-level", service.admin_url);
    let request = client.request(method, &url);
    let request = request.body(args.filter.unwrap_or_default());
    let silent = || format!("{} does not answer at {}", service.name, service.admin_url);
    let (status, text) = block_on(answer::ask(request, None, silent))?;
    if !status.is_success() {
        let document = serde_json::from_str(&text).unwrap_or_default();
        bail!("{}: {}", service.name, problem::in_words(&document));
    }
    if args.target.json {
        say_json(&json!({"service": service.name, "filter": text}));
    } else {
        say(&format!("{}: {}", service.name, quoted(&text)));
    }
    Ok(ExitCode::SUCCESS)
}

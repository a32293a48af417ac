//! `omnitrace licenses`: the licenses of everything in this program.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::BUILD;
use crate::terminal::{say_json, say_lines};

const NOTICE: &str = include_str!("../../../NOTICE");
const APACHE: &str = include_str!("../../../LICENSE");
/// Written by `just docs`; the test `licenses` compares it with Cargo.lock.
const OTHERS: &str = include_str!("licenses.json");

/// `omnitrace licenses`.
#[derive(Debug, Args)]
pub struct LicensesArgs {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What is compiled in from others.
#[derive(Deserialize)]
struct Others {
    /// May be used under the license that is also ours.
    apache: Vec<String>,
    /// Every other text.
    texts: Vec<License>,
}

/// One text, and the components that it covers.
#[derive(Serialize, Deserialize)]
struct License {
    components: Vec<String>,
    text: String,
}

/// Prints the notice, then each license once: first the one of this program.
pub fn run(args: &LicensesArgs) -> Result<ExitCode> {
    let others: Others = serde_json::from_str(OTHERS).context("licenses.json")?;
    let mut components = vec![format!("OmniTrace {BUILD}")];
    components.extend(others.apache);
    let mut licenses = vec![License {
        components,
        text: APACHE.into(),
    }];
    licenses.extend(others.texts);
    if args.json {
        say_json(&json!({"notice": NOTICE, "licenses": licenses}));
        return Ok(ExitCode::SUCCESS);
    }
    let texts = licenses.iter().map(|license| {
        format!(
            "{}\n{}\n\n{}",
            "=".repeat(80),
            license.components.join("\n"),
            license.text
        )
    });
    say_lines(&format!(
        "{NOTICE}\n{}",
        texts.collect::<Vec<_>>().join("\n")
    ));
    Ok(ExitCode::SUCCESS)
}

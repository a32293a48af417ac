//! `omnitrace health`: checks whether every part is ready.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

use crate::answer;
use crate::backend_tls::BackendTlsArgs;
use crate::runtime::block_on;
use crate::status;
use crate::terminal::{quoted, say, say_json};
use crate::up::state::State;
use crate::values::{base_url, duration};

/// Examples of `omnitrace help health`.
pub const EXAMPLES: &str = "\
Examples:
  omnitrace health                                      the stack of .omnitrace
  omnitrace health --url http://127.0.0.1:9080          one service, by its admin address";

/// `omnitrace health`.
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// Directory of the running stack
    #[arg(long, value_name = "DIR", default_value = ".omnitrace")]
    pub data_dir: PathBuf,
    /// Admin address of a service, instead of the stack's; repeat it for several
    #[arg(long, value_name = "URL", conflicts_with = "data_dir", value_parser = base_url)]
    pub url: Vec<String>,
    /// How long to wait for an answer
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub timeout: Duration,
    /// Certificates for `https://` addresses
    #[command(flatten)]
    pub tls: BackendTlsArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Asks every part at the same time, prints a line per part, and fails when one is not ready. Asked about the whole stack it fails
/// also when one lacks what it needs; asked about one service (`--url`), as a container's probe does, it does not: all instances
/// would be taken out at once (docs/adr/0012).
pub fn run(args: &HealthArgs) -> Result<ExitCode> {
    let client = reqwest::Client::builder().no_proxy().timeout(args.timeout);
    let client = args.tls.clone().files().client(client)?;
    let checks = block_on(check_all(targets(args)?, &client))?;
    let whole_stack = args.url.is_empty();
    let healthy = checks.iter().all(|check| check.is_well(whole_stack));
    if args.json {
        let parts: Vec<Value> = checks.iter().map(|check| json!({"part": check.name, "url": check.url, "ready": check.ready, "restarts": check.restarts, "detail": check.detail})).collect();
        say_json(&json!({"healthy": healthy, "parts": parts}));
    } else {
        let width = status::width(checks.iter().map(|check| check.name.as_str()));
        for check in &checks {
            say(&line(check, width));
        }
    }
    Ok(if healthy {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

struct Check {
    name: String,
    url: String,
    ready: bool,
    restarts: u32,
    /// The problem; empty if there is none.
    detail: String,
}

impl Check {
    fn is_well(&self, whole_stack: bool) -> bool {
        self.ready && (self.detail.is_empty() || !whole_stack)
    }
}

fn line(check: &Check, width: usize) -> String {
    let state = if check.ready { "ready" } else { "NOT READY" };
    let restarts = match check.restarts {
        0 => String::new(),
        restarts => format!("restarts: {restarts} "),
    };
    let (name, url, detail) = (&check.name, &check.url, &check.detail);
    let line = format!("{name:<width$} {state:<10} {url}   {restarts}{detail}");
    line.trim_end().to_owned()
}

/// A part to check.
struct Target {
    name: String,
    /// A 200 from here means "ready".
    url: String,
    /// How often `up` has started it again.
    restarts: u32,
}

fn targets(args: &HealthArgs) -> Result<Vec<Target>> {
    if !args.url.is_empty() {
        let service = |url| Target {
            name: "service".to_owned(),
            url: format!("{url}/ready"),
            restarts: 0,
        };
        return Ok(args.url.iter().map(service).collect());
    }
    let state = State::running(&args.data_dir)?;
    let own = state.parts.iter().filter_map(|part| {
        Some(Target {
            name: part.name.clone(),
            // A running `up` of the build before has not written it.
            url: part.ready_url.clone().or_else(|| {
                let admin = part.admin_url.as_deref()?;
                Some(format!("{admin}/ready"))
            })?,
            restarts: part.restarts,
        })
    });
    let scraped = state.scraped.iter().map(|scraped| Target {
        name: scraped.name.clone(),
        url: scraped.url.to_string(),
        restarts: 0,
    });
    Ok(own.chain(scraped).collect())
}

async fn check_all(targets: Vec<Target>, client: &reqwest::Client) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    let tasks: Vec<_> = targets
        .into_iter()
        .map(|target| {
            let client = client.clone();
            tokio::spawn(async move {
                let (ready, detail) = check(&client, &target.url).await;
                Check {
                    name: target.name,
                    url: quoted(&target.url),
                    ready,
                    restarts: target.restarts,
                    detail: quoted(&detail),
                }
            })
        })
        .collect();
    for task in tasks {
        checks.push(task.await?);
    }
    Ok(checks)
}

async fn check(client: &reqwest::Client, url: &str) -> (bool, String) {
    match client.get(url).send().await {
        Ok(response) if response.status().is_success() => match answer::text(response).await {
            Ok(text) => (
                true,
                lacking(&serde_json::from_str(&text).unwrap_or_default()),
            ),
            Err(error) => (false, format!("no whole answer: {error:#}")),
        },
        Ok(response) => {
            let status = response.status();
            let body = answer::text(response).await.unwrap_or_default();
            let reasons = serde_json::from_str::<Value>(&body)
                .map_or(body, |body| body["reasons"].to_string());
            (false, format!("{status} {reasons}"))
        }
        Err(error) if error.is_timeout() => (false, "no answer in time".to_owned()),
        Err(error) if error.is_connect() => (false, "nothing listens there".to_owned()),
        Err(error) => (false, service::error::chain(&error.without_url())),
    }
}

/// The dependencies that do not answer. A service is ready without them, but answers with errors.
fn lacking(answer: &Value) -> String {
    let dependencies = answer["dependencies"].as_array().into_iter().flatten();
    let down = dependencies.filter(|dependency| dependency["up"] == false);
    let lines = down.map(|dependency| {
        let part = |name| dependency[name].as_str().unwrap_or_default();
        format!("lacks {}: {}", part("name"), part("problem"))
    });
    lines.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_service_lacks_is_a_fault_of_the_stack_and_not_of_the_service() {
        let check = |ready, detail: &str| Check {
            name: "data".to_owned(),
            url: String::new(),
            ready,
            restarts: 1,
            detail: detail.to_owned(),
        };
        for (check, stack, service) in [
            (check(true, ""), true, true),
            (check(true, "lacks database: no answer"), false, true),
            (check(false, "503"), false, false),
        ] {
            assert_eq!(
                (check.is_well(true), check.is_well(false)),
                (stack, service),
                "{}",
                line(&check, 0)
            );
        }
    }
}

//! `omnitrace fault`: the switchboards of running services.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use clap::{Args, Subcommand};
use reqwest::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::answer;
use crate::problem::{self, text};
use crate::runtime::block_on;
use crate::terminal::{say, say_json};
use crate::up::probe::SERVICES;
use crate::up::replicas::service_of;
use crate::up::state::State;
use crate::values::{base_url, duration};

/// The name in [`Service`] when only `--admin` is known.
const UNNAMED: &str = "service";

/// `omnitrace fault …`.
#[derive(Debug, Subcommand)]
pub enum FaultAction {
    /// Show every fault, its parameters, and which are on.
    List {
        /// One service only
        service: Option<String>,
        #[command(flatten)]
        target: Target,
    },
    /// Switch a fault on until it expires.
    #[command(after_help = "\
Examples:
  omnitrace fault set downstream latency ms=400 --for 60s
  omnitrace fault set data pool_exhaustion
  omnitrace fault set downstream errors --admin http://127.0.0.1:9082")]
    Set {
        /// gateway, data or downstream; data-2 is the second instance of data (`up --replicas`)
        service: String,
        /// Name of the fault, as `omnitrace fault list` shows it
        fault: String,
        /// Parameters; those not given have defaults
        #[arg(value_name = "NAME=VALUE", value_parser = parameter)]
        parameters: Vec<(String, Value)>,
        /// End the fault after this time (default: 5 min)
        #[arg(long = "for", value_name = "TIME", value_parser = duration)]
        expires_in: Option<Duration>,
        #[command(flatten)]
        target: Target,
    },
    /// Switch faults off: one, all of a service, or all.
    Clear {
        /// One service only
        service: Option<String>,
        /// One fault only
        fault: Option<String>,
        #[command(flatten)]
        target: Target,
    },
}

/// Selects a running service.
#[derive(Debug, Args)]
pub struct Target {
    /// Directory of the running stack
    #[arg(long, value_name = "DIR", default_value = ".omnitrace")]
    pub data_dir: PathBuf,
    /// Admin address of the service, when it was not started by `omnitrace up`
    #[arg(long, value_name = "URL", conflicts_with = "data_dir", value_parser = base_url)]
    pub admin: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs `fault list`, `set` or `clear`.
pub fn run(action: FaultAction) -> Result<ExitCode> {
    block_on(async {
        match action {
            FaultAction::List { service, target } => list(service.as_deref(), &target).await,
            FaultAction::Set {
                service,
                fault,
                parameters,
                expires_in,
                target,
            } => set(&service, &fault, parameters, expires_in, &target).await,
            FaultAction::Clear {
                service,
                fault,
                target,
            } => clear(service.as_deref(), fault.as_deref(), &target).await,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn list(service: Option<&str>, target: &Target) -> Result<()> {
    let mut answers = Map::new();
    for service in services(service, target)? {
        let answer = service.call(Method::GET, "/faults", None).await?;
        if !target.json {
            say(&service.name);
            faults(&answer).for_each(print_fault);
        }
        answers.insert(service.name, answer["faults"].clone());
    }
    if target.json {
        say_json(&Value::Object(answers));
    }
    Ok(())
}

async fn set(
    service: &str,
    fault: &str,
    parameters: Vec<(String, Value)>,
    expires_in: Option<Duration>,
    target: &Target,
) -> Result<()> {
    let service = services(Some(service), target)?.remove(0);
    let mut body: Map<String, Value> = parameters.into_iter().collect();
    if let Some(expires_in) = expires_in {
        body.insert("expires_in_s".to_owned(), json!(expires_in.as_secs_f64()));
    }
    let status = service
        .call(
            Method::PUT,
            &format!("/faults/{}", segment(fault)?),
            Some(Value::Object(body)),
        )
        .await?;
    if target.json {
        say_json(&status);
    } else {
        say(&format!("{}: {}", service.name, active(&status)));
        say(&format!(
            "{:width$}  moves {} of {}",
            "",
            text(&status["signal"]),
            signal_of(&status, &service.name),
            width = service.name.len()
        ));
    }
    Ok(())
}

async fn clear(service: Option<&str>, fault: Option<&str>, target: &Target) -> Result<()> {
    let path = fault.map_or_else(
        || Ok("/faults".to_owned()),
        |fault| anyhow::Ok(format!("/faults/{}", segment(fault)?)),
    )?;
    let mut answers = Map::new();
    for service in services(service, target)? {
        let answer = service.call(Method::DELETE, &path, None).await?;
        if !target.json {
            say(&format!(
                "{}: {} off",
                service.name,
                fault.unwrap_or("all faults")
            ));
        }
        answers.insert(service.name, answer);
    }
    if target.json {
        say_json(&Value::Object(answers));
    }
    Ok(())
}

/// A service with a switchboard.
pub struct Service {
    /// Its name.
    pub name: String,
    /// `http://ip:port` of its private listener.
    pub admin_url: String,
}

/// The selected services: at least one, or an error that lists the existing ones.
pub fn services(wanted: Option<&str>, target: &Target) -> Result<Vec<Service>> {
    if let Some(admin_url) = &target.admin {
        return Ok(vec![Service {
            name: wanted.unwrap_or(UNNAMED).to_owned(),
            admin_url: admin_url.clone(),
        }]);
    }
    among(&State::running(&target.data_dir)?, wanted)
}

fn among(state: &State, wanted: Option<&str>) -> Result<Vec<Service>> {
    let all: Vec<Service> = state
        .services()
        .filter(|(name, _)| SERVICES.contains(&service_of(name)))
        .map(|(name, url)| Service {
            name: name.to_owned(),
            admin_url: url.to_owned(),
        })
        .collect();
    let known: Vec<&str> = all.iter().map(|service| service.name.as_str()).collect();
    let known = if known.is_empty() {
        "none has started yet".to_owned()
    } else {
        known.join(", ")
    };
    let found: Vec<Service> = all
        .into_iter()
        .filter(|service| wanted.is_none_or(|name| name == service.name))
        .collect();
    if found.is_empty() {
        match wanted {
            Some(name) => bail!("there is no running service {name:?}; running: {known}"),
            None => bail!("no service runs yet"),
        }
    }
    Ok(found)
}

impl Service {
    /// A service of a running stack, by name.
    pub fn of(state: &State, name: &str) -> Result<Self> {
        Ok(among(state, Some(name))?.remove(0))
    }

    /// Asks its private listener for something; the error names the service.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(10))
            .build()?;
        let request = client.request(method, format!("{}{path}", self.admin_url));
        let silent = || format!("{} does not answer at {}", self.name, self.admin_url);
        let (status, text) = answer::ask(request, body, silent).await?;
        let answer = serde_json::from_str::<Value>(&text);
        match answer {
            Ok(answer) if status.is_success() => Ok(answer),
            Ok(answer) if status != StatusCode::NOT_FOUND => {
                Err(anyhow!("{}: {}", self.name, problem::in_words(&answer)))
            }
            _ => Err(anyhow!(
                "{} at {} answered {status} to {path}: is that an admin address?",
                self.name,
                self.admin_url
            )),
        }
    }
}

/// A part of a path. Names have only lower-case letters, digits and underscores, so none needs escaping.
fn segment(fault: &str) -> Result<&str> {
    let plain = !fault.is_empty()
        && fault
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if plain {
        Ok(fault)
    } else {
        bail!("{fault:?} is not the name of a fault; `omnitrace fault list` shows them")
    }
}

fn faults(answer: &Value) -> impl Iterator<Item = &Value> {
    answer["faults"].as_array().into_iter().flatten()
}

fn print_fault(fault: &Value) {
    let state = if fault["active"].is_null() {
        String::new()
    } else {
        format!("   ON: {}", active(fault))
    };
    say(&format!(
        "  {:<17} {}{state}",
        text(&fault["name"]),
        text(&fault["description"])
    ));
    for parameter in fault["parameters"].as_array().into_iter().flatten() {
        // Annotations such as `{connection}` are for machines, and 1 is the unit of a number without one.
        let unit =
            Some(text(&parameter["unit"])).filter(|unit| *unit != "1" && !unit.starts_with('{'));
        say(&format!(
            "  {:<17}   {:<12} {} to {}{}, default {}",
            "",
            text(&parameter["name"]),
            number(&parameter["min"]),
            number(&parameter["max"]),
            unit.map_or_else(String::new, |unit| format!(" {unit}")),
            number(&parameter["default"]),
        ));
    }
}

/// `latency ms=400, ends in 60 s`.
fn active(fault: &Value) -> String {
    let parameters = fault["active"]["parameters"]
        .as_object()
        .into_iter()
        .flatten();
    let parameters: String = parameters
        .map(|(name, value)| format!(" {name}={}", number(value)))
        .collect();
    format!(
        "{}{parameters}, ends in {:.0} s",
        text(&fault["name"]),
        fault["active"]["seconds_left"].as_f64().unwrap_or_default()
    )
}

fn signal_of<'a>(fault: &'a Value, own: &'a str) -> &'a str {
    match text(&fault["signal_service"]) {
        "self" => own,
        other => other,
    }
}

/// `400`, not `400.0`.
fn number(value: &Value) -> String {
    value
        .as_f64()
        .map_or_else(|| value.to_string(), |number| number.to_string())
}

/// Numbers and booleans stay what they are; everything else is text.
fn parameter(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("allowed: name=value, for example ms=400")?;
    let value = match serde_json::from_str(value) {
        Ok(parsed @ (Value::Number(_) | Value::Bool(_))) => parsed,
        _ => value.into(),
    };
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_keep_their_type() {
        assert_eq!(parameter("ms=400"), Ok(("ms".into(), 400.into())));
        assert_eq!(parameter("share=0.5"), Ok(("share".into(), json!(0.5))));
        assert_eq!(parameter("mode=fast"), Ok(("mode".into(), "fast".into())));
        assert!(parameter("ms").is_err());
    }
}

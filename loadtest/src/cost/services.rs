//! The three services under measurement, in processes of their own, and what they need around them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;
use telemetry::names::http_server::HTTP_SERVER_DURATION;
use url::Url;

use super::exposition;
use super::process::{self, Process};
use super::sink::Sink;
use super::steps::{Backend, Step};

/// As the tables name them.
pub const SERVICES: [&str; 3] = ["gateway", "data", "downstream"];

/// The item that is ordered; nobody buys all of it.
pub const ITEM: &str = "omni-mug";
const SEED: &str = "omni-mug:2000000000:1250";

/// What outlives the steps: Postgres and both backends.
pub struct Surroundings {
    omnitrace: PathBuf,
    directory: PathBuf,
    database: String,
    _postgres: Process,
    console: Process,
    console_url: String,
    /// Counts what arrives.
    pub sink: Sink,
}

impl Surroundings {
    /// Starts them, their files in `directory`.
    pub fn start(omnitrace: &Path, directory: &Path) -> Result<Self> {
        let run = |arguments: &[&str]| {
            let mut command = process::command(omnitrace);
            command.args(arguments);
            command
        };
        let files = directory.join("postgres");
        std::fs::create_dir(&files).context("a directory for Postgres")?;
        let mut postgres = run(&["postgres", "--ephemeral", "--data-dir"]);
        postgres.arg(files);
        let mut postgres = Process::start("postgres", postgres, directory)?;
        let console = run(&["console", "--listen", "127.0.0.1:0"]);
        let mut console = Process::start("console", console, directory)?;
        Ok(Self {
            omnitrace: omnitrace.to_owned(),
            directory: directory.to_owned(),
            database: text(&postgres.listening()?["database_url"])?,
            _postgres: postgres,
            console_url: format!("http://{}", text(&console.listening()?["http_addr"])?),
            console,
            sink: Sink::start(directory)?,
        })
    }

    /// CPU time of a step's backend.
    pub fn backend_cpu(&self, step: &Step) -> Result<Duration> {
        match step.backend {
            Backend::Sink => self.sink.cpu(),
            Backend::Console => self.console.cpu(),
        }
    }

    fn service(&self, name: &str, step: &Step) -> Command {
        let mut command = process::command(&self.omnitrace);
        let backend = match step.backend {
            Backend::Sink => &self.sink.url,
            Backend::Console => &self.console_url,
        };
        command
            .arg(name)
            .env("OMNITRACE_HTTP_ADDR", "127.0.0.1:0")
            .env("OMNITRACE_ADMIN_ADDR", "127.0.0.1:0")
            .env("OMNITRACE_LOG_FORMAT", "json")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", backend)
            .envs(process::DELAYS)
            .envs(step.variables.iter().copied());
        command
    }
}

/// The services of one step.
pub struct Services {
    /// In the order of [`SERVICES`].
    processes: [Process; 3],
    /// The gateway's public listener.
    pub url: Url,
    /// Admin listeners, in the order of [`SERVICES`].
    admin_urls: [String; 3],
}

/// What all services have allocated.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Allocated {
    /// How often.
    pub allocations: u64,
    /// How much.
    pub bytes: u64,
}

impl Services {
    /// Starts them as `step` says.
    pub fn start(around: &Surroundings, step: &Step) -> Result<Self> {
        let start = |name, variables: &[(&str, &str)]| {
            let mut command = around.service(name, step);
            command.envs(variables.iter().copied());
            let mut process = Process::start(name, command, &around.directory)?;
            let line = process.listening()?;
            let url = |field: &str| anyhow::Ok(format!("http://{}", text(&line[field])?));
            anyhow::Ok((process, url("http_addr")?, url("admin_addr")?))
        };
        // The latency that downstream simulates takes no CPU, and would hide differences of p99.
        let no_latency = ("OMNITRACE_LATENCY_MEDIAN_MS", "0");
        let (downstream, downstream_url, downstream_admin) = start("downstream", &[no_latency])?;
        let needed = [
            ("DATABASE_URL", around.database.as_str()),
            ("OMNITRACE_SEED_ITEMS", SEED),
            ("DOWNSTREAM_URL", &downstream_url),
        ];
        let (data, data_url, data_admin) = start("data", &needed)?;
        let (gateway, url, admin) = start("gateway", &[("DATA_URL", &data_url)])?;
        Ok(Self {
            processes: [gateway, data, downstream],
            url: url.parse()?,
            admin_urls: [admin, data_admin, downstream_admin],
        })
    }

    /// Requests that the gateway has counted.
    pub async fn counted(&self) -> Result<u64> {
        let url = format!("{}/metrics", self.admin_urls[0]);
        let count = format!("{}_count", HTTP_SERVER_DURATION.name());
        exposition::sum(&url, &count, "").await
    }

    /// What they have allocated; `None` unless they are built to count it.
    pub async fn allocated(&self) -> Result<Option<Allocated>> {
        let (mut allocations, mut bytes) = (0, 0);
        for url in &self.admin_urls {
            let answer = reqwest::get(format!("{url}/allocations")).await?;
            if answer.status() == reqwest::StatusCode::NOT_FOUND {
                return Ok(None);
            }
            let of_one: Allocated = answer.error_for_status()?.json().await?;
            allocations += of_one.allocations;
            bytes += of_one.bytes;
        }
        Ok(Some(Allocated { allocations, bytes }))
    }

    /// CPU time of each.
    pub fn cpu(&self) -> Result<[Duration; 3]> {
        let [gateway, data, downstream] = &self.processes;
        Ok([gateway.cpu()?, data.cpu()?, downstream.cpu()?])
    }

    /// Waits until they rest; false when they did not.
    pub async fn rest(&self) -> Result<bool> {
        process::rest(&self.processes).await
    }

    /// Ends them, callers first; what they still hold is sent.
    pub fn stop(mut self) {
        self.processes.iter_mut().for_each(Process::stop);
    }
}

fn text(value: &serde_json::Value) -> Result<String> {
    let text = value
        .as_str()
        .context("the line `listening` names no address")?;
    Ok(text.to_owned())
}

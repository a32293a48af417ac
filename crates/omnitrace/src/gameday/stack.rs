//! A stack of `omnitrace up`, fresh for each run.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use gameday::{Mode, Scenario};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use crate::cli::Ports;
use crate::otlp_ports::OtlpPorts;
use crate::up::standard_args::StandardPorts;
use crate::up::state::State;

/// A first start downloads Postgres.
const START: Duration = Duration::from_secs(300);
const STOP: Duration = Duration::from_secs(60);

/// Options by which every port of `up` is a free one, so that several stacks run side by side. `A` holds nothing but ports.
fn free_ports<A: clap::Args>() -> Vec<String> {
    let ports = A::augment_args(clap::Command::new("up"));
    let flags = ports.get_arguments().filter_map(clap::Arg::get_long);
    flags.map(|flag| format!("--{flag}=0")).collect()
}

/// A running stack.
pub struct GameStack {
    process: Child,
    data_dir: PathBuf,
    /// It ends when this process does, whatever the reason.
    _parent_pipe: ChildStdin,
}

impl GameStack {
    /// Starts one; it is ready when this returns.
    pub async fn start(
        scenario: &Scenario,
        mode: Mode,
        webhook: &str,
        data_dir: &Path,
    ) -> Result<Self> {
        if data_dir.exists() {
            std::fs::remove_dir_all(data_dir)
                .with_context(|| format!("cannot remove {}", data_dir.display()))?;
        }
        let mut command =
            Command::new(std::env::current_exe().context("cannot find this executable")?);
        command
            .args([
                "up",
                "--json",
                "--load",
                &scenario.load.to_string(),
                "--data-dir",
            ])
            .arg(data_dir)
            .args(free_ports::<Ports>())
            .args(free_ports::<OtlpPorts>())
            .args(
                scenario
                    .replicas
                    .iter()
                    .map(|(service, count)| format!("--replicas={service}={count}")),
            )
            .env("OMNITRACE_FAULTS", "hidden")
            .envs(&scenario.environment)
            .env("HERALD_WEBHOOK_URL", webhook)
            .env("OMNITRACE_PARENT_PIPE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A Ctrl-C reaches the game day only, which takes every fault back before it stops the stack.
            .process_group(0)
            .kill_on_drop(true);
        if mode == Mode::Standard {
            command
                .arg("--standard")
                .args(free_ports::<StandardPorts>());
        }
        for other_target in [
            "HERALD_WEBHOOK_URL_FILE",
            "HERALD_SLACK_WEBHOOK_URL",
            "HERALD_SLACK_WEBHOOK_URL_FILE",
            "DATABASE_URL",
        ] {
            command.env_remove(other_target);
        }
        let mut process = command.spawn().context("cannot start `omnitrace up`")?;
        let parent_pipe = process.stdin.take().context("pipe to `omnitrace up`")?;
        let stdout = process.stdout.take().context("output of `omnitrace up`")?;
        let mut stack = Self {
            process,
            data_dir: data_dir.to_owned(),
            _parent_pipe: parent_pipe,
        };
        match timeout(START, until_ready(stdout)).await {
            Ok(Ok(())) => Ok(stack),
            Ok(Err(why)) => {
                let said = stack.last_words().await;
                Err(why.context(said))
            }
            Err(_) => bail!(
                "`omnitrace up` was not ready within {START:?}, see {}",
                data_dir.join("logs").display()
            ),
        }
    }

    /// What runs now.
    pub fn state(&self) -> Result<State> {
        State::read(&self.data_dir).context("the stack has ended")
    }

    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    async fn last_words(&mut self) -> String {
        let Some(stderr) = self.process.stderr.take() else {
            return String::new();
        };
        let mut lines = BufReader::new(stderr).lines();
        let mut said = Vec::new();
        while let Ok(Ok(Some(line))) = timeout(Duration::from_secs(1), lines.next_line()).await {
            said.push(line);
        }
        format!("`omnitrace up` has ended: {}", said.join(" "))
    }

    /// Stops all of it, and removes its files if they are of no use to anybody.
    pub async fn stop(mut self, keep_files: bool) -> Result<()> {
        if let Some(pid) = self.process.id() {
            kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM).ok();
        }
        if timeout(STOP, self.process.wait()).await.is_err() {
            self.process.kill().await.ok();
        }
        if !keep_files {
            std::fs::remove_dir_all(&self.data_dir)
                .with_context(|| format!("cannot remove {}", self.data_dir.display()))?;
        }
        Ok(())
    }
}

/// Reads events until the stack is ready, and goes on reading, so that the pipe does not fill.
async fn until_ready(stdout: tokio::process::ChildStdout) -> Result<()> {
    let mut lines = BufReader::new(stdout).lines();
    while let Some(line) = lines.next_line().await? {
        let event: Value = serde_json::from_str(&line).unwrap_or_default();
        if event["event"] == "ready" {
            tokio::task::spawn_local(
                async move { while let Ok(Some(_)) = lines.next_line().await {} },
            );
            return Ok(());
        }
    }
    bail!("it was never ready")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_side_by_side_do_not_want_the_same_ports() {
        let otlp = ["--otlp-grpc-port=0", "--otlp-http-port=0"];
        assert_eq!(free_ports::<OtlpPorts>(), otlp);
        assert!(free_ports::<Ports>().contains(&"--console-port=0".to_owned()));
    }
}

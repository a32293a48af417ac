//! What is done to a stack, and how it is taken back.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use gameday::Action;
use reqwest::{Client, Method};
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::stack::GameStack;
use crate::fault::Service;
use crate::up::load;
use crate::up::state::State;

/// A fault of the switchboard ends by itself after this, should nobody be left to end it.
const LONGEST_S: u64 = 3600;
/// What a command may take.
const COMMAND: Duration = Duration::from_secs(120);

/// Everything that was done and is not taken back yet.
pub struct Injected<'a> {
    client: &'a Client,
    undo: Vec<Undo>,
}

enum Undo {
    Fault {
        service: Service,
        path: String,
    },
    Command(String),
    Process(Process),
    /// Dropped, it ends.
    Load(JoinSet<()>),
}

impl<'a> Injected<'a> {
    pub fn new(client: &'a Client) -> Self {
        Self {
            client,
            undo: Vec::new(),
        }
    }

    pub async fn inject(&mut self, action: &Action, stack: &GameStack) -> Result<()> {
        let state = stack.state()?;
        match action {
            Action::Fault {
                service,
                fault,
                parameters,
            } => {
                let service = Service::of(&state, service)?;
                let path = format!("/faults/{fault}");
                let mut body = parameters.clone();
                body.insert("expires_in_s".to_owned(), LONGEST_S.into());
                service
                    .call(Method::PUT, &path, Some(Value::Object(body)))
                    .await?;
                self.undo.push(Undo::Fault { service, path });
            }
            Action::Commands { start, stop } => {
                // Taken back also when only half of it succeeded.
                self.undo.extend(stop.clone().map(Undo::Command));
                run(start, &state, stack.data_dir()).await?;
            }
            Action::Process(line) => {
                let said = stack
                    .data_dir()
                    .join(format!("process-{}.log", self.undo.len()));
                let child = shell(line, &state, stack.data_dir())?
                    .stderr(File::create(&said)?)
                    .spawn()?;
                self.undo.push(Undo::Process(Process {
                    group: Group(child),
                    line: line.clone(),
                    said,
                }));
            }
            Action::Load(rate) => {
                let gateway = state
                    .url("gateway")
                    .context("the gateway's address")?
                    .to_owned();
                let (client, rate) = (self.client.clone(), *rate);
                let mut task = JoinSet::new();
                task.spawn_local(async move {
                    load::run::<()>(&client, &gateway, rate).await.ok();
                });
                self.undo.push(Undo::Load(task));
            }
        }
        Ok(())
    }

    /// Takes everything back, the last first. All is tried; the first failure is returned.
    pub async fn clear(&mut self, stack: &GameStack) -> Result<()> {
        let mut result = Ok(());
        while let Some(undo) = self.undo.pop() {
            result = result.and(self.take_back(undo, stack).await);
        }
        result
    }

    async fn take_back(&self, undo: Undo, stack: &GameStack) -> Result<()> {
        match undo {
            Undo::Fault { service, path } => {
                let answer = service.call(Method::DELETE, &path, None).await;
                // A service that is not there has no fault.
                answer
                    .map(drop)
                    .or_else(|error| match nobody_listens(&error) {
                        true => Ok(()),
                        false => Err(error),
                    })
            }
            Undo::Command(line) => run(&line, &stack.state()?, stack.data_dir()).await,
            Undo::Process(process) => process.end().await,
            Undo::Load(mut task) => {
                task.shutdown().await;
                Ok(())
            }
        }
    }
}

fn nobody_listens(error: &anyhow::Error) -> bool {
    let request = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<reqwest::Error>());
    request.is_some_and(reqwest::Error::is_connect)
}

/// A command that goes on, or has done its work.
struct Process {
    group: Group,
    line: String,
    /// The file with what it wrote to stderr.
    said: PathBuf,
}

impl Process {
    /// Ends it. One that has failed before did not do what the scenario says.
    async fn end(mut self) -> Result<()> {
        self.group.kill();
        let ended = timeout(COMMAND, self.group.0.wait()).await;
        let status = ended.context("a process of the scenario does not end")??;
        // None if it was killed.
        match status.code() {
            None | Some(0) => Ok(()),
            Some(_) => bail!(failure(&self.line, status, &std::fs::read(&self.said)?)),
        }
    }
}

fn failure(line: &str, status: ExitStatus, said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    format!("`{line}` failed ({status}): {}", said.trim())
}

/// A shell and all that it has started.
struct Group(Child);

impl Group {
    fn kill(&self) {
        if let Some(pid) = self.0.id() {
            let group = nix::unistd::Pid::from_raw(pid.cast_signed());
            nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).ok();
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a command to its end.
async fn run(line: &str, state: &State, data_dir: &Path) -> Result<()> {
    let child = shell(line, state, data_dir)?.spawn()?;
    let ended = timeout(COMMAND, child.wait_with_output()).await;
    let output = ended.with_context(|| format!("`{line}` has not ended within {COMMAND:?}"))??;
    if !output.status.success() {
        bail!(failure(line, output.status, &output.stderr));
    }
    Ok(())
}

/// A command with the stack's addresses and processes as variables, in a process group of its own.
fn shell(line: &str, state: &State, data_dir: &Path) -> Result<Command> {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-eu", "-c", line])
        .env("OMNITRACE", std::env::current_exe()?)
        .env("DATA_DIR", data_dir)
        .env(
            "DATABASE_URL",
            state.database_url.as_deref().unwrap_or_default(),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    for part in &state.parts {
        let name = part.name.to_uppercase().replace('-', "_");
        command.env(format!("PID_{name}"), part.pid.to_string());
        for (prefix, url) in [("URL", &part.url), ("ADMIN", &part.admin_url)] {
            if let Some(url) = url {
                command.env(format!("{prefix}_{name}"), url);
            }
        }
    }
    Ok(command)
}

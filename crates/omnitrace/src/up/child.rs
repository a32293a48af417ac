//! One child of `up`: started with a pipe to this process, monitored, and stopped.

use std::cell::Cell;
use std::ffi::OsString;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::process::ChildStdin;
use tokio::sync::{mpsc, watch};

use super::capture::{self, LastLines, Message};
use super::probe;
use super::report::Report;
use crate::{files, orphan};

/// How a child differs from this process.
#[derive(Debug, Default, Clone)]
pub struct Launch {
    /// Another program than this one. It gets no variable of this process.
    pub program: Option<PathBuf>,
    /// Role and its options.
    pub arguments: Vec<OsString>,
    /// Variables to set, also of those that are taken away.
    pub environment: Vec<(&'static str, String)>,
    /// Variables that `deploy/` sets; they win.
    pub of_deploy: Vec<(String, String)>,
    /// Variables to take away.
    pub removed: Vec<String>,
    /// For a program that writes no line `listening`: a 200 from here means "ready".
    pub ready_url: Option<String>,
}

/// A child process.
pub struct Child {
    /// Its role.
    pub name: &'static str,
    /// Its process id.
    pub pid: u32,
    /// The file for its output.
    pub log: PathBuf,
    listens_since: OnceLock<Instant>,
    last_lines: LastLines,
    exit: watch::Receiver<Option<ExitStatus>>,
    stopped: watch::Receiver<()>,
    asked_to_stop: Cell<Option<Instant>>,
    /// The kernel closes this when the process ends, for whatever reason; so the child notices.
    _parent_pipe: ChildStdin,
}

impl Child {
    /// Starts this executable with another role; the channel delivers its announcements. A `restarted` child continues the
    /// log of the previous one.
    pub fn spawn(
        name: &'static str,
        launch: Launch,
        data_dir: &Path,
        restarted: bool,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Message>)> {
        let logs = data_dir.join("logs");
        files::own_directory(&logs, 0o700)?;
        let log = logs.join(format!("{name}.log"));
        let (output, input) = std::io::pipe()?;
        let output = capture::start(output, &log, restarted)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = command(&launch)?;
        command
            .args(launch.arguments)
            .envs(launch.environment)
            .envs(launch.of_deploy)
            .stdin(Stdio::piped())
            .stdout(input.try_clone()?)
            .stderr(input)
            // A Ctrl-C on the terminal reaches `up` only, which stops its children in order.
            .process_group(0);
        let mut process = tokio::process::Command::from(command)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        // Taken out, since waiting for the process would close it.
        let parent_pipe = process.stdin.take().context("pipe to the child")?;
        let pid = process.id().context("the child has ended already")?;
        let (send, exit) = watch::channel(None);
        tokio::spawn(async move {
            let status = process.wait().await.unwrap_or_default();
            send.send_replace(Some(status));
        });
        let child = Self {
            name,
            pid,
            log,
            listens_since: OnceLock::new(),
            last_lines: output.last_lines,
            exit,
            stopped: output.stopped,
            asked_to_stop: Cell::new(None),
            _parent_pipe: parent_pipe,
        };
        Ok((child, output.said))
    }

    /// Waits until it answers at `ready_url`; an error if the child ends instead.
    pub async fn answers(
        &self,
        client: &reqwest::Client,
        ready_url: &str,
        patience: Duration,
    ) -> Result<()> {
        let ready = probe::until_well(client, self.name, ready_url, patience);
        tokio::select! {
            ready = ready => ready?,
            () = self.ended() => return Err(self.obituary().await),
        }
        self.listens_since.get_or_init(Instant::now);
        Ok(())
    }

    /// Waits for the `listening` line and passes on earlier announcements; an error if the child ends instead.
    pub async fn listening(
        &self,
        said: &mut mpsc::UnboundedReceiver<Message>,
        patience: Duration,
        report: &Report,
    ) -> Result<Value> {
        loop {
            match tokio::time::timeout(patience, said.recv()).await {
                Ok(Some(Message::Listening(line))) => {
                    self.listens_since.get_or_init(Instant::now);
                    return Ok(line);
                }
                Ok(Some(Message::Progress(text))) => report.progress(self.name, &text),
                // Its output has ended, and so does it.
                Ok(None) => {
                    self.ended().await;
                    return Err(self.obituary().await);
                }
                Err(_) => bail!(
                    "{} did not start to listen within {patience:?}; its last lines ({}):\n{}",
                    self.name,
                    self.log.display(),
                    self.last_lines.text()
                ),
            }
        }
    }

    /// How the child ended; `None` while it runs.
    pub fn status(&self) -> Option<ExitStatus> {
        *self.exit.borrow()
    }

    /// Resolves when it has ended.
    pub async fn ended(&self) {
        // The sender is dropped only after it has sent.
        self.exit.clone().wait_for(Option::is_some).await.ok();
    }

    /// Time since it began to listen.
    pub fn age(&self) -> Duration {
        self.listens_since
            .get()
            .map_or(Duration::ZERO, Instant::elapsed)
    }

    /// Another process has stopped it in good order, after it listened.
    pub fn was_stopped(&self) -> bool {
        self.listens_since.get().is_some() && self.status().is_some_and(is_in_order)
    }

    /// `ended by itself (signal: 9 (SIGKILL))`.
    pub fn end(&self) -> String {
        if self.was_stopped() {
            return "stopped, since somebody asked it to".to_owned();
        }
        let status = self
            .status()
            .map_or_else(|| "unknown".to_owned(), |status| status.to_string());
        format!("ended by itself ({status})")
    }

    /// The report of an end that nobody asked for.
    pub async fn obituary(&self) -> anyhow::Error {
        // The last words may still be on their way through the pipe.
        tokio::time::sleep(Duration::from_millis(100)).await;
        anyhow::anyhow!(
            "{} {}; its last lines, from {}:\n{}",
            self.name,
            self.end(),
            self.log.display(),
            self.last_lines.text()
        )
    }

    /// Sends SIGTERM, and waits until the service has answered its last request, or has ended, but at most for `patience`.
    pub async fn drain(&self, patience: Duration) {
        if self.status().is_some() {
            return;
        }
        let mut stopped = self.stopped.clone();
        // An earlier announcement, when another release took its place, does not count.
        stopped.mark_unchanged();
        self.ask_to_stop();
        tokio::time::timeout(patience, stopped.changed()).await.ok();
    }

    /// The time at which it was asked to stop.
    fn ask_to_stop(&self) -> Instant {
        // A second signal would tell it to hurry.
        self.asked_to_stop.get().unwrap_or_else(|| {
            self.signal(Signal::SIGTERM);
            let now = Instant::now();
            self.asked_to_stop.set(Some(now));
            now
        })
    }

    /// SIGTERM, unless it was sent before, and SIGKILL when the end takes longer than `patience` from then on. Says what
    /// happened.
    pub async fn stop(&self, patience: Duration, report: &Report) {
        if self.status().is_some() && self.asked_to_stop.get().is_none() {
            return;
        }
        let start = self.ask_to_stop();
        let left = patience.saturating_sub(start.elapsed());
        let how = match self.ended_within(left).await {
            Some(status) if is_in_order(status) => "stopped".to_owned(),
            Some(status) => format!("ended with {status}, see {}", self.log.display()),
            None => {
                self.kill().await;
                format!("killed: it did not stop within {patience:?}")
            }
        };
        report.stopped(self.name, &how, start.elapsed().as_secs_f64());
    }

    /// SIGKILL, and the end of the process.
    pub async fn kill(&self) {
        if self.status().is_none() {
            self.signal(Signal::SIGKILL);
            self.ended_within(Duration::from_secs(5)).await;
        }
    }

    async fn ended_within(&self, patience: Duration) -> Option<ExitStatus> {
        let mut exit = self.exit.clone();
        let ended = async {
            exit.wait_for(Option::is_some)
                .await
                .ok()
                .and_then(|status| *status)
        };
        tokio::time::timeout(patience, ended).await.ok().flatten()
    }

    fn signal(&self, signal: Signal) {
        // Not reaped before `exit` is set, so the id is still this child's.
        kill(Pid::from_raw(self.pid.cast_signed()), signal).ok();
    }
}

/// This executable, or another program.
fn command(launch: &Launch) -> Result<Command> {
    let Some(program) = &launch.program else {
        let this = std::env::current_exe().context("cannot find this executable")?;
        let mut command = Command::new(this);
        for name in &launch.removed {
            command.env_remove(name);
        }
        command.env("OMNITRACE_PARENT_PIPE", "1");
        return Ok(command);
    };
    let mut command = Command::new(program);
    command.env_clear().env("TZ", "UTC");
    // It watches no pipe. One that hangs or is stopped would ignore any other signal.
    orphan::die_with_parent(&mut command, Signal::SIGKILL);
    Ok(command)
}

/// It has stopped as asked: programs without a handler for SIGTERM end by the signal itself.
fn is_in_order(status: ExitStatus) -> bool {
    status.success() || status.signal() == Some(Signal::SIGTERM as i32)
}

//! The newer release as a process of its own, started beside this one, which waits as its supervisor and then starts the older one
//! again. Both get the listening sockets.

use std::convert::Infallible;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use listen::StopSignals;
use service::Sockets;
use tokio::runtime::{Builder, Runtime};

/// Runs the newer release until its time is over; `variable` passes its settings.
///
/// # Errors
/// If it cannot be started, or fails. Then this process ends too, and its supervisor restarts the good release.
pub(crate) fn supervise(
    sockets: &Sockets,
    variable: (&str, String),
    signals: &mut StopSignals,
) -> anyhow::Result<End> {
    let mut newer = another(sockets)?;
    newer
        .env(variable.0, variable.1)
        .env("OMNITRACE_PARENT_PIPE", "1")
        .stdin(Stdio::piped())
        // A Ctrl-C on the terminal reaches this process alone, which passes it on.
        .process_group(0);
    let (end, status) = runtime()?.block_on(run(newer, signals))?;
    if !status.success() {
        bail!("the newer release has ended with {status}");
    }
    Ok(end)
}

/// Why the newer release has ended.
pub(crate) enum End {
    /// Its time is over.
    Over,
    /// This process was asked to stop.
    Asked,
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Whether there has been a reason to stop. A signal that came when no runtime ran is known when this one has waited once.
pub(crate) fn asked(signals: &mut StopSignals) -> std::io::Result<bool> {
    const ONE_LOOK: Duration = Duration::from_millis(10);
    let look = async { tokio::time::timeout(ONE_LOOK, signals.next()).await };
    Ok(runtime()?.block_on(look).is_ok())
}

async fn run(newer: Command, signals: &mut StopSignals) -> anyhow::Result<(End, ExitStatus)> {
    let mut newer = tokio::process::Command::from(newer)
        .spawn()
        .context("cannot start the newer release")?;
    // It stops when this is closed, however this process ends.
    let pipe = newer.stdin.take();
    tokio::select! {
        status = newer.wait() => return Ok((End::Over, status?)),
        _ = signals.next() => drop(pipe),
    }
    tokio::select! {
        status = newer.wait() => Ok((End::Asked, status?)),
        _ = signals.hurry() => {
            newer.kill().await?;
            bail!("second signal: the newer release was killed")
        }
    }
}

/// Starts this process anew: with its process id, but in all else another.
pub(crate) fn start_again(sockets: &Sockets) -> anyhow::Result<Infallible> {
    let why = another(sockets)?.exec();
    Err(why).context("cannot start the older release again")
}

fn another(sockets: &Sockets) -> anyhow::Result<Command> {
    // While it runs, a build may have put another file in its place, or none.
    let program = std::env::current_exe().ok().filter(|path| path.is_file());
    let mut command = Command::new(program.unwrap_or_else(|| "/proc/self/exe".into()));
    let mut arguments = std::env::args_os();
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    let (name, value) = sockets.hand_on()?;
    command.args(arguments).env(name, value);
    Ok(command)
}

//! When to stop: a signal, or the end of the parent.

use std::io::Read;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Waits for a reason to stop.
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    quit: Signal,
    parent: Option<watch::Receiver<bool>>,
}

impl StopSignals {
    /// Listens from now on; with `parent_pipe` also for the end of standard input.
    ///
    /// # Errors
    /// When a handler cannot be installed.
    pub fn install(parent_pipe: bool) -> anyhow::Result<Self> {
        let listen = |kind, name| signal(kind).with_context(|| format!("cannot listen for {name}"));
        Ok(Self {
            terminate: listen(SignalKind::terminate(), "SIGTERM")?,
            interrupt: listen(SignalKind::interrupt(), "SIGINT")?,
            hang_up: listen(SignalKind::hangup(), "SIGHUP")?,
            quit: listen(SignalKind::quit(), "SIGQUIT")?,
            parent: parent_pipe.then(watch_parent).transpose()?,
        })
    }

    /// Waits for the next signal (or the parent's end, which is reported once) and names it.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.hang_up.recv() => "SIGHUP",
            _ = self.quit.recv() => "SIGQUIT",
            () = parent_gone(&mut self.parent) => "the parent is gone",
        }
    }
}

async fn parent_gone(parent: &mut Option<watch::Receiver<bool>>) {
    match parent {
        Some(receiver) => {
            let _ = receiver.wait_for(|gone| *gone).await;
            *parent = None;
        }
        None => std::future::pending().await,
    }
}

/// A thread, since reading standard input can neither be polled nor cancelled; it ends with the process.
fn watch_parent() -> anyhow::Result<watch::Receiver<bool>> {
    let (sender, receiver) = watch::channel(false);
    std::thread::Builder::new()
        .name("parent-pipe".to_owned())
        .spawn(move || {
            let mut buffer = [0_u8; 64];
            let mut stdin = std::io::stdin().lock();
            loop {
                match stdin.read(&mut buffer) {
                    Ok(0) => break,
                    Err(error) if error.kind() != std::io::ErrorKind::Interrupted => break,
                    _ => {}
                }
            }
            sender.send_replace(true);
        })
        .context("cannot start the thread that watches the parent's pipe")?;
    Ok(receiver)
}

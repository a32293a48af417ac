//! When to stop: SIGTERM, SIGINT, or the end of the parent.
use std::io::Read;
use std::sync::Arc;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Tells a task that the service is shutting down.
#[derive(Clone)]
pub struct Shutdown {
    receiver: watch::Receiver<bool>,
    // A receiver whose sender is gone would report the end of the service.
    sender: Arc<watch::Sender<bool>>,
}

impl Default for Shutdown {
    fn default() -> Self {
        let (sender, receiver) = watch::channel(false);
        Self {
            receiver,
            sender: Arc::new(sender),
        }
    }
}

impl Shutdown {
    /// True once shut-down has begun.
    pub fn begun(&self) -> bool {
        *self.receiver.borrow()
    }

    /// Waits until shut-down begins.
    pub async fn wait(&mut self) {
        // An error would mean that the sender is gone, and we hold it.
        let _ = self.receiver.wait_for(|begun| *begun).await;
    }

    /// Begins shut-down.
    pub(crate) fn begin(&self) {
        self.sender.send_replace(true);
    }
}

/// Waits for a reason to stop.
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    parent: Option<watch::Receiver<bool>>,
}

impl StopSignals {
    /// Listens from now on; with `parent_pipe` also for the end of standard input.
    ///
    /// # Errors
    /// When a handler cannot be installed.
    pub fn install(parent_pipe: bool) -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?,
            parent: parent_pipe.then(watch_parent).transpose()?,
        })
    }

    /// Waits for the next signal (or the parent's end, which is reported once) and names it.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
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

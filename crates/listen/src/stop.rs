//! The reasons to stop: a signal, or the end of the parent.

use std::io::Read;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Waits for a reason to stop.
pub struct StopSignals {
    signals: Signals,
    parent: Option<watch::Receiver<bool>>,
    parent_is_gone: bool,
}

impl StopSignals {
    /// Listens from now on; with `parent_pipe` also for the end of standard input. A signal that arrives while no runtime
    /// runs is seen by the next one.
    ///
    /// # Errors
    /// When a handler cannot be installed.
    pub fn install(parent_pipe: bool) -> anyhow::Result<Self> {
        Ok(Self {
            signals: Signals::install()?,
            parent: parent_pipe.then(watch_parent).transpose()?,
            parent_is_gone: false,
        })
    }

    /// Waits for the next signal (or the parent's end, which is reported once) and names it.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            signal = self.signals.next() => signal,
            () = parent_gone(&mut self.parent) => {
                self.parent_is_gone = true;
                "the parent is gone"
            }
        }
    }

    /// Waits for the signal that asks for haste, after the reason to stop. A stop of the whole process group, as systemd's,
    /// ends the parent, too: the parent's end and the first signal, in any order, are one reason and do not ask for haste.
    pub async fn hurry(&mut self) -> &'static str {
        if std::mem::take(&mut self.parent_is_gone) {
            self.signals.next().await;
        }
        self.signals.next().await
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    quit: Signal,
}

impl Signals {
    fn install() -> anyhow::Result<Self> {
        let listen = |kind, name| signal(kind).with_context(|| format!("cannot listen for {name}"));
        Ok(Self {
            terminate: listen(SignalKind::terminate(), "SIGTERM")?,
            interrupt: listen(SignalKind::interrupt(), "SIGINT")?,
            hang_up: listen(SignalKind::hangup(), "SIGHUP")?,
            quit: listen(SignalKind::quit(), "SIGQUIT")?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.hang_up.recv() => "SIGHUP",
            _ = self.quit.recv() => "SIGQUIT",
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

/// In a thread, because reading standard input can neither be polled nor cancelled; it ends with the process.
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

#[cfg(test)]
mod tests {
    use std::process::{Command, id};
    use std::time::Duration;

    use tokio::runtime::{Builder, Runtime};
    use tokio::time::timeout;

    use super::*;

    fn runtime() -> Runtime {
        Builder::new_current_thread().enable_all().build().unwrap()
    }

    fn hang_up() {
        let pid = id().to_string();
        let sent = Command::new("kill").args(["-s", "HUP", &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// One test, because each signal reaches all listeners in this process.
    #[test]
    fn a_signal_between_two_runtimes_is_known_and_the_end_of_the_parent_asks_for_no_haste() {
        let (parent, receiver) = watch::channel(false);
        let mut stop = runtime().block_on(async { StopSignals::install(false).unwrap() });
        stop.parent = Some(receiver);
        hang_up();
        let patience = Duration::from_secs(20);
        let long = async |stop: &mut StopSignals| timeout(patience, stop.hurry()).await;
        runtime().block_on(async {
            assert_eq!(timeout(patience, stop.next()).await, Ok("SIGHUP"));
            parent.send_replace(true);
            let hurry = timeout(Duration::from_millis(50), stop.hurry()).await;
            assert!(hurry.is_err(), "first the signal, then the parent's end");
            hang_up();
            assert_eq!(long(&mut stop).await, Ok("SIGHUP"));

            assert_eq!(stop.next().await, "the parent is gone");
            hang_up();
            let hurry = timeout(Duration::from_millis(50), stop.hurry()).await;
            assert!(hurry.is_err(), "first the parent's end, then the signal");
            hang_up();
            assert_eq!(long(&mut stop).await, Ok("SIGHUP"));
        });
    }
}

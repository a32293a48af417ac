//! Replaces the process by a fresh start of itself, as a deployment of another release would, without a refused
//! connection: the listening sockets stay open, and whoever calls meanwhile waits in their queues.
//!
//! The process id, the arguments, standard input and output stay what they are, so a supervisor sees no end. All else is new:
//! environment, memory, telemetry, and with it `service.instance.id`.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use rustix::io::{FdFlags, fcntl_setfd};
use tokio::sync::Notify;

use crate::settings::{Env, SettingError, wrong};

/// Descriptors of the two listening sockets, `7,8`. Set by the process that was here before.
const LISTENERS: &str = "OMNITRACE_INHERITED_LISTENERS";

/// A variable that the new start gets, or that is taken away.
pub type Variable = (&'static str, Option<String>);

type Plan = Box<dyn FnOnce() -> Variable + Send>;

/// Asks for the replacement of this process.
#[derive(Clone, Default)]
pub struct Replacement {
    plan: Arc<Mutex<Option<Plan>>>,
    asked: Arc<Notify>,
}

impl Replacement {
    /// Requests under way are finished, telemetry is flushed, then `variable` is asked for what the new start is told.
    pub fn request(&self, variable: impl FnOnce() -> Variable + Send + 'static) {
        *self.plan() = Some(Box::new(variable));
        self.asked.notify_one();
    }

    fn plan(&self) -> std::sync::MutexGuard<'_, Option<Plan>> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The listening sockets of a process, and where they are.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) http: TcpListener,
    pub(crate) admin: TcpListener,
}

impl Sockets {
    /// The same sockets once more: they stay open when the servers close theirs.
    pub(crate) fn keep(&self) -> anyhow::Result<Self> {
        let keep = |socket: &TcpListener| socket.try_clone().context("cannot keep a socket");
        Ok(Self {
            http: keep(&self.http)?,
            admin: keep(&self.admin)?,
        })
    }

    /// Where they listen: public, private.
    pub(crate) fn addresses(&self) -> anyhow::Result<(SocketAddr, SocketAddr)> {
        let address =
            |socket: &TcpListener| socket.local_addr().context("the address of a bound socket");
        Ok((address(&self.http)?, address(&self.admin)?))
    }
}

/// What a process does as its last act.
pub(crate) struct Successor {
    replacement: Replacement,
    sockets: Sockets,
    variable: Option<Variable>,
}

impl Successor {
    pub(crate) fn new(replacement: Replacement, sockets: Sockets) -> Self {
        Self {
            replacement,
            sockets,
            variable: None,
        }
    }

    /// Waits until it is asked for.
    pub(crate) async fn requested(&self) {
        self.replacement.asked.notified().await;
    }

    /// Asks what the new start is told; nothing is asked later.
    pub(crate) fn decide(&mut self) {
        let plan = self.replacement.plan().take();
        self.variable = plan.map(|plan| plan());
    }

    /// Returns only when it fails.
    pub(crate) fn take_over(self) -> anyhow::Error {
        match self.exec() {
            Err(error) => error.context("cannot start the other release in place of this process"),
            Ok(never) => match never {},
        }
    }

    fn exec(self) -> anyhow::Result<std::convert::Infallible> {
        // While it runs, a build may have put another file in its place, or none.
        let program = std::env::current_exe().ok().filter(|path| path.is_file());
        let program = program.unwrap_or_else(|| "/proc/self/exe".into());
        let mut arguments = std::env::args_os();
        let mut command = Command::new(program);
        if let Some(name) = arguments.next() {
            command.arg0(name);
        }
        command.args(arguments);
        let sockets = [&self.sockets.http, &self.sockets.admin];
        for socket in sockets {
            // Else the kernel closes it.
            fcntl_setfd(socket, FdFlags::empty()).context("cannot hand a socket on")?;
        }
        command.env(
            LISTENERS,
            sockets
                .map(|socket| socket.as_raw_fd().to_string())
                .join(","),
        );
        match self.variable {
            Some((name, Some(value))) => _ = command.env(name, value),
            Some((name, None)) => _ = command.env_remove(name),
            None => {}
        }
        Err(command.exec().into())
    }
}

/// The descriptors that a predecessor left, if there was one.
pub(crate) fn inherited(env: &Env) -> Result<Option<[i32; 2]>, SettingError> {
    let Some(text) = env.text(LISTENERS)? else {
        return Ok(None);
    };
    let numbers: Vec<i32> = text
        .split(',')
        .filter_map(|number| number.parse().ok())
        .collect();
    match numbers[..] {
        [http, admin] if http > 2 && admin > 2 => Ok(Some([http, admin])),
        _ => {
            let problem = "do not set it: it is between a process and its successor";
            Err(wrong(LISTENERS, format!("got {text:?}; {problem}")))
        }
    }
}

/// Makes sockets of the descriptors again.
pub(crate) fn adopt([http, admin]: [i32; 2]) -> anyhow::Result<Sockets> {
    Ok(Sockets {
        http: socket(http)?,
        admin: socket(admin)?,
    })
}

#[allow(
    unsafe_code,
    reason = "a descriptor that came through exec has no other way in; nothing else in this process knows its number"
)]
fn socket(descriptor: i32) -> anyhow::Result<TcpListener> {
    // SAFETY: the predecessor opened it for us, and this runs once, before anything else could open or close it.
    let owned = unsafe { OwnedFd::from_raw_fd(descriptor) };
    fcntl_setfd(&owned, FdFlags::CLOEXEC)
        .with_context(|| format!("{LISTENERS}: {descriptor} is not open"))?;
    let listener = TcpListener::from(owned);
    listener
        .local_addr()
        .with_context(|| format!("{LISTENERS}: {descriptor} is no socket"))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_two_and_none_of_the_standard_ones() {
        let read = |text| inherited(&Env::of([(LISTENERS, text)]));
        assert_eq!(read("7,8").unwrap(), Some([7, 8]));
        assert_eq!(inherited(&Env::of([])).unwrap(), None);
        for bad in ["7", "0,8", "7,8,9", "a,b", "-1,8"] {
            assert!(
                read(bad).unwrap_err().to_string().starts_with(LISTENERS),
                "{bad}"
            );
        }
    }
}

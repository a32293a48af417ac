//! Sockets: bound before anything else starts, so that the real port is known and a busy one is an early error.
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::Context;
use rustix::io::{FdFlags, fcntl_setfd};

use crate::settings::{LISTENERS, Settings};

/// The listening sockets of a service.
#[derive(Debug)]
pub struct Sockets {
    pub(crate) http: TcpListener,
    pub(crate) admin: TcpListener,
}

impl Sockets {
    /// Binds both addresses, or takes over the sockets of the process that has started this one.
    pub(crate) fn open(settings: &Settings) -> anyhow::Result<Self> {
        match settings.inherited {
            Some([http, admin]) => Ok(Self {
                http: adopt(http)?,
                admin: adopt(admin)?,
            }),
            None => Ok(Self {
                http: bind("OMNITRACE_HTTP_ADDR", settings.http_addr)?,
                admin: bind("OMNITRACE_ADMIN_ADDR", settings.admin_addr)?,
            }),
        }
    }

    /// Duplicates of the sockets: they stay open when the servers close theirs.
    pub(crate) fn keep(&self) -> anyhow::Result<Self> {
        let keep = |socket: &TcpListener| socket.try_clone().context("cannot keep a socket");
        Ok(Self {
            http: keep(&self.http)?,
            admin: keep(&self.admin)?,
        })
    }

    /// The listening addresses: public, private.
    pub(crate) fn addresses(&self) -> anyhow::Result<(SocketAddr, SocketAddr)> {
        let address =
            |socket: &TcpListener| socket.local_addr().context("the address of a bound socket");
        Ok((address(&self.http)?, address(&self.admin)?))
    }

    /// Passes the sockets to the processes that this one starts; returns the variable that tells a service about them.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn hand_on(&self) -> anyhow::Result<(&'static str, String)> {
        let sockets = [&self.http, &self.admin];
        for socket in sockets {
            // Else the kernel closes it.
            fcntl_setfd(socket, FdFlags::empty()).context("cannot hand a socket on")?;
        }
        let numbers = sockets.map(|socket| socket.as_raw_fd().to_string());
        Ok((LISTENERS, numbers.join(",")))
    }
}

/// Binds `addr` (port 0 takes a free port); the error names the variable.
fn bind(variable: &str, addr: SocketAddr) -> anyhow::Result<TcpListener> {
    listen::bind(addr).with_context(|| {
        format!("{variable}: cannot listen on {addr}; choose another port, or 0 for a free one")
    })
}

/// Makes a socket of a descriptor again.
#[allow(
    unsafe_code,
    reason = "a descriptor that came through exec has no other way in; nothing else in this process knows its number"
)]
fn adopt(descriptor: i32) -> anyhow::Result<TcpListener> {
    // SAFETY: the parent opened the descriptor for this process, and this runs once, before any other code could open or
    // close it.
    let owned = unsafe { OwnedFd::from_raw_fd(descriptor) };
    fcntl_setfd(&owned, FdFlags::CLOEXEC)
        .with_context(|| format!("{LISTENERS}: {descriptor} is not open"))?;
    let listener = TcpListener::from(owned);
    listener
        .local_addr()
        .with_context(|| format!("{LISTENERS}: {descriptor} is no socket"))?;
    Ok(listener)
}

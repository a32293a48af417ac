//! Sockets: bound before anything else starts, so that the real port is known and a busy one is an early error.
use std::net::{SocketAddr, TcpListener};

use anyhow::Context;

use crate::replacement::{self, Sockets};
use crate::settings::Settings;

/// Binds both addresses, or takes over the sockets of the process that this one replaces.
pub(crate) fn open(settings: &Settings) -> anyhow::Result<Sockets> {
    match settings.inherited {
        Some(descriptors) => replacement::adopt(descriptors),
        None => Ok(Sockets {
            http: bind("OMNITRACE_HTTP_ADDR", settings.http_addr)?,
            admin: bind("OMNITRACE_ADMIN_ADDR", settings.admin_addr)?,
        }),
    }
}

/// Binds `addr` (port 0 takes a free port); the error names the variable.
fn bind(variable: &str, addr: SocketAddr) -> anyhow::Result<TcpListener> {
    listen::bind(addr).with_context(|| {
        format!("{variable}: cannot listen on {addr}; choose another port, or 0 for a free one")
    })
}

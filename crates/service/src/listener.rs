//! Sockets: bound before anything else starts, so that the real port is known and a busy one is an early error.
use std::net::{SocketAddr, TcpListener};

use anyhow::Context;

/// Binds `addr` (port 0 takes a free port); the error names the variable.
pub(crate) fn bind(variable: &str, addr: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(addr).with_context(|| {
        format!("{variable}: cannot listen on {addr}; choose another port, or 0 for a free one")
    })?;
    let real = listener
        .local_addr()
        .context("the address of a bound socket")?;
    Ok((listener, real))
}

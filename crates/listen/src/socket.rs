//! Listening sockets.

use std::net::{SocketAddr, TcpListener};

/// Connections that may wait to be accepted; the kernel's own limit (`net.core.somaxconn`) may be lower. The standard
/// library asks for 128: a burst beyond that waits a second for its next attempt, in no trace and no metric.
const BACKLOG: i32 = 4096;

/// Listens on `address`; port 0 takes any free port.
///
/// # Errors
/// As those of [`TcpListener::bind`].
pub fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    // A second call only changes the length of the queue.
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(listener)
}

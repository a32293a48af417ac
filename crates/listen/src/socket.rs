//! Listening sockets.

use std::net::{SocketAddr, TcpListener};

use tokio::net::TcpSocket;

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

/// Takes a port (0 is any free one) before its program listens, for others that must know it first. While the socket exists,
/// nobody else is given the port. The socket does not listen itself, so that program can if it sets `SO_REUSEADDR`, as Rust's
/// standard library and Go's do.
///
/// # Errors
/// As those of [`TcpSocket::bind`].
pub fn reserve(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

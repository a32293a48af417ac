//! The socket below a request, for faults that happen below HTTP.
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;

/// A handle to the TCP connection that a request came in on.
#[derive(Clone)]
pub struct Socket(Arc<OwnedFd>);

impl Socket {
    /// The socket of a request, if the service keeps them ([`crate::Blueprint::keep_sockets`]).
    pub fn of(request: &HttpRequest) -> Option<Self> {
        request.conn_data::<Self>().cloned()
    }

    /// Resets the connection: the peer sees ECONNRESET, and no byte of a response.
    ///
    /// Connecting a connected socket to "no address" disconnects it, and Linux then sends RST, as if
    /// the process had crashed. Closing it would not do: the server still owns a descriptor.
    pub fn reset(&self) -> io::Result<()> {
        rustix::net::connect_unspec(&*self.0).map_err(io::Error::from)
    }
}

/// Keeps a second descriptor of each connection; it is closed together with the connection.
pub(crate) fn keep(stream: &TcpStream, data: &mut Extensions) {
    match stream.as_fd().try_clone_to_owned() {
        Ok(descriptor) => {
            data.insert(Socket(Arc::new(descriptor)));
        }
        Err(error) => tracing::warn!(%error, "cannot keep the connection's socket"),
    }
}

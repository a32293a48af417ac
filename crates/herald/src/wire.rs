//! What lies between a socket and the HTTP server: it tells the server's bookkeeping what comes and goes, and reads nothing
//! while it is not the client's turn.
//!
//! Left to itself the server reads and decodes whatever requests come behind one that is not answered yet, or whose answer
//! nobody reads.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::connections::Connection;

/// What is read before the server looks at it: a request and perhaps the beginning of the next one.
const PIECE: usize = 16 << 10;

/// A plain or an encrypted connection.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Wire for T {}

/// A socket whose client is watched.
pub(crate) struct Watched {
    socket: TcpStream,
    connection: Rc<Connection>,
    /// Read in this turn.
    given: usize,
}

impl Watched {
    pub(crate) fn new(socket: TcpStream, connection: Rc<Connection>) -> Self {
        Self {
            socket,
            connection,
            given: 0,
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.connection.poll_turn(cx));
        if self.given >= PIECE {
            self.given = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = out.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(cx, out);
        let count = out.filled().len() - before;
        self.given = if read.is_pending() {
            0
        } else {
            self.given + count
        };
        self.connection.brought(count);
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    /// The server does this when it has written all that it has.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.written();
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

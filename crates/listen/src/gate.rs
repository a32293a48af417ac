//! A gate between a connection and the HTTP server. It collects a request's head and passes it on as a whole, and only after
//! the previous response has been written.
//!
//! Left to itself the server keeps 128 KiB of an unfinished head for each connection, parses it again for each packet, and decodes
//! whatever requests came behind one that is not answered yet: 128 KiB of them take 20 MiB. What it answers without a body it
//! writes into memory, however much of that is unread. It gives a head its time again with each byte, but for the first one, and
//! reads the rest of a body that is answered already for as long as it comes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::web::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::flow::Flow;
use crate::head::{Follows, end_of_head, follows};

/// The largest head.
pub(crate) const MAX_HEAD: usize = 32 << 10;

/// The longest line that tells the size of a chunk.
const MAX_CHUNK_LINE: usize = 1 << 10;

/// How much is read at once, and passed on before other connections have a turn.
const PIECE: usize = 16 << 10;

/// A body may continue for this long after its response: the server reads data that it does not need, so that the client
/// gets the response.
const REST: Duration = Duration::from_secs(10);

/// Replaces a head that is too large; see [`crate::in_turn`].
const STAND_IN: &[u8] = b"GET / HTTP/1.0\r\n\r\n";

/// The expected part.
#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Head,
    /// The size of a chunk, in a chunked body.
    Chunk,
    /// The lines behind the last chunk.
    Trailer,
    /// Nothing more is read.
    Over,
}

/// A connection as the server sees it.
#[derive(Debug)]
pub struct Gate<T> {
    io: T,
    flow: Arc<Flow>,
    /// The client has not yet read everything that the server wrote last.
    is_unread: bool,
    /// Fires when the connection has to make room, or its client has taken too long.
    end: Option<Pin<Box<Sleep>>>,
    stage: Stage,
    /// How long a head may take. The server itself sees to that of a connection's first one, which it answers with 408.
    head_timeout: Duration,
    is_first: bool,
    /// When the head that has begun has to be there.
    head_due: Option<Instant>,
    /// The received bytes that have not been passed on, and how many of them cannot end a head.
    came: BytesMut,
    searched: usize,
    /// How many of the next bytes are passed on as they arrive.
    open: u64,
    /// Handed on in this turn.
    given: usize,
}

impl<T> Gate<T> {
    /// In front of `io`; a head takes `head_timeout` at most.
    pub fn new(io: T, head_timeout: Duration) -> Self {
        Self {
            io,
            flow: Arc::default(),
            is_unread: false,
            end: None,
            stage: Stage::Head,
            head_timeout,
            is_first: true,
            head_due: None,
            came: BytesMut::new(),
            searched: 0,
            open: 0,
            given: 0,
        }
    }

    /// The flow for its requests: the connection's data must hold it.
    pub fn flow(&self) -> &Arc<Flow> {
        &self.flow
    }

    /// The connection behind it.
    pub fn io(&self) -> &T {
        &self.io
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Gate<T> {
    /// Hands on what may be.
    fn hand_on(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.given >= PIECE {
            self.given = 0;
            cx.waker().wake_by_ref();
            return self.wait(cx);
        }
        let open = usize::try_from(self.open).unwrap_or(usize::MAX);
        let most = open.min(PIECE).min(out.remaining());
        let count = match self.came.is_empty() {
            false => {
                let count = most.min(self.came.len());
                out.put_slice(&self.came[..count]);
                self.came.advance(count);
                count
            }
            true => {
                let mut part = ReadBuf::new(out.initialize_unfilled_to(most));
                if Pin::new(&mut self.io)
                    .poll_read(cx, &mut part)?
                    .is_pending()
                {
                    return self.wait(cx);
                }
                let count = part.filled().len();
                out.advance(count);
                count
            }
        };
        if self.came.is_empty() {
            self.came = BytesMut::new();
        }
        self.open -= count as u64;
        self.given += count;
        Poll::Ready(Ok(()))
    }

    /// Reads more bytes; `false` at the end.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut room = [0; 4 << 10];
        let mut part = ReadBuf::new(&mut room);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut part))?;
        self.came.extend_from_slice(part.filled());
        Poll::Ready(Ok(!part.filled().is_empty()))
    }

    /// Decides what may be passed on next; `false` if more bytes are needed.
    fn proceed(&mut self) -> bool {
        match self.stage {
            Stage::Head => self.head(),
            Stage::Chunk => self.chunk(),
            Stage::Trailer => self.trailer(),
            Stage::Over => false,
        }
    }

    fn head(&mut self) -> bool {
        while let Some(end) = end_of_head(&self.came, self.searched) {
            self.searched = end;
            if end > MAX_HEAD {
                break;
            }
            if let Some(follows) = follows(&self.came[..end]) {
                self.open = end as u64;
                match follows {
                    Follows::Head => {}
                    Follows::Bytes(count) => self.open = self.open.saturating_add(count),
                    Follows::Chunks => self.stage = Stage::Chunk,
                    Follows::Nothing => self.stage = Stage::Over,
                }
                self.head_is_there(false);
                return true;
            }
        }
        self.searched = self.searched.max(self.came.len().saturating_sub(2));
        if !self.is_first && !self.came.is_empty() {
            let due = || Instant::now() + self.head_timeout;
            self.head_due.get_or_insert_with(due);
        }
        if self.came.len() <= MAX_HEAD {
            return false;
        }
        self.came = STAND_IN.into();
        self.open = STAND_IN.len() as u64;
        self.stage = Stage::Over;
        self.head_is_there(true);
        true
    }

    fn head_is_there(&mut self, is_too_large: bool) {
        self.searched = 0;
        self.is_first = false;
        self.head_due = None;
        self.flow.handed_on(is_too_large);
    }

    fn chunk(&mut self) -> bool {
        let line = &self.came[..self.came.len().min(MAX_CHUNK_LINE)];
        match httparse::parse_chunk_size(line) {
            Ok(httparse::Status::Complete((end, 0))) => {
                self.open = end as u64;
                self.stage = Stage::Trailer;
            }
            Ok(httparse::Status::Complete((end, size))) => {
                self.open = size.saturating_add(end as u64 + 2);
            }
            Ok(httparse::Status::Partial) if line.len() < MAX_CHUNK_LINE => return false,
            // The server reports the error.
            Ok(httparse::Status::Partial) | Err(_) => self.give_up(),
        }
        true
    }

    fn trailer(&mut self) -> bool {
        match self.came.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                self.open = end as u64 + 1;
                if matches!(self.came[..end], [] | [b'\r']) {
                    self.stage = Stage::Head;
                }
                true
            }
            None if self.came.len() < MAX_CHUNK_LINE => false,
            None => {
                self.give_up();
                true
            }
        }
    }

    fn give_up(&mut self) {
        self.open = self.came.len() as u64;
        self.stage = Stage::Over;
    }

    /// The deadline for the expected part.
    fn due(&self) -> Option<Instant> {
        match self.stage {
            Stage::Head if self.open == 0 => self.head_due,
            // The client has the answer to read.
            Stage::Over => None,
            _ => self.flow.answered_at().map(|end| end + REST),
        }
    }

    /// Reads nothing now; ends when the connection must close, or the expected part is late.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ends = self.flow.ends_at().into_iter().chain(self.due());
        let Some(ends_at) = ends.min() else {
            return Poll::Pending;
        };
        let end = self
            .end
            .get_or_insert_with(|| Box::pin(sleep_until(ends_at)));
        end.as_mut().reset(ends_at);
        end.as_mut().poll(cx).map(Ok)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gate<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            this.flow.watch(cx);
            if this.open > 0 {
                return this.hand_on(cx, out);
            }
            let is_held_up = this.is_unread || this.flow.is_answered();
            match this.stage {
                // Only reading reveals that the client has disconnected.
                Stage::Head if is_held_up && !this.came.is_empty() => return this.wait(cx),
                Stage::Head if is_held_up => {}
                // An end would end the request.
                Stage::Over if is_held_up => return this.wait(cx),
                Stage::Over => return Poll::Ready(Ok(())),
                _ => {
                    if this.proceed() {
                        continue;
                    }
                }
            }
            match this.fill(cx)? {
                Poll::Ready(true) => {}
                Poll::Ready(false) => return Poll::Ready(Ok(())),
                Poll::Pending => return this.wait(cx),
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Gate<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.is_unread |= written.is_pending();
        written
    }

    /// The server does this when it has written all that it has.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        if std::mem::replace(&mut self.is_unread, flushed.is_pending()) && flushed.is_ready() {
            // The next head may go on.
            cx.waker().wake_by_ref();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;

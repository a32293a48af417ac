//! What lies between a socket and the HTTP server: a request's head is gathered here and handed on whole, one at a time.
//!
//! Left to itself the server keeps 128 KiB of an unfinished head for each connection, parses it again for each packet, and decodes
//! whatever requests came behind one that is not answered yet, of which each may take a hundred times its bytes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use actix_web::web::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::connections::{Connections, Flow};

/// The largest head.
pub(crate) const MAX_HEAD: usize = 32 << 10;

/// The most headers that the server takes.
const MAX_HEADERS: usize = 96;

/// The longest line that tells the size of a chunk.
const MAX_CHUNK_LINE: usize = 1 << 10;

/// What is read at once, and handed on before other connections have their turn.
const PIECE: usize = 16 << 10;

/// Handed on in place of a head that is too large; see [`Flow::begin`].
const STAND_IN: &[u8] = b"GET / HTTP/1.0\r\n\r\n";

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Head,
    /// Of a body in chunks: the size of one.
    Chunk,
    /// The lines behind the last chunk.
    Trailer,
    /// Nothing that is read.
    Over,
}

/// A connection as the server sees it.
#[derive(Debug)]
pub(crate) struct Connection {
    io: TcpStream,
    flow: Arc<Flow>,
    all: Connections,
    /// Its place among those that wait for a head.
    place: Option<u64>,
    stage: Stage,
    /// What came and is not handed on yet, and how much of it cannot end a head.
    came: BytesMut,
    searched: usize,
    /// So many of the next bytes are handed on as they come.
    open: u64,
    /// Handed on in this turn.
    given: usize,
}

/// What a head says of what follows it.
#[derive(Debug, PartialEq, Eq)]
enum Follows {
    Head,
    Bytes(u64),
    Chunks,
    Nothing,
}

impl Connection {
    pub fn new(io: TcpStream, all: &Connections) -> Self {
        Self {
            io,
            flow: all.open(),
            all: all.clone(),
            place: None,
            stage: Stage::Head,
            came: BytesMut::new(),
            searched: 0,
            open: 0,
            given: 0,
        }
    }

    /// What its requests know of it.
    pub fn flow(&self) -> &Arc<Flow> {
        &self.flow
    }

    /// Hands on what may be.
    fn hand_on(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.given >= PIECE {
            self.given = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
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
                ready!(Pin::new(&mut self.io).poll_read(cx, &mut part))?;
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

    /// Reads some more; `false` at the end.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut room = [0; 4 << 10];
        let mut part = ReadBuf::new(&mut room);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut part))?;
        self.came.extend_from_slice(part.filled());
        Poll::Ready(Ok(!part.filled().is_empty()))
    }

    /// Finds out what may be handed on next; `false` if more has to come first.
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
        self.flow.handed_on(is_too_large);
        self.leave();
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
            // The server says what is wrong with it.
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

    fn leave(&mut self) {
        if let Some(place) = self.place.take() {
            self.all.leave(place);
        }
    }
}

/// The place behind the first empty line that ends behind `searched`.
fn end_of_head(bytes: &[u8], searched: usize) -> Option<usize> {
    let start = searched.saturating_sub(1);
    let tail = bytes.get(start..)?;
    let ends = tail.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    for (at, _) in ends {
        match tail[at + 1..] {
            [b'\n', ..] => return Some(start + at + 2),
            [b'\r', b'\n', ..] => return Some(start + at + 3),
            _ => {}
        }
    }
    None
}

/// What a head says; `None` for empty lines in front of one. What is no head is handed on, for the server to refuse.
fn follows(head: &[u8]) -> Option<Follows> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return None,
        Err(_) => return Some(Follows::Nothing),
    }
    let values = |name: &'static str| {
        let named = move |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case(name);
        request
            .headers
            .iter()
            .filter(named)
            .map(|header| header.value)
    };
    let Some(length) = length(values("content-length")) else {
        return Some(Follows::Nothing);
    };
    let is_chunked = match values("transfer-encoding").collect::<Vec<_>>()[..] {
        [] => false,
        [one] if request.version == Some(1) && one.eq_ignore_ascii_case(b"chunked") => true,
        // The server refuses it, or reads it in a way of its own.
        _ => return Some(Follows::Nothing),
    };
    let has_body = is_chunked || length > 0;
    let is_websocket =
        values("upgrade").any(|value| value.to_ascii_lowercase().starts_with(b"websocket"));
    Some(match request.method.unwrap_or_default() {
        // Nobody reads what follows these.
        "CONNECT" => Follows::Nothing,
        "GET" | "HEAD" if has_body => Follows::Nothing,
        _ if is_websocket => Follows::Nothing,
        _ if is_chunked => Follows::Chunks,
        _ if has_body => Follows::Bytes(length),
        _ => Follows::Head,
    })
}

/// The length of a body, 0 if none is given; `None` for what the server refuses.
fn length<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Option<u64> {
    let Some(value) = values.next() else {
        return Some(0);
    };
    let is_number = values.next().is_none() && value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| is_number)?;
    text.parse().ok()
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.open > 0 {
                return this.hand_on(cx, out);
            }
            if this.stage == Stage::Head {
                if this.flow.is_held_up(cx) {
                    return Poll::Pending;
                }
                if this.place.is_none() && !this.flow.is_answered() {
                    this.place = Some(this.all.wait(&this.flow));
                }
            }
            if this.stage == Stage::Over {
                return Poll::Ready(Ok(()));
            }
            if this.proceed() {
                continue;
            }
            match this.fill(cx)? {
                Poll::Ready(true) => {}
                // Who has sent a head meanwhile may go on.
                Poll::Pending if this.stage != Stage::Head || !this.flow.is_closed() => {
                    return Poll::Pending;
                }
                Poll::Ready(false) | Poll::Pending => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.leave();
        self.all.closed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_an_empty_line_however_it_comes() {
        for (text, end) in [
            ("GET / HTTP/1.1\r\nhost: a\r\n\r\nrest", Some(27)),
            ("GET / HTTP/1.0\n\nrest", Some(16)),
            ("GET / HTTP/1.1\r\nhost: a\r\n", None),
            ("GET / HTTP/1.1\r\nhost: a\r\n\r", None),
        ] {
            let bytes = text.as_bytes();
            assert_eq!(end_of_head(bytes, 0), end, "{text}");
            // Byte by byte, each looked at once.
            let found = (1..=bytes.len()).find_map(|size| {
                let searched = (size - 1).saturating_sub(2);
                end_of_head(&bytes[..size], searched)
            });
            assert_eq!(found, end, "{text}");
        }
    }

    #[test]
    fn heads_say_what_follows() {
        for (head, expected) in [
            ("GET / HTTP/1.1", Some(Follows::Head)),
            (
                "POST / HTTP/1.1\r\nContent-Length: 7",
                Some(Follows::Bytes(7)),
            ),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked",
                Some(Follows::Chunks),
            ),
            (
                "GET / HTTP/1.1\r\ncontent-length: 7",
                Some(Follows::Nothing),
            ),
            (
                "GET / HTTP/1.1\r\nupgrade: WebSocket",
                Some(Follows::Nothing),
            ),
            ("GET / HTTP/1.1\r\nupgrade: h2c", Some(Follows::Head)),
            ("CONNECT a:1 HTTP/1.1", Some(Follows::Nothing)),
            (
                "POST / HTTP/1.1\r\ncontent-length: +7",
                Some(Follows::Nothing),
            ),
            (
                "POST / HTTP/1.1\r\ncontent-length: 7\r\ncontent-length: 7",
                Some(Follows::Nothing),
            ),
            (
                "POST / HTTP/1.1\r\ntransfer-encoding: identity\r\ncontent-length: 7",
                Some(Follows::Nothing),
            ),
            (
                "POST / HTTP/1.1\r\ntransfer-encoding: gzip, chunked",
                Some(Follows::Nothing),
            ),
            (
                "POST / HTTP/1.0\r\ntransfer-encoding: chunked",
                Some(Follows::Nothing),
            ),
            ("\0", Some(Follows::Nothing)),
            ("", None),
        ] {
            let text = format!("{head}\r\n\r\n");
            assert_eq!(follows(text.as_bytes()), expected, "{head}");
        }
    }
}

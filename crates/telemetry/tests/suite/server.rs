//! The server under test, and a client that sends what it is told, byte by byte.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::LazyLock;
use std::time::Duration;

use telemetry::testing::recorder;

use super::Serve;

const DEADLINE: Duration = Duration::from_secs(30);

/// Where the application listens, in a thread of its own, as long as the process lives.
pub static SERVER: LazyLock<SocketAddr> = LazyLock::new(|| {
    recorder();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || crate::App::serve(listener));
    address
});

/// An answer, or what came of it before the connection ended.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// Sends a request and reads the answer to its end.
pub fn request(method: &str, path: &str) -> Answer {
    send(&format!("{method} {path} HTTP/1.1\r\nhost: test"))
}

/// Sends the head of a request as it is, and reads the answer to its end.
pub fn send(head: &str) -> Answer {
    let mut stream = connect();
    write!(stream, "{head}\r\nconnection: close\r\n\r\n").expect("send");
    answer(stream)
}

/// Sends a request and leaves the reading to the caller; dropping the stream hangs up.
pub fn open(method: &str, path: &str, headers: &str) -> TcpStream {
    let mut stream = connect();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).expect("send");
    stream
}

/// Reads an answer to its end.
pub fn answer(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    // A reset connection is an answer too: an empty one.
    stream.read_to_end(&mut bytes).ok();
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.get(9..12).and_then(|code| code.parse().ok());
    Answer {
        status: status.unwrap_or(0),
        head: head.to_lowercase(),
        body: body.to_owned(),
    }
}

fn connect() -> TcpStream {
    let stream = TcpStream::connect(*SERVER).expect("connect");
    stream.set_read_timeout(Some(DEADLINE)).expect("time-out");
    stream
}

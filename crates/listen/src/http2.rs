//! HTTP/2 without TLS, for gRPC: on ports of its own, beside those of [`crate::add_http1`].

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use actix_server::{GracefulShutdownSignal, ServerBuilder};
use actix_service::fn_service;
use actix_web::rt;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http2::Builder;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::flow::{Flow, Turn};
use crate::serve::for_accepted;

/// What every client sends first (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The preface must come within this time. A client may then wait for as long as it likes with its first request.
const PREFACE_TIMEOUT: Duration = Duration::from_secs(5);

/// A client is asked this often whether it is still there, and has this long to answer.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest head: what gRPC's own implementations take.
const MAX_HEAD: u32 = 8 << 10;

/// The most requests of a connection at once.
const STREAMS: u32 = 8;

/// How many bytes a client may send before they are read: of a request, and of a connection.
const UNREAD: u32 = 64 << 10;

/// How much a client that speaks something else may still send, so that it gets its answer.
const REST: u64 = 64 << 10;
const REST_TIMEOUT: Duration = Duration::from_secs(1);

/// Adds a listener for HTTP/2 to a server. `connected` is called per connection, with what [`Flow::make_room`] ends. A client
/// of HTTP/1 is told `instead`.
///
/// # Errors
/// When the listener cannot be used.
pub fn add_http2<S, B>(
    server: ServerBuilder,
    listener: TcpListener,
    instead: &'static str,
    connected: impl Fn(&Arc<Flow>) + Clone + Send + 'static,
    app: impl Fn() -> S + Clone + Send + 'static,
) -> io::Result<ServerBuilder>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + 'static,
    B: Body<Data: 'static, Error: std::error::Error + Send + Sync> + 'static,
{
    for_accepted(&listener)?;
    let stopping = server.graceful_shutdown_signal();
    server.listen("http2", listener, move || {
        let (app, connected, stopping) = (Arc::new(app()), connected.clone(), stopping.clone());
        fn_service(move |io: TcpStream| {
            let (app, stopping) = (app.clone(), stopping.clone());
            let flow = Arc::<Flow>::default();
            connected(&flow);
            async move {
                tokio::select! {
                    () = converse(io, &flow, &*app, instead, stopping) => {}
                    () = flow.must_end() => {}
                }
                Ok::<_, Infallible>(())
            }
        })
    })
}

async fn converse<S, B>(
    mut io: TcpStream,
    flow: &Arc<Flow>,
    app: &S,
    instead: &str,
    stopping: GracefulShutdownSignal,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: 'static>,
    B: Body<Data: 'static, Error: std::error::Error + Send + Sync> + 'static,
{
    match timeout(PREFACE_TIMEOUT, preface(&mut io)).await {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) => return refuse(io, instead).await,
        Ok(Err(_)) | Err(_) => return,
    }
    let turns = Turns::new(flow);
    let answer = service_fn(|request| {
        let turn = turns.begin();
        let answer = app.call(request);
        async move {
            let answer = answer.await;
            drop(turn);
            answer
        }
    });
    let (read, write) = io.into_split();
    let io = tokio::io::join(PREFACE.chain(read), write);
    let mut connection = pin!(bounded().serve_connection(TokioIo::new(io), answer));
    tokio::select! {
        // What a client does wrong is its own affair.
        _ = connection.as_mut() => return,
        () = stopping.notified() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

fn bounded() -> Builder<OnThisThread> {
    let mut builder = Builder::new(OnThisThread);
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(MAX_HEAD)
        .initial_stream_window_size(UNREAD)
        .initial_connection_window_size(UNREAD)
        .max_send_buf_size(UNREAD as usize);
    builder
}

/// Reads the preface; `false` as soon as something else comes.
async fn preface(io: &mut TcpStream) -> io::Result<bool> {
    let mut came = [0; PREFACE.len()];
    let mut size = 0;
    while size < came.len() {
        match io.read(&mut came[size..]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            some => size += some,
        }
        if !PREFACE.starts_with(&came[..size]) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Tells a client of HTTP/1 where to go. What it sends is read, or it would lose the answer.
async fn refuse(mut io: TcpStream, instead: &str) {
    let answer = format!(
        "HTTP/1.1 505 HTTP Version Not Supported\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{instead}",
        instead.len()
    );
    let rest = async {
        io.write_all(answer.as_bytes()).await?;
        io.shutdown().await?;
        tokio::io::copy(&mut io.take(REST), &mut tokio::io::sink()).await
    };
    let _ = timeout(REST_TIMEOUT, rest).await;
}

/// A connection's turn lasts for as long as any of its requests is answered.
struct Turns {
    flow: Arc<Flow>,
    current: Mutex<Weak<Turn>>,
}

impl Turns {
    fn new(flow: &Arc<Flow>) -> Self {
        Self {
            flow: flow.clone(),
            current: Mutex::default(),
        }
    }

    fn begin(&self) -> Arc<Turn> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = current.upgrade() {
            return turn;
        }
        self.flow.handed_on(false);
        let turn = Arc::new(Turn(Some(self.flow.clone())));
        *current = Arc::downgrade(&turn);
        turn
    }
}

/// Requests are answered on the thread of their connection.
#[derive(Clone)]
struct OnThisThread;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for OnThisThread {
    fn execute(&self, future: F) {
        rt::spawn(future);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_waits_when_none_of_its_requests_is_answered() {
        let flow = Arc::<Flow>::default();
        let turns = Turns::new(&flow);
        let (one, other) = (turns.begin(), turns.begin());
        drop(one);
        assert!(flow.is_answered());
        drop(other);
        assert!(!flow.is_answered());
        let _next = turns.begin();
        assert!(flow.is_answered());
    }
}

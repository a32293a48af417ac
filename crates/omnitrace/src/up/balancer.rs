//! The one address of several instances of a service. Each request goes to a ready instance, to one with the fewest requests
//! in progress; among equal ones they take turns.
//!
//! Requests are shared out, not connections: a client keeps a connection for long, so that one instance would get all. An
//! instance that hangs or is slow has requests in progress, and so the others get the next ones before it is found unready.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

/// How often an instance is asked whether it is ready.
const CHECK: Duration = Duration::from_millis(100);

/// An instance that does not answer for so long is not ready.
const CHECK_LIMIT: Duration = Duration::from_secs(1);

/// How long an instance that is asked to stop accepts requests: several checks, in which it is found unready.
pub const DRAIN_DELAY: Duration = Duration::from_millis(700);

/// How long a client's idle connection stays open: as long as that of a service.
const IDLE: Duration = Duration::from_secs(75);

/// The most connections of clients; others wait until one ends.
const MAX_CONNECTIONS: usize = 512;

/// The buffer for a head; a service refuses one that is larger.
const MAX_HEAD: usize = 64 << 10;

/// The pause when a connection cannot be accepted, since files or memory lack.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

type Answer = BoxBody<Bytes, hyper::Error>;

/// An instance of the service.
pub struct Instance {
    /// The address of its API.
    pub address: SocketAddr,
    /// `http://ip:port` of its admin listener.
    pub admin_url: String,
}

struct Backend {
    address: SocketAddr,
    is_ready: AtomicBool,
    in_progress: AtomicUsize,
}

/// A request in progress, until its response has been passed on.
struct InProgress(Arc<Backend>);

impl InProgress {
    fn of(backend: &Arc<Backend>) -> Self {
        backend.in_progress.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(backend))
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.in_progress.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Balancer {
    backends: Vec<Arc<Backend>>,
    turn: AtomicUsize,
}

/// Shares out the requests that come to `listener`, until the runtime ends.
///
/// # Errors
/// When the listener cannot be used.
pub fn start(listener: std::net::TcpListener, instances: Vec<Instance>) -> anyhow::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let checks = reqwest::Client::builder().no_proxy().timeout(CHECK_LIMIT);
    let checks = checks.build()?;
    let backends = instances.into_iter().map(|instance| {
        let backend = Arc::new(Backend {
            address: instance.address,
            is_ready: AtomicBool::new(true),
            in_progress: AtomicUsize::new(0),
        });
        let ready = checks.get(format!("{}/ready", instance.admin_url));
        tokio::spawn(check(Arc::clone(&backend), ready));
        backend
    });
    let balancer = Balancer {
        backends: backends.collect(),
        turn: AtomicUsize::new(0),
    };
    tokio::spawn(accept(listener, Arc::new(balancer)));
    Ok(())
}

async fn check(backend: Arc<Backend>, ready: reqwest::RequestBuilder) {
    // A request without a body can be cloned.
    while let Some(ready) = ready.try_clone() {
        let answer = ready.send().await;
        let is_ready = answer.is_ok_and(|answer| answer.status().is_success());
        backend.is_ready.store(is_ready, Ordering::Relaxed);
        sleep(CHECK).await;
    }
}

async fn accept(listener: TcpListener, balancer: Arc<Balancer>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(serve(stream, Arc::clone(&balancer), place))),
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn serve(stream: TcpStream, balancer: Arc<Balancer>, _place: OwnedSemaphorePermit) {
    stream.set_nodelay(true).ok();
    let client = Arc::new(Client {
        connections: balancer.backends.iter().map(|_| Mutex::default()).collect(),
        balancer,
    });
    let service = service_fn(move |request| {
        let client = Arc::clone(&client);
        async move { Ok::<_, Infallible>(client.pass_on(request).await) }
    });
    // An error is one of the client's, which has gone, or does not speak HTTP.
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .await
        .ok();
}

impl Balancer {
    /// The best instance first. The others follow, in case it refuses the connection.
    fn in_order(&self) -> Vec<usize> {
        let (turn, count) = (
            self.turn.fetch_add(1, Ordering::Relaxed),
            self.backends.len(),
        );
        let mut order: Vec<usize> = (0..count)
            .map(|step| (turn % count + step) % count)
            .collect();
        order.sort_by_key(|index| {
            let backend = &self.backends[*index];
            let is_unready = !backend.is_ready.load(Ordering::Relaxed);
            (is_unready, backend.in_progress.load(Ordering::Relaxed))
        });
        order
    }
}

/// A client's connection. Its requests come one after the other, so it needs one connection to each instance.
struct Client {
    balancer: Arc<Balancer>,
    connections: Vec<Mutex<Option<SendRequest<Incoming>>>>,
}

impl Client {
    async fn pass_on(&self, mut request: Request<Incoming>) -> Response<Answer> {
        // It is about the connection between client and balancer.
        request.headers_mut().remove(CONNECTION);
        for index in self.balancer.in_order() {
            let backend = &self.balancer.backends[index];
            let in_progress = InProgress::of(backend);
            let Some(mut connection) = self.connection(index, backend.address).await else {
                continue;
            };
            match connection.try_send_request(request).await {
                Ok(mut response) => {
                    response.headers_mut().remove(CONNECTION);
                    *self.last(index) = Some(connection);
                    return response.map(|body| until_the_end_of(body, in_progress));
                }
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => request = unsent,
                    // It may have been carried out, so no other instance gets it.
                    None => return problem(StatusCode::BAD_GATEWAY, "the instance has gone away"),
                },
            }
        }
        problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "no instance accepts connections",
        )
    }

    /// The connection of the last request to an instance, if it is still good, or a new one.
    async fn connection(&self, index: usize, address: SocketAddr) -> Option<SendRequest<Incoming>> {
        let last = self.last(index).take();
        if let Some(last) = last.filter(SendRequest::is_ready) {
            return Some(last);
        }
        let stream = TcpStream::connect(address).await.ok()?;
        stream.set_nodelay(true).ok();
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
        let (connection, driver) = handshake.await.ok()?;
        // It ends with the connection; its error is that of the request.
        tokio::spawn(driver);
        Some(connection)
    }

    fn last(&self, index: usize) -> MutexGuard<'_, Option<SendRequest<Incoming>>> {
        let last = &self.connections[index];
        last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn until_the_end_of(body: Incoming, in_progress: InProgress) -> Answer {
    let frames = body.map_frame(move |frame| {
        let _in_progress = &in_progress;
        frame
    });
    frames.boxed()
}

/// An answer of the balancer itself.
fn problem(status: StatusCode, detail: &str) -> Response<Answer> {
    let title = status.canonical_reason();
    let document =
        json!({"type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail});
    let body = Full::new(document.to_string().into());
    let mut response = Response::new(body.map_err(|never| match never {}).boxed());
    *response.status_mut() = status;
    let media_type = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}

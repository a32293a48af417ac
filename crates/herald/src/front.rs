//! Accepts connections, with TLS if configured, and serves an application on them in a thread of its own, so that a slow
//! request to a backend does not delay incoming alerts.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::{HttpService, Protocol, Request, Response};
use actix_service::{IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, map_config};
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::AppConfig;
use actix_web::rt::{System, spawn};
use anyhow::{Context, Result};
use listen::Gate;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::time::{interval, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::connections::{Connections, Place};
use crate::wire::{Watched, Wire};

/// How long a client may take for the TLS handshake, and again for the head of its request.
const HEAD: Duration = Duration::from_secs(5);

/// How long a client that still sends its body may take to read that it is refused.
const LINGER: Duration = Duration::from_secs(1);

/// How long requests under way may take at the end.
const DRAIN: Duration = Duration::from_secs(5);

/// The kernel would buffer megabytes that a client does not read. They count as the container's memory, and the server would
/// produce each of these answers before others have a turn. The limit is lower than that of other listeners
/// (`listen::add_http1`): no answer needs a fast reader, and the container is small.
const UNREAD: usize = 64 << 10;

/// Pause when no connection can be accepted, for example because there are no file descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// The running front.
pub(crate) struct Front {
    stop: watch::Sender<bool>,
    ended: oneshot::Receiver<()>,
}

impl Front {
    /// Resolves when it has ended by itself.
    pub(crate) async fn ended(&mut self) {
        (&mut self.ended).await.ok();
    }

    /// Accepts nothing more, and waits for the requests under way.
    pub(crate) async fn stop(mut self) {
        self.stop.send_replace(true);
        self.ended().await;
    }
}

/// Starts it. `app` makes the application.
///
/// # Errors
/// When the listener cannot be used.
pub(crate) fn start<A, I, S, B>(
    listener: std::net::TcpListener,
    tls: Option<Arc<ServerConfig>>,
    app: A,
) -> Result<Front>
where
    A: FnOnce(Rc<Connections>) -> I + Send + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<actix_web::Error>,
    S::InitError: std::fmt::Debug,
    S::Response: Into<Response<B>>,
    B: MessageBody + 'static,
{
    listener
        .set_nonblocking(true)
        .context("the listener cannot be used")?;
    // Accepted connections inherit it.
    rustix::net::sockopt::set_socket_send_buffer_size(&listener, UNREAD)
        .context("the listener takes no buffer size")?;
    let address = listener
        .local_addr()
        .context("the listener has no address")?;
    let with_tls = tls.is_some();
    let (stop, stopping) = watch::channel(false);
    let (end, ended) = oneshot::channel();
    let serve = move || {
        System::new().block_on(async {
            let connections = Rc::new(Connections::default());
            let app = listen::in_turn(app(connections.clone()));
            let app = map_config(app, move |()| listen::reached_at(address, with_tls))
                .map_err(|error| Response::<BoxBody>::from(error.into()));
            let service = HttpService::build()
                .client_request_timeout(HEAD)
                .client_disconnect_timeout(LINGER)
                .on_connect_ext(|gate: &Gate<Box<dyn Wire>>, data| {
                    data.insert(gate.flow().clone());
                })
                .finish(app);
            match service.new_service(()).await {
                Ok(handler) => serve(listener, tls, handler, &connections, stopping).await,
                Err(()) => tracing::error!("the application cannot be built"),
            }
        });
        end.send(()).ok();
    };
    std::thread::Builder::new()
        .name("front".to_owned())
        .spawn(serve)
        .context("cannot start the thread of the listener")?;
    Ok(Front { stop, ended })
}

async fn serve<H>(
    listener: std::net::TcpListener,
    tls: Option<Arc<ServerConfig>>,
    handler: H,
    connections: &Rc<Connections>,
    mut stopping: watch::Receiver<bool>,
) where
    H: Service<(Gate<Box<dyn Wire>>, Protocol, Option<SocketAddr>)> + 'static,
{
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the listener cannot be used"),
    };
    let (handler, tls) = (Rc::new(handler), tls.map(TlsAcceptor::from));
    let patience = spawn(each_second(connections.clone()));
    loop {
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => break,
            (socket, place) = accept(&listener, connections) => {
                let connection = place.connection.clone();
                let task = spawn(one(handler.clone(), tls.clone(), socket, place));
                connection.served_by(task.abort_handle());
                // Reads what the client has sent already before another connection may replace it.
                tokio::task::yield_now().await;
            }
        }
    }
    drop(listener);
    patience.abort();
    let drained = async {
        while !connections.close_idle() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DRAIN, drained).await.ok();
}

/// Apart from the accepting, which would lose the connection that waits for a place.
async fn each_second(connections: Rc<Connections>) {
    let mut seconds = interval(Duration::from_secs(1));
    loop {
        seconds.tick().await;
        connections.lose_patience();
        connections.report();
    }
}

async fn accept(listener: &TcpListener, connections: &Rc<Connections>) -> (TcpStream, Place) {
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => return (socket, connections.place(peer).await),
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn one<H>(handler: Rc<H>, tls: Option<TlsAcceptor>, socket: TcpStream, place: Place)
where
    H: Service<(Gate<Box<dyn Wire>>, Protocol, Option<SocketAddr>)>,
{
    socket.set_nodelay(true).ok();
    let peer = socket.peer_addr().ok();
    let socket = Watched::new(socket, place.connection.clone());
    let wire: Box<dyn Wire> = match tls {
        None => Box::new(socket),
        Some(tls) => match encrypted(&tls, socket, &place).await {
            Ok(wire) => wire,
            Err(error) => {
                tracing::debug!(client.address = %place.address(), %error, "no TLS connection");
                return place.without_tls();
            }
        },
    };
    // How a connection ends is its client's affair.
    let gate = Gate::new(wire, HEAD);
    handler.call((gate, Protocol::Http1, peer)).await.ok();
}

async fn encrypted(tls: &TlsAcceptor, socket: Watched, place: &Place) -> io::Result<Box<dyn Wire>> {
    let stream = timeout(HEAD, tls.accept(socket)).await??;
    if stream.get_ref().1.peer_certificates().is_some() {
        place.connection.certify();
    }
    Ok(Box::new(stream))
}

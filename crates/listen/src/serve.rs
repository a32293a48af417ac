//! A server of which every connection has a gate.

use std::net::TcpListener;
use std::time::Duration;

use actix_http::{Extensions, HttpService, KeepAlive, Protocol, Request};
use actix_server::{Server, ServerBuilder};
use actix_service::{
    IntoServiceFactory, ServiceFactory, ServiceFactoryExt, fn_service, map_config,
};
use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, ServiceResponse};
use tokio::net::TcpStream;

use crate::gate::Gate;
use crate::turns::in_turn;

/// A connection ends when its client has taken nothing of what is sent for so long, and with it the answer that waits.
const READER_GONE_MS: u32 = 10_000;

/// What the kernel keeps of an answer that is not read: left to itself, megabytes for each connection. A reader at 100 ms still gets
/// 2.5 MB per second.
const UNREAD: usize = 256 << 10;

/// How its connections speak HTTP.
#[derive(Debug, Clone, Copy)]
pub struct Http {
    /// How long an idle connection is kept.
    pub keep_alive: KeepAlive,
    /// How long the first head of a connection may take.
    pub head_timeout: Duration,
    /// How long a connection that ends waits for its client to take the last bytes.
    pub last_words: Duration,
    /// Whether a client that has closed its side is still answered.
    pub half_closed: bool,
}

/// As `HttpServer` of actix-web does it, but for what the server reads: that comes through a [`Gate`]. `connected` is told of each.
///
/// # Errors
/// When the listener cannot be used.
pub fn serve<A, S, B>(
    server: ServerBuilder,
    http: Http,
    listener: TcpListener,
    connected: impl Fn(&Gate<TcpStream>, &mut Extensions) + Clone + Send + Sync + 'static,
    app: impl Fn() -> A + Send + Clone + 'static,
) -> std::io::Result<Server>
where
    A: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig, Response = ServiceResponse<B>, Error = Error>,
    S: 'static,
    S::InitError: std::fmt::Debug,
    B: MessageBody + 'static,
{
    // Accepted connections inherit it.
    rustix::net::sockopt::set_tcp_user_timeout(&listener, READER_GONE_MS)?;
    rustix::net::sockopt::set_socket_send_buffer_size(&listener, UNREAD)?;
    let stopping = server.graceful_shutdown_signal();
    let service = move || {
        let (stopping, connected) = (stopping.clone(), connected.clone());
        let http = HttpService::build()
            .keep_alive(http.keep_alive)
            .client_request_timeout(http.head_timeout)
            .client_disconnect_timeout(http.last_words)
            .h1_allow_half_closed(http.half_closed)
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .on_connect_ext(move |gate: &Gate<TcpStream>, data| {
                data.insert(gate.flow().clone());
                connected(gate, data);
            })
            .finish(map_config(in_turn(app()), |()| AppConfig::default()));
        fn_service(|io: TcpStream| {
            let peer = io.peer_addr().ok();
            async move { Ok((Gate::new(io), Protocol::Http1, peer)) }
        })
        .and_then(http)
    };
    Ok(server.listen("http", listener, service)?.run())
}

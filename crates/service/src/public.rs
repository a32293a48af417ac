//! The listener of the service's own API.
use std::net::TcpListener;
use std::time::Duration;

use actix_web::dev::{Extensions, Server};
use actix_web::http::KeepAlive;
use actix_web::rt::net::TcpStream;
use listen::{Gate, Http};

use crate::blueprint::Configure;
use crate::routes::{self, Routes};
use crate::serving::Connections;
use crate::settings::Settings;
use crate::{connection, middleware};

/// An idle connection stays open for long: clients should close theirs earlier, so that they do not send into a closed one.
/// A client that disconnects cancels its request.
const HTTP: Http = Http {
    keep_alive: KeepAlive::Timeout(Duration::from_secs(75)),
    head_timeout: Duration::from_secs(5),
    last_words: Duration::from_secs(1),
    half_closed: false,
};

/// Connections that one worker holds before it stops accepting.
const MAX_CONNECTIONS: usize = 4096;

/// The parts of a blueprint that each worker needs.
pub(crate) struct Public {
    pub(crate) routes: fn() -> Routes,
    pub(crate) configure: Vec<Configure>,
    pub(crate) request_timeout: Duration,
    pub(crate) keep_sockets: bool,
}

impl Public {
    /// Starts the workers.
    pub(crate) fn serve(
        self,
        settings: &Settings,
        listener: TcpListener,
        connections: Connections,
    ) -> std::io::Result<Server> {
        let Self {
            routes,
            configure,
            request_timeout,
            keep_sockets,
        } = self;
        routes::declare(&routes());
        let host_guard = settings.http_host_guard.clone();
        let app = move || {
            middleware::application(routes(), &configure, request_timeout, host_guard.clone())
        };
        let connected = move |gate: &Gate<TcpStream>, data: &mut Extensions| {
            connections.count(data);
            if keep_sockets {
                connection::keep(gate.io(), data);
            }
        };
        let server = Server::build()
            .workers(settings.workers)
            .max_concurrent_connections(MAX_CONNECTIONS)
            // This program handles signals itself. `run` enforces the drain deadline; this value only must not be shorter.
            .disable_signals()
            .shutdown_timeout(settings.drain_timeout.as_secs() + 1);
        Ok(listen::add_http1(server, HTTP, listener, connected, app)?.run())
    }
}

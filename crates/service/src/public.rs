//! The listener of the service's own API.
use std::net::TcpListener;
use std::time::Duration;

use actix_web::HttpServer;
use actix_web::dev::Server;

use crate::blueprint::Configure;
use crate::routes::{self, Routes};
use crate::serving::Connections;
use crate::settings::Settings;
use crate::{connection, middleware};

/// How long an idle connection is kept. Clients should close theirs earlier, so as not to send into a closed one.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

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
        let doors = settings.http_doors.clone();
        let server = HttpServer::new(move || {
            middleware::application(routes(), &configure, request_timeout, doors.clone())
        });
        Ok(server
            .on_connect(move |socket, data| {
                connections.count(data);
                if keep_sockets {
                    connection::keep(socket, data);
                }
            })
            .workers(settings.workers)
            .max_connections(MAX_CONNECTIONS)
            .keep_alive(KEEP_ALIVE)
            .client_request_timeout(HEAD_TIMEOUT)
            // A client that hangs up cancels its request, instead of being served for nothing.
            .h1_allow_half_closed(false)
            // Signals are ours; the drain deadline is enforced in `run`, this is only not to cut it short.
            .disable_signals()
            .shutdown_timeout(settings.drain_timeout.as_secs() + 1)
            .listen(listener)?
            .run())
    }
}

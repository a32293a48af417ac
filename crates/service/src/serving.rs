//! A running server, and two ways to end it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::dev::{Extensions, Server, ServerHandle};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// The time for connections that were accepted but have not reached a worker: a server drops these when it stops.
const SETTLE: Duration = Duration::from_millis(150);

/// The time between two checks whether the last connection has closed; actix itself checks once per second.
const LOOK: Duration = Duration::from_millis(5);

/// How long a worker may take to drop its connections; only one that is stuck in a handler takes time.
const CUT: Duration = Duration::from_secs(1);

/// How many connections a server has.
#[derive(Clone, Default)]
pub(crate) struct Connections(Arc<AtomicUsize>);

/// Stored with a connection as long as it is open.
struct Open(Connections);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Connections {
    /// For `on_connect`: counts a connection.
    pub(crate) fn count(&self, data: &mut Extensions) {
        self.0.fetch_add(1, Ordering::AcqRel);
        data.insert(Open(self.clone()));
    }

    async fn wait_until_none(&self) {
        while self.0.load(Ordering::Acquire) > 0 {
            sleep(LOOK).await;
        }
    }
}

/// A server that runs.
#[derive(Clone)]
pub(crate) struct Serving {
    handle: ServerHandle,
    connections: Connections,
}

impl Serving {
    /// Takes a handle of a server; the caller must spawn the server.
    pub(crate) fn of(server: &Server, connections: Connections) -> Self {
        Self {
            handle: server.handle(),
            connections,
        }
    }

    /// Refuses new connections and drops the others, as they are.
    pub(crate) async fn stop(&self) {
        self.handle.stop(false).await;
    }

    /// Ends every remaining connection, and with it the spans of its request. The workers are threads of their own: they
    /// would continue to answer while telemetry shuts down, and the last spans of these traces would never be sent.
    pub(crate) async fn cut(&self, server: &JoinHandle<std::io::Result<()>>) {
        // A server that is dropped tells its workers to drop their connections.
        server.abort();
        if timeout(CUT, self.connections.wait_until_none())
            .await
            .is_err()
        {
            tracing::warn!("some requests could not be ended");
        }
    }

    /// Leaves new connections to the other process with the socket, and waits until accepted ones have arrived.
    pub(crate) async fn pause(&self) {
        self.handle.pause().await;
        sleep(SETTLE).await;
    }

    /// Refuses new connections, unless another process has the socket; lets requests finish and closes each connection. True if all closed
    /// within `limit`.
    pub(crate) async fn close(&self, limit: Duration) -> bool {
        // The call itself sends the command; its future only reports the end, late.
        drop(self.handle.stop(true));
        timeout(limit, self.connections.wait_until_none())
            .await
            .is_ok()
    }
}

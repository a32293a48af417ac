//! Connections to the webhook. It also decides which of them closes when there are too many, or when their bodies are too
//! large together.
//!
//! A connection costs its client nothing, and a head or a body may be sent byte by byte. So that nobody holds a place by
//! being slow: when there is no room, whoever holds most (by address) loses the connection that has been late for longest.
//! Late is who brings bytes too slowly, or is not done after a second. Alertmanager tries again.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::middleware::Next;
use actix_web::web::Bytes;
use actix_web::{Error, HttpMessage};
use futures_util::{Stream, StreamExt};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

/// Open connections. Each may take 32 KiB for an unfinished head, and 4 KiB behind it; Compose gives herald 48 MiB in all.
const MOST: usize = 64;

/// Bytes of all bodies together; a body is 4 MiB at most.
const MOST_BYTES: usize = 6 << 20;

/// The maximum time for a head, a body or the pause before the next request.
const PATIENCE: Duration = Duration::from_secs(15);

/// A client that has sent nothing for this long is late: even a slow link has delivered something by then.
const PAUSE: Duration = Duration::from_millis(80);

/// The time that each byte gains: 640 bytes per second are fast enough.
const PER_BYTE: Duration = Duration::from_micros(1_563);

/// The maximum time that bytes gain, so that a client that has sent many at once must still continue.
const MOST_GAIN: Duration = Duration::from_millis(80);

/// A request that is not complete by then is late, however fast it arrives.
const GRACE: Duration = Duration::from_secs(1);

/// Pause while everything that takes room is being answered, which is soon done.
const SOON: Duration = Duration::from_millis(5);

/// All connections of one thread, by the client's address.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: RefCell<HashMap<SocketAddr, Rc<Connection>>>,
    /// Closed to make room, since the last report.
    closed: Cell<u64>,
    /// Ended without a TLS connection, since the last report.
    without_tls: Cell<u64>,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Since when herald has been waiting for the client; `None` while the client waits for herald.
    waiting_since: Cell<Option<Instant>>,
    /// The connection is late from then on. Incoming bytes move this time.
    due: Cell<Instant>,
    /// Has shown that it may bring alerts.
    admitted: Cell<bool>,
    /// The size of the body in progress.
    bytes: Cell<usize>,
    /// The client has shown a certificate.
    certified: Cell<bool>,
    task: RefCell<Option<AbortHandle>>,
}

impl Connection {
    fn new() -> Self {
        Self {
            waiting_since: Cell::new(Some(Instant::now())),
            due: Cell::new(Instant::now() + PAUSE),
            admitted: Cell::new(false),
            bytes: Cell::new(0),
            certified: Cell::new(false),
            task: RefCell::new(None),
        }
    }

    /// The task that serves it.
    pub(crate) fn served_by(&self, task: AbortHandle) {
        self.task.replace(Some(task));
    }

    /// Remembers that the client has shown a certificate.
    pub(crate) fn certify(&self) {
        self.certified.set(true);
    }

    /// Whether the client has shown a certificate.
    pub(crate) fn is_certified(&self) -> bool {
        self.certified.get()
    }

    /// Herald waits for the client now.
    fn wait(&self) {
        self.waiting_since.set(Some(Instant::now()));
        self.due.set(Instant::now() + PAUSE);
    }

    /// The client waits for herald now.
    fn answer(&self) {
        self.waiting_since.set(None);
    }

    /// Marks the client as authorised: its connection is closed last.
    pub(crate) fn admit(&self) {
        self.admitted.set(true);
    }

    /// The client has brought so many bytes.
    pub(crate) fn brought(&self, count: usize) {
        let now = Instant::now();
        let gain = PER_BYTE * u32::try_from(count).unwrap_or(u32::MAX).min(1 << 10);
        let due = self.due.get().max(now) + gain;
        if count > 0 {
            self.due.set(due.min(now + MOST_GAIN));
        }
    }

    /// Since when it is late; `None` if it is not.
    fn late_since(&self) -> Option<Instant> {
        let late = self.due.get().min(self.waiting_since.get()? + GRACE);
        (late <= Instant::now()).then_some(late)
    }

    fn close(&self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

/// Removes the connection from the list when it ends, for whatever reason.
pub(crate) struct Place {
    connections: Rc<Connections>,
    peer: SocketAddr,
    pub(crate) connection: Rc<Connection>,
}

impl Place {
    /// The client's.
    pub(crate) fn address(&self) -> IpAddr {
        self.peer.ip()
    }

    /// Counts it for the next report.
    pub(crate) fn without_tls(&self) {
        let count = &self.connections.without_tls;
        count.set(count.get() + 1);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.forget(self.peer, &self.connection);
    }
}

impl Connections {
    /// A place for a new connection, as soon as there is one.
    pub(crate) async fn place(self: &Rc<Self>, peer: SocketAddr) -> Place {
        while self.open.borrow().len() >= MOST {
            if !self.give_way(|_| 1) {
                sleep(SOON).await;
            }
        }
        let connection = Rc::new(Connection::new());
        self.open.borrow_mut().insert(peer, connection.clone());
        Place {
            connections: self.clone(),
            peer,
            connection,
        }
    }

    /// The connection that a request came by.
    pub(crate) fn connection_of(&self, request: &ServiceRequest) -> Option<Rc<Connection>> {
        self.open.borrow().get(&request.peer_addr()?).cloned()
    }

    /// Middleware of the whole application: records whether herald or the client has to act.
    pub(crate) async fn serve<B: MessageBody>(
        self: Rc<Self>,
        request: ServiceRequest,
        next: Next<B>,
    ) -> Result<ServiceResponse<B>, Error> {
        let connection = self.connection_of(&request);
        if let Some(connection) = &connection {
            connection.answer();
        }
        let response = next.call(request).await;
        if let Some(connection) = connection {
            connection.bytes.set(0);
            connection.wait();
        }
        response
    }

    /// Middleware of a route with a body, which is charged as it comes.
    pub(crate) async fn charge<B: MessageBody>(
        self: Rc<Self>,
        mut request: ServiceRequest,
        next: Next<B>,
    ) -> Result<ServiceResponse<B>, Error> {
        if let Some(connection) = self.connection_of(&request) {
            let payload = request.take_payload();
            connection.wait();
            let charged = self.charged(connection, payload);
            request.set_payload(charged.boxed_local().into());
        }
        next.call(request).await
    }

    fn charged(
        self: Rc<Self>,
        connection: Rc<Connection>,
        body: impl Stream<Item = Result<Bytes, PayloadError>>,
    ) -> impl Stream<Item = Result<Bytes, PayloadError>> {
        let end = connection.clone();
        let chunks = body.then(move |chunk| {
            let (connections, connection) = (self.clone(), connection.clone());
            async move {
                let size = chunk.as_ref().map_or(0, Bytes::len);
                connection.bytes.set(connection.bytes.get() + size);
                connections.room_for_bytes().await;
                chunk
            }
        });
        // The body is complete.
        let done = futures_util::stream::poll_fn(move |_| {
            end.answer();
            std::task::Poll::Ready(None)
        });
        chunks.chain(done)
    }

    async fn room_for_bytes(&self) {
        let held = || -> usize {
            let open = self.open.borrow();
            open.values().map(|connection| connection.bytes.get()).sum()
        };
        while held() > MOST_BYTES {
            self.give_way(|connection| connection.bytes.get());
            // The connection that gave way may be this one, which ends here.
            sleep(SOON).await;
        }
    }

    /// Closes the connection that has been late for longest, of the address with the highest total; false if none is late.
    /// Authorised clients are closed last.
    fn give_way(&self, weight: impl Fn(&Connection) -> usize) -> bool {
        let victim = {
            let open = self.open.borrow();
            let mut held: HashMap<IpAddr, usize> = HashMap::new();
            for (peer, connection) in open.iter() {
                *held.entry(peer.ip()).or_default() += weight(connection);
            }
            let late = open.iter().filter_map(|(peer, connection)| {
                let since = connection.late_since()?;
                let order = (!connection.admitted.get(), held[&peer.ip()], Reverse(since));
                (weight(connection) > 0).then_some((order, *peer, connection))
            });
            let first = late.max_by_key(|(order, ..)| *order);
            first.map(|(_, peer, connection)| (peer, connection.clone()))
        };
        let Some((peer, connection)) = victim else {
            return false;
        };
        tracing::debug!(client.address = %peer.ip(), "no room: a connection that is slow is closed");
        self.closed.set(self.closed.get() + 1);
        self.close(peer, &connection);
        true
    }

    /// Says what strangers did as one line, however often they did it.
    pub(crate) fn report(&self) {
        let (closed, without_tls) = (self.closed.take(), self.without_tls.take());
        if closed + without_tls > 0 {
            tracing::warn!(
                closed,
                without_tls,
                "slow connections were closed to make room, or ended without TLS; the level debug tells of each"
            );
        }
    }

    /// Closes connections that have kept herald waiting for too long.
    pub(crate) fn lose_patience(&self) {
        self.close_if(|_, since| since.elapsed() > PATIENCE);
    }

    /// Closes connections without a request in progress; true if none is left.
    pub(crate) fn close_idle(&self) -> bool {
        self.close_if(|connection, _| connection.bytes.get() == 0);
        self.open.borrow().is_empty()
    }

    fn close_if(&self, condition: impl Fn(&Connection, Instant) -> bool) {
        let chosen: Vec<_> = {
            let open = self.open.borrow();
            let waiting = open.iter().filter(|(_, connection)| {
                let since = connection.waiting_since.get();
                since.is_some_and(|since| condition(connection, since))
            });
            waiting
                .map(|(peer, connection)| (*peer, connection.clone()))
                .collect()
        };
        for (peer, connection) in chosen {
            self.close(peer, &connection);
        }
    }

    fn close(&self, peer: SocketAddr, connection: &Rc<Connection>) {
        connection.close();
        self.forget(peer, connection);
    }

    /// Unless another connection has the same address by now.
    fn forget(&self, peer: SocketAddr, connection: &Rc<Connection>) {
        let mut open = self.open.borrow_mut();
        if open
            .get(&peer)
            .is_some_and(|known| Rc::ptr_eq(known, connection))
        {
            open.remove(&peer);
        }
    }
}

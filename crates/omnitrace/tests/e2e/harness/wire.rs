//! Stands between a service and Postgres, or another service, below HTTP: passes bytes on, late or not at all, or refuses connections.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;
use url::Url;

/// One direction of each connection, with the switch that makes it silent.
type Silences = Arc<Mutex<Vec<Arc<AtomicBool>>>>;

/// A running proxy; ends with the test.
pub struct Wire {
    url: Url,
    target: SocketAddr,
    address: SocketAddr,
    silences: Silences,
    frozen: Arc<AtomicBool>,
    delay: Duration,
    tasks: JoinSet<()>,
}

impl Wire {
    /// A way to this URL through the proxy.
    pub async fn to(url: &str) -> Self {
        Self::slow(url, Duration::ZERO).await
    }

    /// The same, but it takes so long until something is passed on by a new connection.
    pub async fn slow(url: &str, delay: Duration) -> Self {
        let mut url = Url::parse(url).expect("a URL");
        let host = url.host_str().expect("a host");
        let host = format!("{host}:{}", url.port().unwrap_or(5432));
        let target = tokio::net::lookup_host(host)
            .await
            .expect("its address")
            .next();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        url.set_host(Some("127.0.0.1")).expect("host");
        url.set_port(Some(address.port())).expect("port");
        let mut wire = Self {
            url,
            target: target.expect("an address"),
            address,
            silences: Arc::default(),
            frozen: Arc::default(),
            delay,
            tasks: JoinSet::new(),
        };
        wire.serve(listener);
        wire
    }

    /// The URL of the proxy.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// The connections that are open now swallow what is said on them from now on; new ones work.
    pub fn silence(&self) {
        for silent in self.silences.lock().unwrap().iter() {
            silent.store(true, Ordering::Release);
        }
    }

    /// All connections do, those that are opened later too: a frozen server accepts and never answers.
    pub fn freeze(&self) {
        self.frozen.store(true, Ordering::Release);
        self.silence();
    }

    /// Every connection is closed, and new ones are refused.
    pub async fn close(&mut self) {
        self.tasks.shutdown().await;
    }

    /// New connections work again.
    pub async fn open(&mut self) {
        self.frozen.store(false, Ordering::Release);
        if self.tasks.is_empty() {
            let listener = TcpListener::bind(self.address).await;
            self.serve(listener.expect("the port that it had"));
        }
    }

    fn serve(&mut self, listener: TcpListener) {
        let (target, silences) = (self.target, Arc::clone(&self.silences));
        let (frozen, delay) = (Arc::clone(&self.frozen), self.delay);
        self.tasks.spawn(async move {
            // Dropped together with this task.
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let silent = Arc::new(AtomicBool::new(frozen.load(Ordering::Acquire)));
                silences.lock().unwrap().push(Arc::clone(&silent));
                connections.spawn(async move {
                    sleep(delay).await;
                    let server = TcpStream::connect(target).await.expect("the target");
                    let ((from_client, to_client), (from_server, to_server)) =
                        (client.into_split(), server.into_split());
                    tokio::join!(
                        pass(from_client, to_server, Arc::clone(&silent)),
                        pass(from_server, to_client, silent)
                    );
                });
            }
        });
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, silent: Arc<AtomicBool>) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = from.read(&mut buffer).await.unwrap_or(0);
        if count == 0 {
            return;
        }
        if !silent.load(Ordering::Acquire) && to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

//! The webhook that the stack's herald delivers to: what it gets is what people get.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::web::{Data, Json, JsonConfig};
use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::Result;
use chrono::Utc;
use gameday::Notification;
use serde_json::Value;
use tokio::sync::watch;

/// Herald's largest notification, twice.
const MOST_BYTES: usize = 1 << 20;

/// Listens until it is dropped.
pub struct Receiver {
    address: SocketAddr,
    got: Arc<Got>,
    server: actix_web::dev::ServerHandle,
}

struct Got {
    notifications: Mutex<Vec<Notification>>,
    count: watch::Sender<usize>,
}

impl Receiver {
    /// On any free port of loopback.
    pub fn start() -> Result<Self> {
        let got = Arc::new(Got {
            notifications: Mutex::default(),
            count: watch::Sender::new(0),
        });
        let data = Data::from(Arc::clone(&got));
        let server = HttpServer::new(move || {
            let json = JsonConfig::default().limit(MOST_BYTES);
            App::new()
                .app_data(data.clone())
                .app_data(json)
                .route("/", web::post().to(take))
        })
        .workers(1)
        .disable_signals()
        .bind(("127.0.0.1", 0))?;
        let address = server.addrs()[0];
        let server = server.run();
        let handle = server.handle();
        tokio::task::spawn_local(server);
        Ok(Self {
            address,
            got,
            server: handle,
        })
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// All so far.
    pub fn notifications(&self) -> Vec<Notification> {
        self.got
            .notifications
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Changes with each one.
    pub fn count(&self) -> watch::Receiver<usize> {
        self.got.count.subscribe()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // The server's own task ends it; nobody has to wait.
        drop(self.server.stop(false));
    }
}

async fn take(got: Data<Got>, Json(body): Json<Value>) -> HttpResponse {
    let mut notifications = got
        .notifications
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    notifications.push(Notification {
        at: Utc::now(),
        body,
    });
    got.count.send_replace(notifications.len());
    HttpResponse::NoContent().finish()
}

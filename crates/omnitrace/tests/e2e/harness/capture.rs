//! Stands in for a service that is called: keeps each request as it came, and gives the answer it is told to.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::Value;

/// A request that came in.
#[derive(Debug, Clone)]
pub struct Captured {
    /// `GET`, …
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Headers as sent, names in lower case; one that was sent twice is here twice.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Body as sent.
    pub body: Vec<u8>,
    /// The status that it was answered with.
    pub answered: u16,
}

impl Captured {
    /// The values of a header, as text.
    pub fn all(&self, name: &str) -> Vec<String> {
        let values = self.headers.iter().filter(|(key, _)| key == name);
        values
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
            .collect()
    }

    /// A header that was sent once; `None` when it was not sent. Panics when it was sent twice.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<String> {
        let mut values = self.all(name);
        assert!(values.len() < 2, "{name} was sent twice: {self:?}");
        values.pop()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

type Reply = Box<dyn Fn(&str) -> Value + Send + Sync>;

/// An HTTP server on a free port. Stops on drop.
pub struct Capture {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Captured>>>,
    status: Arc<AtomicU16>,
    delay_ms: Arc<AtomicU64>,
    server: ServerHandle,
}

/// Answers nothing at all: the request hangs until its sender gives up.
pub const HANG: u16 = 0;

impl Capture {
    /// Answers everything with 200 and this JSON.
    pub fn answering(body: &Value) -> Self {
        let body = body.clone();
        Self::answering_each(move |_| body.clone())
    }

    /// Answers each request with 200 and the JSON that `reply` makes of its path and query.
    pub fn answering_each(reply: impl Fn(&str) -> Value + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let status = Arc::new(AtomicU16::new(200));
        let delay_ms = Arc::new(AtomicU64::new(0));
        let reply: web::Data<Reply> = web::Data::new(Box::new(reply));
        let (send, handle) = mpsc::channel();
        let kept = web::Data::from(Arc::clone(&requests));
        let told = web::Data::from(Arc::clone(&status));
        let delayed = web::Data::from(Arc::clone(&delay_ms));
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let app = move || {
                    App::new()
                        .app_data(kept.clone())
                        .app_data(told.clone())
                        .app_data(delayed.clone())
                        .app_data(web::PayloadConfig::new(16 << 20))
                        .app_data(reply.clone())
                        .default_service(web::to(answer))
                };
                let server = HttpServer::new(app)
                    .workers(1)
                    .disable_signals()
                    .shutdown_timeout(0)
                    .listen(listener)
                    .expect("listen")
                    .run();
                send.send(server.handle()).ok();
                server.await.ok();
            });
        });
        Self {
            address,
            requests,
            status,
            delay_ms,
            server: handle.recv().expect("the capture server starts"),
        }
    }

    /// Where it listens, as a service gets it in `DATA_URL` and the like.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers with this status from now on, or not at all ([`HANG`]).
    pub fn answer_with(&self, status: u16) {
        self.status.store(status, Ordering::Release);
    }

    /// Takes so long to answer from now on.
    pub fn answer_after(&self, delay: Duration) {
        let delay = u64::try_from(delay.as_millis()).expect("a delay");
        self.delay_ms.store(delay, Ordering::Release);
    }

    /// Takes what came in since the last look.
    pub fn take(&self) -> Vec<Captured> {
        std::mem::take(&mut *self.requests.lock().unwrap())
    }

    /// Takes the one request that came in since the last look; panics when it is not one.
    #[track_caller]
    pub fn take_one(&self) -> Captured {
        let mut requests = self.take();
        assert_eq!(requests.len(), 1, "{requests:#?}");
        requests.remove(0)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // Like the receiver: the call sends the command, its future only reports the end.
        drop(self.server.stop(false));
    }
}

async fn answer(
    request: HttpRequest,
    content: web::Bytes,
    kept: web::Data<Mutex<Vec<Captured>>>,
    reply: web::Data<Reply>,
    status: web::Data<AtomicU16>,
    delay_ms: web::Data<AtomicU64>,
) -> HttpResponse {
    let headers = request.headers().iter();
    let status = status.load(Ordering::Acquire);
    kept.lock().unwrap().push(Captured {
        method: request.method().to_string(),
        target: request.uri().to_string(),
        headers: headers
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
            .collect(),
        body: content.to_vec(),
        answered: status,
    });
    if status == HANG {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(Duration::from_millis(delay_ms.load(Ordering::Acquire))).await;
    HttpResponse::build(actix_web::http::StatusCode::from_u16(status).expect("a status"))
        .content_type("application/json")
        .body(reply(&request.uri().to_string()).to_string())
}

//! Stands between data and downstream, and mistreats deliveries of events when told to.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, mpsc};

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::Value;

use super::http;

/// What happens to a delivery of an event. Everything else is always passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deliveries {
    /// Passed on, and the answer back.
    Pass,
    /// Held for ever: neither passed on nor answered.
    Hold,
    /// Passed on, but its sender gets a 502 instead of the answer.
    LoseAnswer,
}

/// A delivery that came by.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// The event's id.
    pub id: String,
    /// What downstream said about `applied`; `None` when the delivery was held.
    pub applied: Option<bool>,
}

struct State {
    target: Mutex<String>,
    rule: Mutex<Deliveries>,
    seen: Mutex<Vec<Delivered>>,
    client: reqwest::Client,
}

/// A running proxy; stops on drop.
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
    server: ServerHandle,
}

impl Proxy {
    /// Starts one on a free port; it passes nothing on before [`Proxy::forward_to`].
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let state = Arc::new(State {
            target: Mutex::default(),
            rule: Mutex::new(Deliveries::Pass),
            seen: Mutex::default(),
            client: http(),
        });
        let (send, handle) = mpsc::channel();
        let shared = web::Data::from(Arc::clone(&state));
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let app = move || {
                    App::new()
                        .app_data(shared.clone())
                        .default_service(web::to(pass))
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
            state,
            server: handle.recv().expect("the proxy starts"),
        }
    }

    /// What data gets as `DOWNSTREAM_URL`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Whom to pass requests on to.
    pub fn forward_to(&self, url: String) {
        *self.state.target.lock().unwrap() = url;
    }

    /// Treats deliveries so from now on.
    pub fn deliveries(&self, rule: Deliveries) {
        *self.state.rule.lock().unwrap() = rule;
    }

    /// Every delivery so far.
    pub fn seen(&self) -> Vec<Delivered> {
        self.state.seen.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Like the receiver: the call sends the command, its future only reports the end.
        drop(self.server.stop(false));
    }
}

async fn pass(request: HttpRequest, body: web::Bytes, state: web::Data<State>) -> HttpResponse {
    let rule = (request.path() == "/events/orders").then(|| *state.rule.lock().unwrap());
    let id = rule.map(|_| {
        let event: Value = serde_json::from_slice(&body).expect("an event");
        event["id"].as_str().expect("its id").to_owned()
    });
    if let (Some(Deliveries::Hold), Some(id)) = (rule, &id) {
        let (id, applied) = (id.clone(), None);
        state.seen.lock().unwrap().push(Delivered { id, applied });
        return std::future::pending().await;
    }
    let url = format!("{}{}", state.target.lock().unwrap(), request.uri());
    let method = reqwest::Method::from_bytes(request.method().as_str().as_bytes()).expect("method");
    let mut onward = state.client.request(method, url).body(body.to_vec());
    for (name, value) in request.headers() {
        if !["host", "content-length", "connection"].contains(&name.as_str()) {
            onward = onward.header(name.as_str(), value.as_bytes());
        }
    }
    let Ok(answer) = onward.send().await else {
        return HttpResponse::BadGateway().finish();
    };
    let status = answer.status().as_u16();
    let body = answer.bytes().await.unwrap_or_default();
    if let Some(id) = id {
        let receipt: Value = serde_json::from_slice(&body).unwrap_or_default();
        let applied = receipt["applied"].as_bool();
        state.seen.lock().unwrap().push(Delivered { id, applied });
        if rule == Some(Deliveries::LoseAnswer) {
            return HttpResponse::BadGateway().finish();
        }
    }
    HttpResponse::build(actix_web::http::StatusCode::from_u16(status).expect("status"))
        .content_type("application/json")
        .body(body)
}

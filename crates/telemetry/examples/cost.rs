//! What docs/OVERHEAD.md counts instructions of: requests to the handler of `tests/allocations.rs`, one after the other on one
//! thread, exported to a sink in the same process. Log lines go to stdout.
//!
//! `cost tower|actix|statement REQUESTS`, at most 1,000 of them: then flood control would suppress log lines.
use std::convert::Infallible;
use std::error::Error;
use std::future::{Ready, ready};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::dev::Service as _;
use actix_web::test::{TestRequest, init_service, read_body};
use actix_web::{App, web};
use futures_util::FutureExt;
use http::{Request, Response};
use telemetry::db::Statement;
use telemetry::http_server::{Red, ServerLayer, tracing_logger};
use telemetry::{ServiceInfo, Settings};
use tower_layer::Layer;
use tower_service::Service;

const HEADERS: [(&str, &str); 3] = [
    ("host", "shop:8080"),
    ("user-agent", "curl/8.5.0"),
    (
        "traceparent",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ),
];

/// Two spans and a log line in the request's own.
fn work() {
    let load = tracing::info_span!(
        "load",
        otel.kind = "client",
        order.id = 7,
        peer.service = "stock"
    );
    drop(load.entered());
    let store = tracing::info_span!(
        "store",
        otel.kind = "client",
        order.id = 7,
        peer.service = "db"
    );
    store.in_scope(|| tracing::info!(order.id = 7, customer = "c-42", "order stored"));
}

struct Handler;

impl Service<Request<String>> for Handler {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<String>) -> Self::Future {
        work();
        ready(Ok(Response::default()))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let scenario = arguments.next().unwrap_or_default();
    let requests = arguments.next().unwrap_or_default().parse()?;
    let sink = TcpListener::bind("127.0.0.1:0")?;
    let endpoint = format!("http://{}", sink.local_addr()?);
    std::thread::spawn(move || {
        for connection in sink.incoming().flatten() {
            std::thread::spawn(|| answer(connection));
        }
    });
    let settings = Settings::from_lookup(&|name| match name {
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(endpoint.clone()),
        _ => std::env::var(name).ok(),
    })?;
    let info = ServiceInfo {
        name: "cost".into(),
        version: "1.0.0".into(),
    };
    let telemetry = telemetry::init(info, &settings, &[])?;
    match scenario.as_str() {
        "tower" => tower(requests),
        "actix" => actix(requests),
        "statement" => statements(requests),
        _ => return Err("cost tower|actix|statement REQUESTS".into()),
    }
    telemetry.shutdown(Duration::from_secs(60));
    Ok(())
}

fn tower(requests: usize) {
    let layer = ServerLayer::new(|_| Some("/orders/{id}".to_owned())).port(8080);
    let mut service = layer.layer(Handler);
    repeat(requests, || {
        let mut request = Request::get("/orders/7?page=2");
        for (name, value) in HEADERS {
            request = request.header(name, value);
        }
        let request = request.body(String::new()).expect("a request");
        now(service.call(request)).expect("an answer");
    });
}

fn actix(requests: usize) {
    let handler = web::get().to(async || {
        work();
        "fine"
    });
    let app = App::new().route("/orders/{id}", handler);
    let app = app.wrap(Red).wrap(tracing_logger());
    let service = actix_web::rt::System::new().block_on(init_service(app));
    repeat(requests, || {
        let mut request = TestRequest::get().uri("/orders/7?page=2");
        for header in HEADERS {
            request = request.insert_header(header);
        }
        let answer = now(service.call(request.to_request())).expect("an answer");
        now(read_body(answer));
    });
}

fn statements(requests: usize) {
    const ORDERS: Statement = Statement::new("SELECT", "orders", "SELECT * FROM orders");
    let request = tracing::info_span!("request");
    let _entered = request.entered();
    repeat(requests, || {
        now(ORDERS.run(ready(Ok(())))).expect("an answer");
    });
}

/// What callgrind is told to count.
#[inline(never)]
fn repeat(requests: usize, mut request: impl FnMut()) {
    for _ in 0..requests {
        request();
    }
}

/// Takes what is exported, and says that it did.
fn answer(mut stream: TcpStream) {
    let mut requests = BufReader::new(stream.try_clone().expect("a handle"));
    let (mut line, mut length) = (String::new(), 0);
    while requests.read_line(&mut line).is_ok_and(|read| read > 0) {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
        if line.trim().is_empty() {
            let mut body = vec![0; length];
            requests.read_exact(&mut body).expect("the body");
            let sent = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            sent.expect("a caller that listens");
        }
        line.clear();
    }
}

/// What is ready at once.
fn now<F: Future>(future: F) -> F::Output {
    future.now_or_never().expect("ready at once")
}

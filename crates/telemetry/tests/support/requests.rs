//! Requests that answer at once, for what counts their cost: `allocations.rs`, and `examples/cost.rs`.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use actix_web::dev::Service as _;
use actix_web::test::{TestRequest, init_service, read_body};
use actix_web::{App, web};
use futures_util::FutureExt;
use http::{Request, Response};
use telemetry::db::Statement;
use telemetry::http_server::{Red, ServerLayer, tracing_logger};
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

/// What the handler of every framework does here: two spans and a log line in the request's own.
fn work() {
    let load = tracing::info_span!(
        "load",
        otel.kind = "client",
        order.id = 7,
        service.peer.name = "stock"
    );
    drop(load.entered());
    let store = tracing::info_span!(
        "store",
        otel.kind = "client",
        order.id = 7,
        service.peer.name = "db"
    );
    store.in_scope(|| tracing::info!(order.id = 7, customer = "c-42", "order stored"));
}

/// A tower service that is ready at once.
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

/// Gives a request to a tower service, which may be sent any number of times.
pub fn tower(send: impl FnOnce(&mut dyn FnMut())) {
    let layer = ServerLayer::new(|_| Some("/orders/{id}".to_owned())).port(8080);
    let mut service = layer.layer(Handler);
    send(&mut || {
        let mut request = Request::get("/orders/7?page=2");
        for (name, value) in HEADERS {
            request = request.header(name, value);
        }
        let request = request.body(String::new()).expect("a request");
        now(service.call(request)).expect("an answer");
    });
}

/// The same to actix.
pub fn actix(send: impl FnOnce(&mut dyn FnMut())) {
    let handler = web::get().to(async || {
        work();
        "fine"
    });
    let app = App::new().route("/orders/{id}", handler);
    let app = app.wrap(Red).wrap(tracing_logger());
    let service = actix_web::rt::System::new().block_on(init_service(app));
    send(&mut || {
        let mut request = TestRequest::get().uri("/orders/7?page=2");
        for header in HEADERS {
            request = request.insert_header(header);
        }
        let answer = now(service.call(request.to_request())).expect("an answer");
        now(read_body(answer));
    });
}

/// A statement that is answered at once.
pub fn statement(send: impl FnOnce(&mut dyn FnMut())) {
    const ORDERS: Statement = Statement::new("SELECT", "orders", "SELECT * FROM orders");
    send(&mut || now(ORDERS.run(ready(Ok(())))).expect("an answer"));
}

/// What is ready at once.
fn now<F: Future>(future: F) -> F::Output {
    future.now_or_never().expect("ready at once")
}

//! The suite against actix-web.

mod suite;
mod support;

use std::net::TcpListener;

use actix_web::body::{BoxBody, SizedStream};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::{ErrorBadGateway, ErrorForbidden, ErrorServiceUnavailable};
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{self, Bytes};
use actix_web::{App as Application, Error, HttpRequest, HttpResponse, HttpServer};
use futures_util::{FutureExt, StreamExt, stream};
use telemetry::http_server::{ErrorType, Red, arrived, tracing_logger};

/// The application.
struct App;

impl suite::Serve for App {
    fn serve(listener: TcpListener) {
        let app = || {
            Application::new()
                .configure(routes)
                .wrap(Red)
                .wrap(tracing_logger())
        };
        let server = HttpServer::new(app)
            .workers(1)
            // As the services have it: a client that hangs up cancels its request.
            .h1_allow_half_closed(false)
            .disable_signals();
        let server = async move { server.listen(listener).expect("listen").run().await };
        actix_web::rt::System::new()
            .block_on(server)
            .expect("the server ends with the process");
    }
}

fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/ok", web::get().to(async || "fine"))
        .route("/ok", web::head().to(async || "fine"))
        .route("/address", web::get().to(async || "here"))
        .route("/scheme", web::get().to(async || "here"))
        .route("/items/{id}", web::get().to(async || "one"))
        .route("/caller", web::get().to(async || "here"))
        .route("/log", web::get().to(log))
        .route("/empty", web::get().to(HttpResponse::NoContent))
        .route("/mistake", web::get().to(HttpResponse::UnprocessableEntity))
        .route("/plain", web::get().to(HttpResponse::InternalServerError))
        .route("/timeout", web::get().to(timed_out))
        .route(
            "/err",
            web::get().to(async || Err::<&str, _>(ErrorBadGateway("upstream"))),
        )
        .route("/panic", web::get().to(panics))
        .route("/panic-in-body", web::get().to(panics_in_body))
        .route("/never", web::get().to(std::future::pending::<&str>))
        .route("/half", web::get().to(async || eight_bytes("half")))
        .route("/declared", web::get().to(async || eight_bytes("complete")))
        .route("/short", web::get().to(short_body))
        .route("/torn", web::get().to(torn_body))
        .route("/upload", web::post().to(upload))
        .service(
            web::resource("/guarded/{status}")
                .wrap(from_fn(guard))
                .route(web::get().to(async || "never reached")),
        );
}

async fn log() -> &'static str {
    tracing::info!("in the handler");
    "logged"
}

/// As a deadline middleware answers for a handler that it has given up.
async fn timed_out() -> HttpResponse {
    suite::given_up().await;
    let mut response = HttpResponse::GatewayTimeout().finish();
    response.extensions_mut().insert(ErrorType("timeout"));
    response
}

async fn panics() -> HttpResponse {
    panic!("on purpose")
}

async fn panics_in_body() -> HttpResponse {
    let explode = async { panic!("on purpose, in the body") };
    let chunks = stream::iter([Ok::<_, Error>(Bytes::from("half"))]).chain(explode.into_stream());
    HttpResponse::Ok().streaming(chunks)
}

/// Promises eight bytes, sends some, and then nothing for ever.
fn eight_bytes(start: &'static str) -> HttpResponse {
    let chunks = stream::iter([Ok::<_, Error>(Bytes::from(start))]).chain(stream::pending());
    HttpResponse::Ok().body(SizedStream::new(8, chunks))
}

/// Promises eight bytes, and ends after four.
async fn short_body() -> HttpResponse {
    let chunks = stream::iter([Ok::<_, Error>(Bytes::from("half"))]);
    HttpResponse::Ok().body(SizedStream::new(8, chunks))
}

async fn torn_body() -> HttpResponse {
    let chunks = [Ok(Bytes::from("half")), Err(ErrorBadGateway("lost"))];
    HttpResponse::Ok().streaming(stream::iter(chunks))
}

async fn upload(request: HttpRequest, mut body: web::Payload) -> &'static str {
    while let Some(Ok(_)) = body.next().await {}
    arrived(&request);
    "received"
}

/// Middleware that rejects with an `Err`, as authentication does.
async fn guard(request: ServiceRequest, _next: Next<BoxBody>) -> Result<ServiceResponse, Error> {
    match request.path() {
        "/guarded/403" => Err(ErrorForbidden("not you")),
        _ => Err(ErrorServiceUnavailable("not now")),
    }
}

//! The suite against axum, and what only a bare tower service can do.

mod suite;
mod support;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, Request};
use axum::http::{HeaderMap, HeaderName, Response, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Extension, Router};
use futures_util::{FutureExt, StreamExt, stream};
use http_body::Frame;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use telemetry::http_server::{Arrival, ErrorType, ServerLayer};
use telemetry::testing::recorder;
use tower_layer::Layer;
use tower_service::Service;

/// The application.
struct App;

impl suite::Serve for App {
    fn serve(listener: TcpListener) {
        let port = listener.local_addr().expect("its address").port();
        let app = routes().layer(ServerLayer::axum().port(port));
        listener.set_nonblocking(true).expect("non-blocking");
        let server = async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("listen");
            let service = app.into_make_service_with_connect_info::<SocketAddr>();
            axum::serve(listener, service).await
        };
        tokio::runtime::Runtime::new()
            .expect("a runtime")
            .block_on(server)
            .expect("the server ends with the process");
    }
}

fn routes() -> Router {
    let guarded = get(async || "never reached").layer(from_fn(guard));
    Router::new()
        .route("/ok", get(async || "fine"))
        .route("/address", get(async || "here"))
        .route("/scheme", get(async || "here"))
        .route("/items/{id}", get(async || "one"))
        .route("/caller", get(async || "here"))
        .route("/log", get(log))
        .route("/empty", get(no_content))
        .route("/mistake", get(async || StatusCode::UNPROCESSABLE_ENTITY))
        .route("/plain", get(async || StatusCode::INTERNAL_SERVER_ERROR))
        .route("/timeout", get(timed_out))
        .route(
            "/err",
            get(async || Err::<&str, _>(StatusCode::BAD_GATEWAY)),
        )
        .route("/panic", get(panics))
        .route("/panic-in-body", get(panics_in_body))
        .route("/never", get(std::future::pending::<&str>))
        .route("/half", get(async || eight_bytes("half")))
        .route("/declared", get(async || eight_bytes("complete")))
        .route("/short", get(short_body))
        .route("/torn", get(torn_body))
        .route("/upload", post(upload))
        .route("/guarded/{status}", guarded)
        .route("/http2", get(async || "fine"))
        .route("/http2-never", get(std::future::pending::<&str>))
        .route("/http2-half", get(async || eight_bytes("half")))
        .route("/unsized", get(async || Frames::body([data()], true)))
        .route("/grpc/{status}", get(grpc))
        .route("/grpc-at-once", get(async || [("grpc-status", "14")]))
}

async fn log() -> &'static str {
    tracing::info!("in the handler");
    "logged"
}

/// With a body that no server sends.
async fn no_content() -> impl IntoResponse {
    (StatusCode::NO_CONTENT, Frames::body([data()], false))
}

/// As a deadline middleware answers for a handler that it has given up.
async fn timed_out() -> impl IntoResponse {
    suite::given_up().await;
    (StatusCode::GATEWAY_TIMEOUT, Extension(ErrorType("timeout")))
}

async fn panics() -> StatusCode {
    panic!("on purpose")
}

async fn panics_in_body() -> Body {
    let explode = async { panic!("on purpose, in the body") };
    let chunks = stream::iter([Ok::<_, Infallible>(Bytes::from("half"))]);
    Body::from_stream(chunks.chain(explode.into_stream()))
}

/// Promises eight bytes, sends some, and then nothing for ever.
fn eight_bytes(start: &'static str) -> impl IntoResponse {
    let chunks = stream::iter([Ok::<_, Infallible>(Bytes::from(start))]).chain(stream::pending());
    ([(header::CONTENT_LENGTH, "8")], Body::from_stream(chunks))
}

/// Promises eight bytes, and ends after four.
async fn short_body() -> impl IntoResponse {
    let chunks = stream::iter([Ok::<_, Infallible>(Bytes::from("half"))]);
    ([(header::CONTENT_LENGTH, "8")], Body::from_stream(chunks))
}

async fn torn_body() -> Body {
    Body::from_stream(stream::iter([Ok(Bytes::from("half")), Err("lost")]))
}

async fn upload(Extension(arrival): Extension<Arrival>, body: Body) -> &'static str {
    let mut chunks = body.into_data_stream();
    while let Some(Ok(_)) = chunks.next().await {}
    arrival.now();
    "received"
}

/// Middleware that rejects with an `Err`, as authentication does.
async fn guard(request: Request, _next: Next) -> Result<&'static str, StatusCode> {
    match request.uri().path() {
        "/guarded/403" => Err(StatusCode::FORBIDDEN),
        _ => Err(StatusCode::SERVICE_UNAVAILABLE),
    }
}

/// A body that does not know its size, and that nobody may ask for more than there is.
struct Frames {
    frames: VecDeque<Frame<Bytes>>,
    knows_its_end: bool,
}

impl Frames {
    fn body(frames: impl Into<VecDeque<Frame<Bytes>>>, knows_its_end: bool) -> Body {
        Body::new(Self {
            frames: frames.into(),
            knows_its_end,
        })
    }
}

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = self.frames.pop_front();
        frame.map_or(Poll::Pending, |frame| Poll::Ready(Some(Ok(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.knows_its_end && self.frames.is_empty()
    }
}

fn data() -> Frame<Bytes> {
    Frame::data(Bytes::from("fine"))
}

async fn grpc(Path(status): Path<String>) -> Body {
    let status = status.parse().expect("a header value");
    let trailers = HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), status)]);
    Frames::body([data(), Frame::trailers(trailers)], false)
}

#[test]
fn a_body_is_over_when_it_says_so() {
    suite::counted_once("/unsized", "/unsized", ["GET", "200", "", "ok"]);
}

#[test]
fn a_grpc_status_that_is_the_servers_failure_is_an_error_in_header_and_trailer() {
    let route = "/grpc/{status}";
    for status in [0, 5, 13] {
        suite::request("GET", &format!("/grpc/{status}"));
    }
    let counts = suite::ended(route, 3).0;
    let count =
        |error_type, outcome, times| suite::count(["GET", "200", error_type, outcome], times);
    assert_eq!(counts, [count("", "ok", 2), count("INTERNAL", "error", 1)]);
    let want = ["GET", "200", "UNAVAILABLE", "error"];
    suite::counted_once("/grpc-at-once", "/grpc-at-once", want);
}

/// There a caller hangs up by resetting its stream; the connection stays.
#[tokio::test(flavor = "multi_thread")]
async fn http_2_ends_like_http_1() {
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http::<Body>();
    let get = |path: &str| {
        let url = format!("http://{}{path}", *suite::SERVER);
        client.get(url.parse().expect("a URL"))
    };
    let whole = get("/http2").await.expect("an answer");
    let body = to_bytes(Body::new(whole.into_body()), 64).await;
    assert_eq!(body.expect("a body"), "fine");
    let span = suite::one("/http2", ["GET", "200", "", "ok"]);
    assert_eq!(support::attribute(&span, "network.protocol.version"), "2");

    let waits = tokio::spawn(get("/http2-never"));
    suite::under_way("/http2-never");
    waits.abort();
    suite::one("/http2-never", ["GET", "", "cancelled", "cancelled"]);

    let half = get("/http2-half").await.expect("an answer");
    let mut chunks = Body::new(half.into_body()).into_data_stream();
    let first = chunks.next().await.expect("a chunk");
    assert_eq!(first.expect("of data"), "half");
    drop(chunks);
    suite::one("/http2-half", ["GET", "", "cancelled", "cancelled"]);
}

/// A service that fails itself, before it has a future or after.
#[derive(Clone)]
enum Broken {
    Errs,
    Panics,
}

impl Service<Request> for Broken {
    type Response = Response<Body>;
    type Error = std::io::Error;
    type Future = Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request) -> Self::Future {
        match self {
            Self::Errs => ready(Err(std::io::Error::other("no answer"))),
            Self::Panics => panic!("on purpose, without a future"),
        }
    }
}

#[test]
fn a_service_without_an_answer_is_an_error_and_its_cause_is_in_the_log() {
    recorder();
    let layer = ServerLayer::new(|_| Some("/errs".to_owned()));
    let call = layer.layer(Broken::Errs).call(Request::default());
    let error = call.now_or_never().expect("ready").err();
    assert_eq!(error.expect("an error").to_string(), "no answer");
    let span = suite::one("/errs", ["GET", "", "_OTHER", "error"]);
    let logs = recorder().logs();
    let log = logs.iter().find(|log| log.span_id == span.span_id);
    assert_eq!(log.expect("a line").attributes["error"], "no answer");
}

#[test]
fn a_panic_before_there_is_a_future_is_answered() {
    recorder();
    let layer = ServerLayer::new(|_| Some("/panics".to_owned()));
    let call = layer.layer(Broken::Panics).call(Request::default());
    let response = call.now_or_never().expect("ready").expect("an answer");
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    suite::one("/panics", ["GET", "500", "panic", "error"]);
}

#[test]
fn a_layer_is_told_that_its_listener_speaks_tls() {
    recorder();
    let layer = ServerLayer::new(|_| Some("/tls".to_owned())).tls();
    let mut request = Request::default();
    let host = header::HeaderValue::from_static("shop.example");
    request.headers_mut().insert(header::HOST, host);
    drop(layer.layer(Broken::Errs).call(request));
    let span = suite::one("/tls", ["GET", "", "cancelled", "cancelled"]);
    let of = |name| support::attribute(&span, name);
    assert_eq!((of("url.scheme"), of("server.port")), ("https", "443"));
}

/// A client that leaves before the handler has been asked once.
#[test]
fn a_future_that_is_never_polled_is_a_cancelled_request() {
    recorder();
    let layer = ServerLayer::new(|_| Some("/unpolled".to_owned()));
    drop(layer.layer(Broken::Errs).call(Request::default()));
    suite::one("/unpolled", ["GET", "", "cancelled", "cancelled"]);
}

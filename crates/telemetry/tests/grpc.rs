//! gRPC, as tonic speaks it: a call is an HTTP request whose outcome stands in a trailer, which comes after the body.

mod support;

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::LazyLock;
use std::task::{Context, Poll};

use futures_util::future::{BoxFuture, Ready, ready};
use futures_util::stream::{self, BoxStream, StreamExt};
use support::{attribute, counts, spans_with};
use telemetry::http_server::ServerLayer;
use telemetry::testing::{Span, Status as SpanStatus, eventually, recorder};
use tonic::body::Body;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::http::{Request, Response};
use tonic::server::{NamedService, ServerStreamingService, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Status, Streaming};
use tonic_prost::ProstCodec;
use tower_service::Service;

const DURATION: &str = "http_server_request_duration_seconds";
const ACTIVE: &str = "http_server_active_requests";

/// What `tonic-build` makes of a service with these methods: each call names the code that it ends with.
#[derive(Clone)]
struct Prices;

const GET: &str = "/shop.Prices/Get";
const MISSING: &str = "/shop.Prices/Missing";
const BROKEN: &str = "/shop.Prices/Broken";
const PANICS: &str = "/shop.Prices/Panics";
const WATCH: &str = "/shop.Prices/Watch";
const LEFT: &str = "/shop.Prices/Left";
const METHODS: [&str; 6] = [GET, MISSING, BROKEN, PANICS, WATCH, LEFT];

impl NamedService for Prices {
    const NAME: &'static str = "shop.Prices";
}

impl Service<Request<Body>> for Prices {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<String, String>::default());
            Ok(match request.uri().path() {
                WATCH | LEFT => grpc.server_streaming(Watch, request).await,
                PANICS => panic!("on purpose"),
                _ => grpc.unary(Get, request).await,
            })
        })
    }
}

struct Get;

impl UnaryService<String> for Get {
    type Response = String;
    type Future = Ready<Result<tonic::Response<String>, Status>>;

    fn call(&mut self, request: tonic::Request<String>) -> Self::Future {
        ready(match request.get_ref().as_str() {
            "missing" => Err(Status::not_found("no such item")),
            "broken" => Err(Status::internal("the shelf fell over")),
            sku => Ok(tonic::Response::new(format!("{sku}: 7"))),
        })
    }
}

/// One price, and nothing more until the shop closes, which is a failure. For who asks "for ever" it never does.
struct Watch;

impl ServerStreamingService<String> for Watch {
    type Response = String;
    type ResponseStream = BoxStream<'static, Result<String, Status>>;
    type Future = Ready<Result<tonic::Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: tonic::Request<String>) -> Self::Future {
        let closes = request.get_ref() != "for ever";
        let end = async move {
            if !closes {
                std::future::pending::<()>().await;
            }
            CLOSED.notified().await;
            Err(Status::unavailable("the shop has closed"))
        };
        let prices = stream::iter([Ok("7".to_owned())]).chain(stream::once(end));
        ready(Ok(tonic::Response::new(prices.boxed())))
    }
}

static CLOSED: tokio::sync::Notify = tokio::sync::Notify::const_new();

static SERVER: LazyLock<String> = LazyLock::new(|| {
    recorder();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    listener.set_nonblocking(true).expect("non-blocking");
    std::thread::spawn(move || {
        let method = |request: &tonic::codegen::http::request::Parts| {
            let known = METHODS.contains(&request.uri.path());
            known.then(|| request.uri.path().to_owned())
        };
        let server = async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("listen");
            Server::builder()
                .layer(ServerLayer::new(method))
                .add_service(Prices)
                .serve_with_incoming(TcpIncoming::from(listener))
                .await
        };
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(server).expect("it serves");
    });
    format!("http://{address}")
});

async fn client() -> tonic::client::Grpc<Channel> {
    let endpoint = Endpoint::from_static(&SERVER);
    let mut client = tonic::client::Grpc::new(endpoint.connect().await.expect("a connection"));
    client.ready().await.expect("ready");
    client
}

async fn get(method: &'static str, sku: &str) -> Result<String, Status> {
    let (path, codec) = (PathAndQuery::from_static(method), ProstCodec::default());
    let request = tonic::Request::new(sku.to_owned());
    let answer = client().await.unary(request, path, codec).await?;
    Ok(answer.into_inner())
}

async fn watch(method: &'static str, what: &str) -> Streaming<String> {
    let (path, codec) = (PathAndQuery::from_static(method), ProstCodec::default());
    let request = tonic::Request::new(what.to_owned());
    let answer = client().await.server_streaming(request, path, codec).await;
    answer.expect("a stream").into_inner()
}

/// Counted once, in this way; its span.
fn one(method: &str, [status, error_type, outcome]: [&str; 3]) -> Span {
    let mut spans = spans_with("http.route", method, 1);
    let counted = eventually("it is counted", || {
        let counted = counts(DURATION, "http_route", method);
        (!counted.is_empty()).then_some(counted)
    });
    let texts = ["POST", status, error_type, outcome].map(str::to_owned);
    let [verb, status, error_type, outcome] = texts;
    assert_eq!(
        counted,
        [(verb, status, error_type, outcome, 1)],
        "{method}"
    );
    assert_eq!(spans.len(), 1, "{spans:#?}");
    spans.remove(0)
}

fn failed(span: &Span) -> bool {
    matches!(span.status, SpanStatus::Error(_))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_a_request_with_its_method_for_a_route() {
    assert_eq!(get(GET, "tea").await.expect("a price"), "tea: 7");
    let span = one(GET, ["200", "", "ok"]);
    assert_eq!(span.name, "POST /shop.Prices/Get");
    assert_eq!(attribute(&span, "network.protocol.version"), "2");
    assert_eq!(attribute(&span, "url.scheme"), "http");
    assert!(!failed(&span), "{span:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_is_the_servers_failure_is_an_error_behind_http_200() {
    let missing = get(MISSING, "missing").await.expect_err("a status");
    assert_eq!(missing.code(), Code::NotFound);
    assert!(!failed(&one(MISSING, ["200", "", "ok"])), "the caller's");

    let broken = get(BROKEN, "broken").await.expect_err("a status");
    assert_eq!(broken.code(), Code::Internal);
    assert!(failed(&one(BROKEN, ["200", "INTERNAL", "error"])));

    get(PANICS, "any").await.expect_err("a panic is no answer");
    assert!(failed(&one(PANICS, ["500", "panic", "error"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_its_trailers_and_not_before() {
    let mut prices = watch(WATCH, "tea").await;
    assert_eq!(
        prices.message().await.expect("no status").as_deref(),
        Some("7")
    );
    let active = recorder().metrics();
    let active = active
        .iter()
        .find(|sample| sample.name == ACTIVE && sample.has(&[("http_route", WATCH)]));
    assert_eq!(active.map(|sample| sample.value), Some(1.0));
    assert_eq!(counts(DURATION, "http_route", WATCH), []);

    CLOSED.notify_one();
    let end = prices.message().await.expect_err("a status");
    assert_eq!(end.code(), Code::Unavailable);
    assert!(failed(&one(WATCH, ["200", "UNAVAILABLE", "error"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_its_caller_leaves_is_cancelled() {
    let mut prices = watch(LEFT, "for ever").await;
    assert_eq!(
        prices.message().await.expect("no status").as_deref(),
        Some("7")
    );
    drop(prices);
    assert!(!failed(&one(LEFT, ["", "cancelled", "cancelled"])));
}

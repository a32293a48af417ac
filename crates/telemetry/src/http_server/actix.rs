//! The server side for actix-web.

use std::error::Error as StdError;
use std::future::{Ready, ready};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::error::ErrorInternalServerError;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{StatusCode, Version};
use actix_web::{Error, FromRequest, HttpMessage, HttpRequest, HttpResponse, ResponseError};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use tracing::Span;
use tracing_actix_web::TracingLogger;

use super::body::Progress;
use super::{Arrival, Facts, Guard, Logged, problem};
use crate::Metrics;
use crate::deadline::Deadline;
use crate::propagation::Headers;

impl Headers for HeaderMap {
    fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = Option<&'a str>> {
        self.get_all(name).map(|value| value.to_str().ok())
    }
}

impl Metrics {
    /// Answers a scrape.
    pub fn respond(&self, request: &HttpRequest) -> HttpResponse {
        let exposition = self.render(request.headers().all("accept").next().flatten());
        HttpResponse::Ok()
            .content_type(exposition.content_type)
            .body(exposition.body)
    }
}

/// What a deadline middleware has put into the request's extensions.
impl FromRequest for Deadline {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let deadline = request.extensions().get::<Self>().copied();
        ready(deadline.ok_or_else(|| ErrorInternalServerError("the route has no deadline")))
    }
}

/// [`Arrival::now`] of an actix request.
pub fn arrived(request: &HttpRequest) {
    if let Some(arrival) = request.extensions().get::<Arrival>() {
        arrival.now();
    }
}

/// Tracing middleware (outermost): the server span of every request.
pub fn tracing_logger() -> TracingLogger<RootSpan> {
    TracingLogger::new()
}

/// Builds the server span in the stable HTTP semantic conventions, from the caller's W3C context.
pub struct RootSpan;

impl tracing_actix_web::RootSpanBuilder for RootSpan {
    fn on_request_start(request: &ServiceRequest) -> Span {
        // The URI and the socket, not `connection_info`, which trusts forwarding headers of any client.
        let route = request.match_pattern();
        let facts = Facts {
            method: request.method().as_str(),
            route: route.as_deref(),
            path: request.path(),
            query: Some(request.query_string()),
            scheme: request.uri().scheme_str(),
            authority: request.uri().authority().map(|of_uri| of_uri.as_str()),
            headers: request.headers(),
            client: request.peer_addr().map(|peer| peer.ip()),
            port: Some(request.app_config().local_addr().port()),
            tls: request.app_config().secure(),
            protocol: protocol(request.version()),
        };
        facts.span()
    }

    fn on_request_end<B: MessageBody>(_span: Span, _outcome: &Result<ServiceResponse<B>, Error>) {
        // `Red` records the end, in every way a request can end; this hook misses some.
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}

/// RED middleware, directly inside [`tracing_logger`]: counts each request once, however it ends, and answers a panic
/// with 500 instead of a reset connection. Adds the trace to every response (`Server-Timing: traceparent;desc="…"`).
#[derive(Debug, Clone, Copy)]
pub struct Red;

impl<S, B> Transform<S, ServiceRequest> for Red
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    S::Future: 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<Measured<B>>;
    type Error = Error;
    type Transform = RedMiddleware<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, Self::InitError>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(RedMiddleware { service }))
    }
}

/// The middleware of [`Red`].
pub struct RedMiddleware<S> {
    service: S,
}

impl<S, B> Service<ServiceRequest> for RedMiddleware<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    S::Future: 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<Measured<B>>;
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Error>>;

    forward_ready!(service);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let mut guard = guard(&request);
        let timing = problem::server_timing(&guard.span);
        let timing = timing.and_then(|timing| HeaderValue::try_from(timing).ok());
        let response = std::panic::catch_unwind(AssertUnwindSafe(|| self.service.call(request)));
        async move {
            let outcome = match response {
                Ok(response) => AssertUnwindSafe(response).catch_unwind().await,
                Err(panic) => Err(panic),
            };
            match outcome {
                Ok(Ok(mut response)) => {
                    let plain = response.response();
                    guard.status(status(plain.status()), plain.extensions().get());
                    if let Some(error) = plain.error() {
                        log_cause(error, plain);
                    }
                    if let Some(timing) = timing {
                        response.headers_mut().insert(SERVER_TIMING, timing);
                    }
                    Ok(response.map_body(|_, body| Measured::new(body, guard)))
                }
                Ok(Err(error)) => {
                    let response = error.error_response();
                    log_cause(&error, &response);
                    guard.finish(status(response.status()), response.extensions().get());
                    Err(Traced { error, timing }.into())
                }
                Err(_panic) => {
                    guard.panicked();
                    let problem = problem::panicked(&guard.span);
                    let error = Panicked { problem }.into();
                    Err(Traced { error, timing }.into())
                }
            }
        }
        .boxed_local()
    }
}

fn guard(request: &ServiceRequest) -> Guard {
    let span = request
        .extensions()
        .get::<tracing_actix_web::RootSpan>()
        .map(|root| (**root).clone());
    let guard = Guard::new(
        span.unwrap_or_else(Span::none),
        request.method().as_str(),
        request.match_pattern(),
    );
    request.extensions_mut().insert(guard.arrival.clone());
    guard
}

/// actix-web uses `http` 0.2, this crate `http` 1.
fn status(status: StatusCode) -> http::StatusCode {
    http::StatusCode::from_u16(status.as_u16()).unwrap_or_default()
}

pin_project_lite::pin_project! {
    /// A response body that tells [`Red`] when and how it ends.
    pub struct Measured<B> {
        #[pin]
        body: B,
        progress: Progress,
    }
}

impl<B: MessageBody> Measured<B> {
    fn new(body: B, guard: Guard) -> Self {
        let left = match body.size() {
            BodySize::None => Some(0),
            BodySize::Sized(size) => Some(size),
            BodySize::Stream => None,
        };
        let progress = Progress::new(left, guard);
        Self { body, progress }
    }
}

impl<B: MessageBody> MessageBody for Measured<B> {
    type Error = Box<dyn StdError>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = self.project();
        let polled = this.body.poll_next(task).map_err(Into::into);
        match &polled {
            Poll::Ready(Some(Ok(bytes))) => this.progress.sent(bytes.len()),
            Poll::Ready(Some(Err(error))) => this.progress.failed(error.as_ref()),
            Poll::Ready(None) => this.progress.ended(),
            Poll::Pending => {}
        }
        polled
    }
}

const SERVER_TIMING: HeaderName = HeaderName::from_static(problem::SERVER_TIMING);

/// Logs a failure whose cause is known here; nothing else logs it.
fn log_cause<B>(error: &Error, response: &HttpResponse<B>) {
    if !response.status().is_server_error() || response.extensions().contains::<Logged>() {
        return;
    }
    tracing::error!(
        http.response.status_code = response.status().as_u16(),
        error = %error,
        // An actix error does not lead to its source, but prints it here.
        cause = ?error,
        "request failed"
    );
}

/// An error that passes through the middleware, with the trace added to its response.
#[derive(Debug)]
struct Traced {
    error: Error,
    timing: Option<HeaderValue>,
}

impl std::fmt::Display for Traced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl ResponseError for Traced {
    fn status_code(&self) -> StatusCode {
        self.error.as_response_error().status_code()
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let mut response = self.error.error_response();
        if let Some(timing) = &self.timing {
            response.headers_mut().insert(SERVER_TIMING, timing.clone());
        }
        response
    }
}

/// A handler's panic, and the answer to it.
#[derive(Debug)]
struct Panicked {
    problem: String,
}

impl std::fmt::Display for Panicked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the handler panicked")
    }
}

impl ResponseError for Panicked {
    fn error_response(&self) -> HttpResponse<BoxBody> {
        HttpResponse::InternalServerError()
            .content_type(problem::PROBLEM)
            .body(self.problem.clone())
    }
}

//! The server side for tower services: hyper, tonic, axum.

use std::fmt::{Debug, Display};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use tower_layer::Layer;
use tower_service::Service;
use tracing::Span;
use tracing::instrument::{Instrument, Instrumented};

use super::body::Progress;
use super::{Facts, Guard, problem};

type Look<T> = Arc<dyn Fn(&Parts) -> Option<T> + Send + Sync>;

/// Server span and RED metrics of a tower service: counts each request once, however it ends, and answers a panic with 500
/// instead of a closed connection. Adds the trace to every response (`Server-Timing: traceparent;desc="…"`).
#[derive(Clone)]
pub struct ServerLayer {
    route: Look<String>,
    client: Look<IpAddr>,
    port: Option<u16>,
    tls: bool,
}

impl ServerLayer {
    /// `route` finds the template of a request, `/api/orders/{id}`; `None` where there is none. Never give the path itself:
    /// callers could create any number of series.
    pub fn new(route: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static) -> Self {
        Self {
            route: Arc::new(route),
            client: Arc::new(|_| None),
            port: None,
            tls: false,
        }
    }

    /// Routes as axum's router matched them: give it to `Router::layer`, which runs after routing. Callers as in
    /// `into_make_service_with_connect_info::<SocketAddr>()`.
    #[cfg(feature = "axum")]
    pub fn axum() -> Self {
        use axum::extract::{ConnectInfo, MatchedPath};
        let route = |request: &Parts| {
            let path = request.extensions.get::<MatchedPath>()?;
            Some(path.as_str().to_owned())
        };
        Self::new(route).client(|request| {
            let peer = request
                .extensions
                .get::<ConnectInfo<std::net::SocketAddr>>()?;
            Some(peer.0.ip())
        })
    }

    /// How the address of the caller's socket is found, for `client.address`.
    #[must_use]
    pub fn client(self, client: impl Fn(&Parts) -> Option<IpAddr> + Send + Sync + 'static) -> Self {
        let client = Arc::new(client);
        Self { client, ..self }
    }

    /// The port that the service listens on: the `server.port` of requests without a host.
    #[must_use]
    pub fn port(self, port: u16) -> Self {
        let port = Some(port);
        Self { port, ..self }
    }

    /// Callers use TLS, which ends here or at a proxy in front. Sets the `url.scheme` of requests without one, which
    /// are nearly all with HTTP/1.
    #[must_use]
    pub fn tls(self) -> Self {
        Self { tls: true, ..self }
    }

    fn guard(&self, request: &Parts) -> Guard {
        let method = request.method.as_str();
        let route = (self.route)(request);
        let facts = Facts {
            method,
            route: route.as_deref(),
            path: request.uri.path(),
            query: request.uri.query(),
            scheme: request.uri.scheme_str(),
            authority: request.uri.authority().map(|of_uri| of_uri.as_str()),
            headers: &request.headers,
            client: (self.client)(request),
            port: self.port,
            tls: self.tls,
            protocol: protocol(request.version),
        };
        Guard::new(facts.span(), method, route)
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

impl<S> Layer<S> for ServerLayer {
    type Service = Server<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let layer = self.clone();
        Server { inner, layer }
    }
}

/// The service of [`ServerLayer`].
#[derive(Clone)]
pub struct Server<S> {
    inner: S,
    layer: ServerLayer,
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Server<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    S::Error: Display + Debug,
    ResBody: Body<Data = Bytes>,
    ResBody::Error: Display + Debug,
{
    type Response = Response<Measured<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, task: &mut TaskContext<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(task)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        let guard = self.layer.guard(&parts);
        parts.extensions.insert(guard.arrival.clone());
        let request = Request::from_parts(parts, body);
        let call = || guard.span.in_scope(|| self.inner.call(request));
        // Without a future, it panicked.
        let inner = catch_unwind(AssertUnwindSafe(call)).ok();
        ResponseFuture {
            inner: inner.map(|future| future.instrument(guard.span.clone())),
            guard: Some(guard),
        }
    }
}

pin_project_lite::pin_project! {
    /// The answer that [`Server`] waits for. If it is dropped earlier, the caller went away.
    pub struct ResponseFuture<F> {
        #[pin]
        inner: Option<Instrumented<F>>,
        guard: Option<Guard>,
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes>,
    E: Display + Debug,
{
    type Output = Result<Response<Measured<B>>, E>;

    fn poll(self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let caught = |inner: Pin<&mut Instrumented<F>>| {
            catch_unwind(AssertUnwindSafe(|| inner.poll(task))).ok()
        };
        let polled = this.inner.as_pin_mut().and_then(caught);
        let outcome = match polled {
            Some(polled) => Some(ready!(polled)),
            None => None,
        };
        let mut guard = this.guard.take().expect("polled after its end");
        Poll::Ready(match outcome {
            Some(Ok(response)) => Ok(answered(response, guard)),
            Some(Err(error)) => {
                guard.failed(&error);
                Err(error)
            }
            None => Ok(panicked(guard)),
        })
    }
}

/// The same response, with the trace in its head and a body that ends the measurement.
fn answered<B: Body>(response: Response<B>, mut guard: Guard) -> Response<Measured<B>> {
    let (mut head, body) = response.into_parts();
    guard.status(head.status, head.extensions.get());
    guard.failure = grpc_failure(&head.headers);
    name_trace(&mut head.headers, &guard.span);
    let left = if body.is_end_stream() || has_no_body(guard.method, head.status) {
        Some(0)
    } else {
        // The server stops reading the body after the declared length and does not poll for its end.
        body.size_hint().exact().or_else(|| declared(&head.headers))
    };
    let body = Measured {
        body: Some(body),
        problem: None,
        progress: Progress::new(left, guard),
    };
    Response::from_parts(head, body)
}

fn panicked<B>(mut guard: Guard) -> Response<Measured<B>> {
    guard.panicked();
    let problem = Bytes::from(problem::panicked(&guard.span));
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(problem::PROBLEM));
    name_trace(headers, &guard.span);
    response.map(|()| Measured {
        body: None,
        problem: Some(problem),
        progress: Progress::default(),
    })
}

const SERVER_TIMING: HeaderName = HeaderName::from_static(problem::SERVER_TIMING);

fn name_trace(headers: &mut HeaderMap, span: &Span) {
    let timing = problem::server_timing(span).and_then(|timing| timing.try_into().ok());
    if let Some(timing) = timing {
        headers.insert(SERVER_TIMING, timing);
    }
}

/// No server asks for the body of such a response.
fn has_no_body(method: &str, status: StatusCode) -> bool {
    let tunnel = method == "CONNECT" && status.is_success();
    let bare = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    tunnel || bare || status.is_informational()
}

/// gRPC answers 200 and puts the result of the call into a header or trailer. The semantic conventions count these results as
/// failures of the server.
fn grpc_failure(headers: &HeaderMap) -> Option<&'static str> {
    Some(match headers.get("grpc-status")?.as_bytes() {
        b"2" => "UNKNOWN",
        b"4" => "DEADLINE_EXCEEDED",
        b"12" => "UNIMPLEMENTED",
        b"13" => "INTERNAL",
        b"14" => "UNAVAILABLE",
        b"15" => "DATA_LOSS",
        _ => return None,
    })
}

fn declared(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

pin_project_lite::pin_project! {
    /// A response body that tells when and how it ends, or the answer to a panic.
    pub struct Measured<B> {
        #[pin]
        body: Option<B>,
        problem: Option<Bytes>,
        progress: Progress,
    }
}

impl<B> Body for Measured<B>
where
    B: Body<Data = Bytes>,
    B::Error: Display + Debug,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let Some(mut body) = this.body.as_pin_mut() else {
            return Poll::Ready(this.problem.take().map(|problem| Ok(Frame::data(problem))));
        };
        let polled = match this.progress.span() {
            Some(span) => span.in_scope(|| body.as_mut().poll_frame(task)),
            None => body.as_mut().poll_frame(task),
        };
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                this.progress.sent(frame.data_ref().map_or(0, Bytes::len));
                let trailers = frame.trailers_ref();
                if let Some(failure) = trailers.and_then(grpc_failure) {
                    this.progress.fails_as(failure);
                }
                // Then the server asks no more.
                if trailers.is_some() || body.is_end_stream() {
                    this.progress.ended();
                }
            }
            Poll::Ready(Some(Err(error))) => this.progress.failed(error),
            Poll::Ready(None) => this.progress.ended(),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Some(body) => body.is_end_stream(),
            None => self.problem.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.body, &self.problem) {
            (Some(body), _) => body.size_hint(),
            (None, problem) => SizeHint::with_exact(problem.as_ref().map_or(0, Bytes::len) as u64),
        }
    }
}

//! Outgoing HTTP: client span, context injection, client RED.

mod reconnect;

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use reqwest::{Body, Request, Response, ResponseBuilderExt, Url};
use reqwest_middleware::{
    ClientBuilder, ClientWithMiddleware, Error, Extension, Middleware, Next, Result,
};
use reqwest_tracing::{ReqwestOtelSpanBackend, TracingMiddleware};
use tracing::Span;
use tracing::field::Empty;

use crate::deadline::abandoned;
use crate::error_type::{BODY, CANCELLED, TIMEOUT};
use crate::names::http_client::HTTP_CLIENT_DURATION;
use crate::names::labels;
use crate::observe::{Outcome, method_name};
use crate::{propagation, spans, synthetic};
use reconnect::Reconnect;

/// `error.type` of a call whose complete answer cannot be decoded.
pub const DECODE: &str = "decode";

/// Request extension: the low-cardinality template of the URL's path, e.g. `/quotes/{sku}`
/// (`client.get(url).with_extension(UrlTemplate("/quotes/{sku}"))`).
#[derive(Debug, Clone, Copy)]
pub struct UrlTemplate(pub &'static str);

/// Request extension: this attempt is the n-th retry, from 1 (`http.request.resend_count`).
#[derive(Debug, Clone, Copy)]
pub struct ResendCount(pub u32);

/// Client initialiser extension: the name of the called service.
#[derive(Debug, Clone, Copy)]
struct Peer(&'static str);

/// A client for one peer: pooled connections, a total time-out per attempt, client span and metrics per attempt. While the peer restarts, an
/// attempt waits for a moment until it accepts connections.
pub fn client(
    service_peer_name: &'static str,
    timeout: Duration,
) -> std::result::Result<ClientWithMiddleware, reqwest::Error> {
    crate::install_tls();
    let client = reqwest::Client::builder()
        .timeout(timeout)
        .connect_timeout(timeout.min(Duration::from_secs(1)))
        .pool_idle_timeout(crate::exporter::IDLE)
        // A service called is a service named: no proxy from the environment, no redirect to elsewhere.
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    Ok(ClientBuilder::new(client)
        .with_init(Extension(Peer(service_peer_name)))
        .with(TracingMiddleware::<ClientSpan>::new())
        .with(ClientRed)
        .with(Reconnect {
            timeout,
            refused_since: Mutex::default(),
        })
        .build())
}

/// Builds the client span in the stable HTTP semantic conventions.
struct ClientSpan;

impl ReqwestOtelSpanBackend for ClientSpan {
    fn on_request_start(request: &Request, extensions: &mut http::Extensions) -> Span {
        let method = method_name(request.method().as_str());
        let template = extensions.get::<UrlTemplate>().map(|template| template.0);
        let name = template.map(|template| [method, " ", template].concat());
        tracing::info_span!(
            "http.client",
            otel.name = name.as_deref().unwrap_or(method),
            otel.kind = "client",
            otel.status_code = Empty,
            error.type = Empty,
            http.request.method = method,
            http.request.resend_count = extensions
                .get::<ResendCount>()
                .map(|count| i64::from(count.0)),
            // The rest of it is redacted when the span ends.
            url.full = without_credentials(request.url()).as_ref(),
            url.template = template,
            server.address = request.url().host_str(),
            server.port = request.url().port_or_known_default().map(i64::from),
            service.peer.name = extensions.get::<Peer>().map(|peer| peer.0),
        )
    }

    fn on_request_end(
        _span: &Span,
        _outcome: &Result<Response>,
        _extensions: &mut http::Extensions,
    ) {
        // `Guard` records the end, which comes with the end of the body, or when the attempt is given up.
    }
}

fn without_credentials(url: &Url) -> Cow<'_, str> {
    if url.username().is_empty() && url.password().is_none() {
        return url.as_str().into();
    }
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    String::from(url).into()
}

/// Counts each attempt once, however it and its body end; runs inside the client span.
struct ClientRed;

#[async_trait::async_trait]
impl Middleware for ClientRed {
    async fn handle(
        &self,
        mut request: Request,
        extensions: &mut http::Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        propagation::inject(request.headers_mut());
        let call = Arc::new(Mutex::new(Guard::new(&request, extensions)));
        match next.run(request, extensions).await {
            Ok(response) => Ok(measured(response, call)),
            Err(error) => {
                lock(&call).failed(error_type(&error));
                Err(error)
            }
        }
    }
}

/// A call that is under way. It ends when its response's body has been read or dropped, and all its handles are gone.
#[derive(Debug)]
pub struct Call(Option<Arc<Mutex<Guard>>>);

/// Where a response keeps the way to its call, without holding it open.
#[derive(Clone)]
struct Handle(Weak<Mutex<Guard>>);

impl Call {
    /// The call that `response` answers. The call stays open while this handle exists, so that an error in the body can still be
    /// reported. If the body was read before, or no [`client`] made the call, the handle does nothing.
    pub fn of(response: &Response) -> Self {
        let handle = response.extensions().get::<Handle>();
        Self(handle.and_then(|handle| handle.0.upgrade()))
    }

    /// Marks the call as failed, whatever its status: [`BODY`] if the body is larger than allowed, [`DECODE`] if it cannot be
    /// decoded. The first error wins.
    pub fn failed(&self, error_type: &'static str) {
        if let Some(call) = &self.0 {
            lock(call).failed(error_type);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same response, with a body that ends the call.
fn measured(response: Response, call: Arc<Mutex<Guard>>) -> Response {
    lock(&call).status = Some(response.status().as_u16());
    let url = response.url().clone();
    let (mut head, body) = http::Response::<Body>::from(response).into_parts();
    // Only the builder can tell reqwest the URL.
    let url = http::Response::builder().url(url).body(());
    head.extensions
        .extend(url.unwrap_or_default().into_parts().0.extensions);
    head.extensions.insert(Handle(Arc::downgrade(&call)));
    let call = Some(call);
    http::Response::from_parts(head, Body::wrap(Measured { body, call })).into()
}

/// A response body that ends its call after the last byte, or when it is dropped earlier.
struct Measured {
    body: Body,
    call: Option<Arc<Mutex<Guard>>>,
}

impl http_body::Body for Measured {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, reqwest::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(task);
        if let Some(call) = &self.call {
            let mut call = lock(call);
            call.waiting = polled.is_pending();
            if let Poll::Ready(Some(Err(error))) = &polled {
                call.failed(if error.is_timeout() { TIMEOUT } else { BODY });
            }
        }
        let ended = match &polled {
            // With reqwest's features for compression a body does not know that it has ended, but what is left of it.
            Poll::Ready(Some(Ok(_))) => {
                self.body.is_end_stream() || self.body.size_hint().exact() == Some(0)
            }
            other => other.is_ready(),
        };
        if ended {
            self.call = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The target of a call.
#[derive(Debug, Default)]
struct Callee {
    method: &'static str,
    template: &'static str,
    peer: &'static str,
    address: String,
    port: String,
}

/// Counts its call when dropped. Until the response is there, a drop means that the caller gave up.
#[derive(Debug)]
struct Guard {
    span: Span,
    callee: Callee,
    started: Instant,
    status: Option<u16>,
    failure: Option<&'static str>,
    /// The caller waits for more of the body. If the body is dropped now, the caller gave up; otherwise it had read
    /// enough.
    waiting: bool,
}

impl Guard {
    fn new(request: &Request, extensions: &http::Extensions) -> Self {
        let url = request.url();
        let template = extensions.get::<UrlTemplate>();
        let port = url.port_or_known_default();
        let callee = Callee {
            method: method_name(request.method().as_str()),
            template: template.map_or("", |template| template.0),
            peer: extensions.get::<Peer>().map_or("", |peer| peer.0),
            address: url.host_str().unwrap_or_default().to_owned(),
            port: port.map(|port| port.to_string()).unwrap_or_default(),
        };
        Self {
            span: Span::current(),
            callee,
            started: Instant::now(),
            status: None,
            failure: None,
            waiting: false,
        }
    }

    fn failed(&mut self, error_type: &'static str) {
        self.failure.get_or_insert(error_type);
    }

    fn verdict(&self) -> (String, Outcome) {
        match (self.failure, self.status) {
            (Some(failure), _) => (failure.to_owned(), Outcome::Error),
            (None, Some(status)) if status >= 500 => (status.to_string(), Outcome::Error),
            // The conventions: on the client side 4xx is an error of the span. The metric agrees with the server's:
            // it is none of the dependency.
            (None, Some(status)) if status >= 400 && !self.waiting => {
                (status.to_string(), Outcome::Ok)
            }
            (None, Some(_)) if !self.waiting => (String::new(), Outcome::Ok),
            _ => match abandoned() {
                CANCELLED => (CANCELLED.to_owned(), Outcome::Cancelled),
                late => (late.to_owned(), Outcome::Error),
            },
        }
    }
}

fn error_type(error: &Error) -> &'static str {
    match error {
        Error::Reqwest(error) if error.is_timeout() => TIMEOUT,
        Error::Reqwest(error) if error.is_connect() => "connect",
        Error::Reqwest(error) if error.is_body() || error.is_decode() => BODY,
        Error::Reqwest(_) => "connection",
        Error::Middleware(_) => "middleware",
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let (status, (error_type, outcome)) = (self.status, self.verdict());
        // A span ends where it was last left.
        spans::leave(&self.span, status);
        if !error_type.is_empty() {
            self.span.record("error.type", error_type.as_str());
            if outcome != Outcome::Cancelled {
                self.span.record("otel.status_code", "ERROR");
            }
        }
        // Calls made for a probe do not count as users' calls.
        if synthetic::is_of(&self.span) {
            return;
        }
        let callee = std::mem::take(&mut self.callee);
        let status = status.map(|status| status.to_string()).unwrap_or_default();
        let labels = (
            labels::Method(callee.method),
            labels::UrlTemplate(callee.template),
            labels::ServicePeerName(callee.peer),
            labels::ServerAddress(callee.address),
            labels::ServerPort(callee.port),
            labels::Status(status),
            labels::ErrorType(error_type),
            outcome,
        );
        HTTP_CLIENT_DURATION.observe(labels, self.started.elapsed(), &self.span);
    }
}

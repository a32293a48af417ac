//! Server spans and RED metrics for actix-web.
//!
//! ```ignore
//! App::new()
//!     .wrap(telemetry::http_server::Red)
//!     .wrap(telemetry::http_server::tracing_logger()) // outermost: last
//! ```

use std::cell::Cell;
use std::error::Error as StdError;
use std::future::{Ready, ready};
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::http::header::{HeaderMap, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{Error, HttpMessage, HttpRequest};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use metrics::{Gauge, Label, gauge, histogram};
use tracing::Span;
use tracing::field::Empty;
use tracing_actix_web::TracingLogger;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::observe::{Outcome, observe};
use crate::server_body::Measured;
use crate::server_error::{Panicked, SERVER_TIMING, Traced, log_cause};
use crate::spans::cleaned;
use crate::{context, names, propagation, server_address};

/// Put into a response's extensions to name its `error.type` (default: the status code for 5xx).
/// For example `ErrorType("timeout")` on a 504 that a deadline produced.
#[derive(Debug, Clone, Copy)]
pub struct ErrorType(pub &'static str);

/// Put into a response's extensions when the cause of the failure is in the log already. Otherwise [`Red`] writes it there.
#[derive(Debug, Clone, Copy)]
pub struct Logged;

/// `error.type` of a request whose caller went away.
pub const CANCELLED: &str = "cancelled";
/// `error.type` of a request whose handler panicked.
pub const PANIC: &str = "panic";
/// `error.type` of a request that a deadline ended.
pub const TIMEOUT: &str = "timeout";

/// `error.type` of a request whose response body failed half-way.
pub const BODY: &str = "body";

/// When a request's time began to count.
#[derive(Clone)]
struct Started(Rc<Cell<Instant>>);

/// Call when the body of a request has arrived, or has failed to: how long its sender took is not counted as ours. The span
/// shows it.
pub fn arrived(request: &HttpRequest) {
    if let Some(started) = request.extensions().get::<Started>() {
        started.0.set(Instant::now());
    }
}

/// Makes every series of a route exist at zero: call at start-up for each route with the statuses it may answer.
/// A counter that appears with its first error has no rate for that error.
pub fn declare_route(method: &str, pattern: &'static str, statuses: &[u16]) {
    let method = method_name(method);
    let declare = |status: Option<u16>, error_type: &str, outcome| {
        let status = status.map(|status| status.to_string()).unwrap_or_default();
        histogram!(
            names::HTTP_SERVER_DURATION,
            labels(method, pattern, status, error_type.to_owned(), outcome)
        )
        .record_many(0.0, 0);
    };
    for status in statuses {
        let error_type = default_error_type(*status);
        declare(
            Some(*status),
            &error_type,
            if error_type.is_empty() {
                Outcome::Ok
            } else {
                Outcome::Error
            },
        );
    }
    declare(Some(500), PANIC, Outcome::Error);
    declare(Some(504), TIMEOUT, Outcome::Error);
    declare(None, CANCELLED, Outcome::Cancelled);
    active(method, pattern).set(0.0);
}

fn default_error_type(status: u16) -> String {
    if status >= 500 {
        status.to_string()
    } else {
        String::new()
    }
}

fn labels(
    method: &'static str,
    route: &str,
    status: String,
    error_type: String,
    outcome: Outcome,
) -> Vec<Label> {
    vec![
        Label::new("http_request_method", method),
        Label::new("http_route", route.to_owned()),
        Label::new("http_response_status_code", status),
        Label::new("error_type", error_type),
        Label::new("outcome", outcome.as_str()),
    ]
}

fn active(method: &'static str, route: &str) -> Gauge {
    gauge!(names::HTTP_SERVER_ACTIVE, "http_request_method" => method, "http_route" => route.to_owned())
}

/// Known methods by name; anything else is `_OTHER`, so that a caller cannot make series.
pub(crate) fn method_name(method: &str) -> &'static str {
    const KNOWN: [&str; 9] = [
        "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE",
    ];
    KNOWN
        .into_iter()
        .find(|known| *known == method)
        .unwrap_or("_OTHER")
}

/// Tracing middleware (outermost): the server span of every request.
pub fn tracing_logger() -> TracingLogger<RootSpan> {
    TracingLogger::new()
}

/// Builds the server span in the stable HTTP semantic conventions, from the caller's W3C context.
pub struct RootSpan;

impl tracing_actix_web::RootSpanBuilder for RootSpan {
    fn on_request_start(request: &ServiceRequest) -> Span {
        let method = method_name(request.method().as_str());
        let route = request.match_pattern();
        let name = match (method, &route) {
            ("_OTHER", Some(route)) => format!("HTTP {route}"),
            ("_OTHER", None) => "HTTP".to_owned(),
            (method, Some(route)) => format!("{method} {route}"),
            (method, None) => method.to_owned(),
        };
        // Numbers as i64: tracing-opentelemetry makes text of every other integer.
        let (address, port) = server_address::asked_for(request);
        // The URI, not `connection_info`: a forwarded scheme must not choose what telemetry says.
        let span = tracing::info_span!(
            parent: None,
            "http.server",
            otel.name = name,
            otel.kind = "server",
            otel.status_code = Empty,
            error.type = Empty,
            http.request.method = method,
            http.route = route,
            http.response.status_code = Empty,
            url.scheme = "http",
            url.path = clean(request.path()),
            url.query = (!request.query_string().is_empty()).then(|| clean(request.query_string())),
            server.address = address,
            server.port = i64::from(port),
            client.address = request.peer_addr().map(|peer| peer.ip().to_string()),
            network.protocol.version = protocol(request.version()),
            user_agent.original = header(request.headers(), "user-agent").map(clean),
        );
        let inbound = propagation::extract(request.headers());
        if let Some(caller) = inbound.link {
            span.add_link(caller);
        }
        // Fails only when no OpenTelemetry layer is installed; then there is nothing to set.
        let _ = span.set_parent(inbound.context);
        span
    }

    fn on_request_end<B: MessageBody>(_span: Span, _outcome: &Result<ServiceResponse<B>, Error>) {
        // `Red` records the end, in every way a request can end; this hook misses some.
    }
}

fn clean(text: &str) -> String {
    cleaned(text).unwrap_or_else(|| text.to_owned())
}

pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn protocol(version: actix_web::http::Version) -> &'static str {
    match version {
        actix_web::http::Version::HTTP_10 => "1.0",
        actix_web::http::Version::HTTP_2 => "2",
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
        let mut guard = Guard::new(&request);
        let timing = context::traceparent_of(&guard.span).and_then(|parent| {
            HeaderValue::try_from(format!("traceparent;desc=\"{parent}\"")).ok()
        });
        let response = std::panic::catch_unwind(AssertUnwindSafe(|| self.service.call(request)));
        async move {
            let outcome = match response {
                Ok(response) => AssertUnwindSafe(response).catch_unwind().await,
                Err(panic) => Err(panic),
            };
            match outcome {
                Ok(Ok(mut response)) => {
                    let plain = response.response();
                    guard.status(plain.status(), plain.extensions().get());
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
                    guard.finish(response.status(), response.extensions().get());
                    Err(Traced { error, timing }.into())
                }
                Err(_panic) => {
                    guard.status(StatusCode::INTERNAL_SERVER_ERROR, Some(&ErrorType(PANIC)));
                    let trace_id = context::trace_id_of(&guard.span);
                    Err(Traced {
                        error: Panicked { trace_id }.into(),
                        timing,
                    }
                    .into())
                }
            }
        }
        .boxed_local()
    }
}

/// Counts its request when dropped. Until a status is known, a drop means that the caller went away.
pub(crate) struct Guard {
    span: Span,
    method: &'static str,
    route: String,
    started: Started,
    active: Gauge,
    status: Option<(StatusCode, String)>,
    pub(crate) body_ended: bool,
}

impl Guard {
    fn new(request: &ServiceRequest) -> Self {
        let span = request
            .extensions()
            .get::<tracing_actix_web::RootSpan>()
            .map(|root| (**root).clone());
        let method = method_name(request.method().as_str());
        let route = request.match_pattern().unwrap_or_default();
        let active = active(method, &route);
        active.increment(1.0);
        let started = Started(Rc::new(Cell::new(Instant::now())));
        request.extensions_mut().insert(started.clone());
        Self {
            span: span.unwrap_or_else(Span::none),
            method,
            route,
            started,
            active,
            status: None,
            // A response without a body, or to HEAD, is never polled to its end.
            body_ended: request.method() == Method::HEAD,
        }
    }

    fn status(&mut self, status: StatusCode, error_type: Option<&ErrorType>) {
        let error_type = match error_type {
            Some(named) if status.is_server_error() => named.0.to_owned(),
            _ => default_error_type(status.as_u16()),
        };
        self.status = Some((status, error_type));
    }

    /// The caller waited and got a torn answer: our failure, whatever the status line said.
    pub(crate) fn body_failed(&mut self, error: &dyn StdError) {
        if let Some((_, error_type)) = &mut self.status {
            *error_type = BODY.to_owned();
        }
        self.span
            .in_scope(|| tracing::error!(error = %error, cause = ?error, "response body failed"));
    }

    /// Counts an answer whose body is not ours to watch. Without `body_ended`, a 4xx would look given up.
    fn finish(mut self, status: StatusCode, error_type: Option<&ErrorType>) {
        self.status(status, error_type);
        self.body_ended = true;
    }

    fn verdict(&self) -> (Option<StatusCode>, String, Outcome) {
        match &self.status {
            _ if std::thread::panicking() => (
                Some(StatusCode::INTERNAL_SERVER_ERROR),
                PANIC.to_owned(),
                Outcome::Error,
            ),
            Some((status, error_type)) if !error_type.is_empty() => {
                (Some(*status), error_type.clone(), Outcome::Error)
            }
            Some((status, _)) if self.body_ended => (Some(*status), String::new(), Outcome::Ok),
            _ => (None, CANCELLED.to_owned(), Outcome::Cancelled),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.active.decrement(1.0);
        // A span ends where it was last left: a caller that hangs up was waited for until now.
        let _now = self.span.clone().entered();
        let (status, error_type, outcome) = self.verdict();
        if let Some(status) = status {
            self.span
                .record("http.response.status_code", i64::from(status.as_u16()));
        }
        if !error_type.is_empty() {
            self.span.record("error.type", error_type.as_str());
        }
        if outcome == Outcome::Error {
            self.span.record("otel.status_code", "ERROR");
        }
        let status = status
            .map(|status| status.as_str().to_owned())
            .unwrap_or_default();
        let labels = labels(self.method, &self.route, status, error_type, outcome);
        observe(
            names::HTTP_SERVER_DURATION,
            labels,
            self.started.0.get().elapsed(),
            &self.span,
        );
    }
}

//! Server spans and RED metrics, the same for every framework: a request is counted once, however it ends.
//!
//! With the feature `actix`:
//!
//! ```ignore
//! App::new()
//!     .wrap(telemetry::http_server::Red)
//!     .wrap(telemetry::http_server::tracing_logger()) // outermost: last
//! ```
//!
//! With the feature `axum`, or with `tower` and a route of one's own:
//!
//! ```ignore
//! Router::new()
//!     .route("/hello", get(hello))
//!     .layer(telemetry::http_server::ServerLayer::axum()) // outermost: last
//! ```

use std::borrow::Cow;
use std::fmt::{Debug, Display};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use http::StatusCode;
use metrics::Gauge;
use tracing::Span;
use tracing::field::Empty;

use crate::error_type;
use crate::names::http_server::{HTTP_SERVER_ACTIVE, HTTP_SERVER_DURATION, HTTP_SERVER_SYNTHETIC};
use crate::names::labels::{self, Method, Route, Status};
use crate::observe::{Outcome, method_name};
use crate::propagation::{self, Headers};
use crate::{spans, synthetic};

#[cfg(feature = "actix")]
mod actix;
mod address;
mod body;
mod problem;
#[cfg(feature = "tower")]
mod tower;

#[cfg(feature = "actix")]
pub use self::actix::{Red, RedMiddleware, RootSpan, arrived, tracing_logger};
pub(crate) use self::address::configure;
#[cfg(feature = "tower")]
pub use self::tower::{Measured, ResponseFuture, Server, ServerLayer};
pub use crate::error_type::{BODY, CANCELLED, PANIC, TIMEOUT};

/// Put into a response's extensions to name its `error.type` (default: the status code for 5xx).
/// For example `ErrorType("timeout")` on a 504 that a deadline produced.
#[derive(Debug, Clone, Copy)]
pub struct ErrorType(pub &'static str);

/// Put into a response's extensions when the cause of the failure is in the log already. Otherwise [`Red`] writes it there.
#[cfg(feature = "actix")]
#[derive(Debug, Clone, Copy)]
pub struct Logged;

/// When a request's time began to count. Every request has one in its extensions.
#[derive(Debug, Clone)]
pub struct Arrival(Arc<Mutex<Instant>>);

impl Arrival {
    /// Call when the body of the request has arrived, or has failed to: how long its sender took is not counted as ours.
    /// The span shows it.
    pub fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

/// Makes every series of a route exist at zero: call at start-up for each route with the statuses it may answer.
/// A counter that appears with its first error has no rate for that error.
pub fn declare_route(method: &str, pattern: &'static str, statuses: &[u16]) {
    let method = method_name(method);
    let declare = |status: Option<u16>, error_type: &str, outcome| {
        let status = status.map(|status| status.to_string()).unwrap_or_default();
        HTTP_SERVER_DURATION
            .with(labels(
                method,
                pattern.to_owned(),
                status,
                error_type.to_owned(),
                outcome,
            ))
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
    for outcome in [Outcome::Ok, Outcome::Error] {
        count_synthetic(method, pattern.to_owned(), outcome, 0);
    }
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
    route: String,
    status: String,
    error_type: String,
    outcome: Outcome,
) -> (Method, Route, Status, labels::ErrorType, Outcome) {
    let (method, route) = (Method(method), Route(route));
    let error_type = labels::ErrorType(error_type);
    (method, route, Status(status), error_type, outcome)
}

fn count_synthetic(method: &'static str, route: String, outcome: Outcome, count: u64) {
    let labels = (Method(method), Route(route), outcome);
    HTTP_SERVER_SYNTHETIC.with(labels).increment(count);
}

fn active(method: &'static str, route: &str) -> Gauge {
    HTTP_SERVER_ACTIVE.kept((Method(method), Route(route.to_owned())))
}

/// The facts about a request that a framework has when it arrives.
struct Facts<'a, H> {
    method: &'a str,
    route: Option<&'a str>,
    path: &'a str,
    query: Option<&'a str>,
    /// Scheme of the request's URI.
    scheme: Option<&'a str>,
    authority: Option<&'a str>,
    headers: &'a H,
    client: Option<IpAddr>,
    /// Where the service listens.
    port: Option<u16>,
    /// And whether with TLS.
    tls: bool,
    protocol: &'static str,
}

impl<H: Headers> Facts<'_, H> {
    /// The server span, in the stable HTTP semantic conventions, with the caller's W3C context for a parent.
    fn span(self) -> Span {
        let method = method_name(self.method);
        let name = span_name(method, self.route);
        let header = |name| self.headers.all(name).next().flatten();
        let scheme = address::scheme(self.scheme, self.tls);
        let authority = self.authority.or(header("host"));
        let (address, port) = address::asked_for(scheme, authority, self.port);
        // Texts as they came: every attribute is redacted when the span ends. Numbers as i64: every other integer becomes text.
        let span = tracing::info_span!(
            parent: None,
            "http.server",
            otel.name = name.as_ref(),
            otel.kind = "server",
            otel.status_code = Empty,
            error.type = Empty,
            http.request.method = method,
            http.route = self.route,
            url.scheme = scheme,
            url.path = self.path,
            url.query = self.query.filter(|query| !query.is_empty()),
            server.address = address,
            server.port = port.map(i64::from),
            client.address = self.client.map(tracing::field::display),
            network.protocol.version = self.protocol,
            user_agent.original = header("user-agent"),
        );
        propagation::continue_trace(&span, self.headers);
        span
    }
}

fn span_name<'a>(method: &'a str, route: Option<&str>) -> Cow<'a, str> {
    let method = if method == "_OTHER" { "HTTP" } else { method };
    match route {
        Some(route) => [method, " ", route].concat().into(),
        None => method.into(),
    }
}

/// Counts its request when dropped. Until a status is known, a drop means that the caller went away.
struct Guard {
    span: Span,
    method: &'static str,
    route: String,
    arrival: Arrival,
    active: Gauge,
    status: Option<(StatusCode, String)>,
    failure: Option<&'static str>,
    body_ended: bool,
}

impl Guard {
    fn new(span: Span, method: &str, route: Option<String>) -> Self {
        let route = route.unwrap_or_default();
        let known = method_name(method);
        let active = active(known, &route);
        active.increment(1.0);
        Self {
            span,
            method: known,
            route,
            arrival: Arrival(Arc::new(Mutex::new(Instant::now()))),
            active,
            status: None,
            failure: None,
            // A response without a body, or to HEAD, is never polled to its end.
            body_ended: method == "HEAD",
        }
    }

    fn status(&mut self, status: StatusCode, error_type: Option<&ErrorType>) {
        let error_type = match error_type {
            Some(named) if status.is_server_error() => named.0.to_owned(),
            _ => default_error_type(status.as_u16()),
        };
        self.status = Some((status, error_type));
    }

    /// Counts an answer whose body is not ours to watch. Without `body_ended`, a 4xx would look given up.
    fn finish(mut self, status: StatusCode, error_type: Option<&ErrorType>) {
        self.status(status, error_type);
        self.body_ended = true;
    }

    fn panicked(&mut self) {
        self.status(StatusCode::INTERNAL_SERVER_ERROR, Some(&ErrorType(PANIC)));
    }

    /// The caller waited and got a torn answer: our failure, whatever the status line said.
    fn body_failed(&mut self, error: &(impl Display + Debug + ?Sized)) {
        self.failure = Some(BODY);
        self.span
            .in_scope(|| tracing::error!(error = %error, cause = ?error, "response body failed"));
    }

    /// There is no answer: the service itself failed, and its connection or stream ends here.
    fn failed(&mut self, error: &(impl Display + Debug + ?Sized)) {
        self.failure = Some(error_type::OTHER);
        self.span
            .in_scope(|| tracing::error!(error = %error, cause = ?error, "request failed"));
    }

    fn verdict(&self) -> (Option<StatusCode>, String, Outcome) {
        let code = self.status.as_ref().map(|(status, _)| *status);
        match (&self.status, self.failure) {
            _ if std::thread::panicking() => (
                Some(StatusCode::INTERNAL_SERVER_ERROR),
                PANIC.to_owned(),
                Outcome::Error,
            ),
            (_, Some(failure)) => (code, failure.to_owned(), Outcome::Error),
            (Some((_, error_type)), None) if !error_type.is_empty() => {
                (code, error_type.clone(), Outcome::Error)
            }
            (Some(_), None) if self.body_ended => (code, String::new(), Outcome::Ok),
            _ => (None, CANCELLED.to_owned(), Outcome::Cancelled),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.active.decrement(1.0);
        let (status, error_type, outcome) = self.verdict();
        // A span ends where it was last left: a caller that hangs up was waited for until now.
        spans::leave(&self.span, status.map(|status| status.as_u16()));
        if !error_type.is_empty() {
            self.span.record("error.type", error_type.as_str());
        }
        if outcome == Outcome::Error {
            self.span.record("otel.status_code", "ERROR");
        }
        let status = status
            .map(|status| status.as_str().to_owned())
            .unwrap_or_default();
        let route = std::mem::take(&mut self.route);
        if synthetic::is_of(&self.span) {
            return count_synthetic(self.method, route, outcome, 1);
        }
        let labels = labels(self.method, route, status, error_type, outcome);
        let arrival = *self
            .arrival
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        HTTP_SERVER_DURATION.observe(labels, arrival.elapsed(), &self.span);
    }
}

//! Outgoing HTTP: client span, context injection, client RED.

use std::time::{Duration, Instant};

use metrics::Label;
use redact::redact;
use reqwest::{Request, Response};
use reqwest_middleware::{
    ClientBuilder, ClientWithMiddleware, Error, Extension, Middleware, Next, Result,
};
use reqwest_tracing::{ReqwestOtelSpanBackend, TracingMiddleware};
use tracing::Span;
use tracing::field::Empty;

use crate::http_server::{CANCELLED, TIMEOUT, method_name};
use crate::names;
use crate::observe::{Outcome, observe};

/// Request extension: the low-cardinality template of the URL's path, e.g. `/quotes/{sku}`
/// (`client.get(url).with_extension(UrlTemplate("/quotes/{sku}"))`).
#[derive(Debug, Clone, Copy)]
pub struct UrlTemplate(pub &'static str);

/// Request extension: this attempt is the n-th retry, from 1 (`http.request.resend_count`).
#[derive(Debug, Clone, Copy)]
pub struct ResendCount(pub u32);

/// Client initialiser extension: who is called.
#[derive(Debug, Clone, Copy)]
struct Peer(&'static str);

/// A client for one peer: pooled connections, a total time-out per attempt, client span and metrics per attempt.
pub fn client(
    peer_service: &'static str,
    timeout: Duration,
) -> std::result::Result<ClientWithMiddleware, reqwest::Error> {
    crate::install_tls();
    let client = reqwest::Client::builder()
        .timeout(timeout)
        .connect_timeout(timeout.min(Duration::from_secs(1)))
        // Shorter than any server's keep-alive: a connection that its server has just closed is not used again.
        .pool_idle_timeout(Duration::from_secs(30))
        // A service called is a service named: no proxy from the environment, no redirect to elsewhere.
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    Ok(ClientBuilder::new(client)
        .with_init(Extension(Peer(peer_service)))
        .with(TracingMiddleware::<ClientSpan>::new())
        .with(ClientRed)
        .build())
}

/// Builds the client span in the stable HTTP semantic conventions.
struct ClientSpan;

impl ReqwestOtelSpanBackend for ClientSpan {
    fn on_request_start(request: &Request, extensions: &mut http::Extensions) -> Span {
        let method = method_name(request.method().as_str());
        let template = extensions.get::<UrlTemplate>().map(|template| template.0);
        let name = template.map_or_else(
            || method.to_owned(),
            |template| format!("{method} {template}"),
        );
        tracing::info_span!(
            "http.client",
            otel.name = name,
            otel.kind = "client",
            otel.status_code = Empty,
            error.type = Empty,
            http.request.method = method,
            http.request.resend_count = extensions
                .get::<ResendCount>()
                .map(|count| i64::from(count.0)),
            http.response.status_code = Empty,
            url.full = redact(&without_credentials(request.url())).as_ref(),
            url.template = template,
            server.address = request.url().host_str(),
            server.port = request.url().port_or_known_default().map(i64::from),
            peer.service = extensions.get::<Peer>().map(|peer| peer.0),
        )
    }

    fn on_request_end(
        _span: &Span,
        _outcome: &Result<Response>,
        _extensions: &mut http::Extensions,
    ) {
        // `ClientRed` records the end, also of an attempt that was given up.
    }
}

fn without_credentials(url: &reqwest::Url) -> String {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

/// Counts each attempt once, however it ends; runs inside the client span.
struct ClientRed;

#[async_trait::async_trait]
impl Middleware for ClientRed {
    async fn handle(
        &self,
        mut request: Request,
        extensions: &mut http::Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        // The injector sends `tracestate:` even when there is nothing to say.
        if request
            .headers()
            .get("tracestate")
            .is_some_and(|state| state.is_empty())
        {
            request.headers_mut().remove("tracestate");
        }
        let mut guard = Guard::new(&request, extensions);
        let result = next.run(request, extensions).await;
        guard.ended(&result);
        result
    }
}

struct Guard {
    span: Span,
    labels: Vec<Label>,
    started: Instant,
    end: Option<(Option<u16>, String)>,
}

impl Guard {
    fn new(request: &Request, extensions: &http::Extensions) -> Self {
        let url = request.url();
        let labels = vec![
            Label::new(
                "http_request_method",
                method_name(request.method().as_str()),
            ),
            Label::new(
                "url_template",
                extensions
                    .get::<UrlTemplate>()
                    .map_or("", |template| template.0),
            ),
            Label::new(
                "peer_service",
                extensions.get::<Peer>().map_or("", |peer| peer.0),
            ),
            Label::new(
                "server_address",
                url.host_str().unwrap_or_default().to_owned(),
            ),
            Label::new(
                "server_port",
                url.port_or_known_default()
                    .map(|port| port.to_string())
                    .unwrap_or_default(),
            ),
        ];
        Self {
            span: Span::current(),
            labels,
            started: Instant::now(),
            end: None,
        }
    }

    fn ended(&mut self, result: &Result<Response>) {
        self.end = Some(match result {
            // The conventions: on the client side 4xx is an error of the span.
            Ok(response) if response.status().as_u16() >= 400 => (
                Some(response.status().as_u16()),
                response.status().as_str().to_owned(),
            ),
            Ok(response) => (Some(response.status().as_u16()), String::new()),
            Err(error) => (None, error_type(error).to_owned()),
        });
    }
}

fn error_type(error: &Error) -> &'static str {
    match error {
        Error::Reqwest(error) if error.is_timeout() => TIMEOUT,
        Error::Reqwest(error) if error.is_connect() => "connect",
        Error::Reqwest(error) if error.is_body() || error.is_decode() => "body",
        Error::Reqwest(_) => "connection",
        Error::Middleware(_) => "middleware",
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let (status, error_type) = self
            .end
            .take()
            .unwrap_or_else(|| (None, CANCELLED.to_owned()));
        let outcome = match (status, error_type.as_str()) {
            (None, CANCELLED) => Outcome::Cancelled,
            // The metric agrees with the server's: 4xx is no error of the dependency.
            (Some(status), _) if status < 500 => Outcome::Ok,
            _ => Outcome::Error,
        };
        if let Some(status) = status {
            self.span
                .record("http.response.status_code", i64::from(status));
        }
        if !error_type.is_empty() {
            self.span.record("error.type", error_type.as_str());
            if error_type != CANCELLED {
                self.span.record("otel.status_code", "ERROR");
            }
        }
        let mut labels = std::mem::take(&mut self.labels);
        labels.push(Label::new(
            "http_response_status_code",
            status.map(|status| status.to_string()).unwrap_or_default(),
        ));
        labels.push(Label::new("error_type", error_type));
        labels.push(Label::new("outcome", outcome.as_str()));
        observe(
            names::HTTP_CLIENT_DURATION,
            labels,
            self.started.elapsed(),
            &self.span,
        );
    }
}

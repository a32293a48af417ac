//! OTLP over gRPC: `opentelemetry.proto.collector.{trace,logs,metrics}.v1.*Service/Export`.
//!
//! A message goes the way of an HTTP body ([`ingest`]), charged to the budget as it comes. A library for gRPC would collect
//! and inflate it outside of the budget.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;

use actix_web::dev::RequestHead;
use actix_web::http::StatusCode;
use actix_web::http::header::{HOST, HeaderValue as Value};
use actix_web::web::{self, Bytes};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use futures_util::future::LocalBoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use http_body_util::combinators::WithTrailers;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::service::Service;
use hyper::{Method, Request, Response};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::connections::{ANSWERING, Connections};
use crate::guard::AccessRules;
use crate::ingest::{self, Sent, Sink, take};
use crate::otlp::response::{Failure, protobuf};
use crate::otlp::{Encoding, Rejected, Signal, cut_copy};

const CONTENT: &str = "application/grpc";
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// What stands before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// The longest explanation: clients accept 8 KiB of headers, and each byte may become three.
const MAX_MESSAGE: usize = 1 << 10;

/// The bytes that gRPC encodes in a message.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

/// The service.
#[derive(Clone)]
pub(crate) struct Grpc {
    /// The stores.
    pub sink: Sink,
    /// The same as over HTTP.
    pub access_rules: web::Data<AccessRules>,
    /// All requests are counted together.
    pub connections: Connections,
}

type Trailers = Ready<Option<Result<HeaderMap, Infallible>>>;
type Reply = Response<WithTrailers<Full<Bytes>, Trailers>>;

impl Service<Request<Incoming>> for Grpc {
    type Response = Reply;
    type Error = Infallible;
    type Future = LocalBoxFuture<'static, Result<Reply, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let this = self.clone();
        async move { Ok(this.answer(request).await) }.boxed_local()
    }
}

impl Grpc {
    async fn answer(self, request: Request<Incoming>) -> Reply {
        let path = request.uri().path();
        let signal = signal(path);
        let route = signal.map_or("unmatched", |_| path).to_owned();
        let mut counting = self.sink.counters.request(route);
        let is_grpc = is_grpc(&request);
        let outcome = match is_grpc {
            true => self.export(signal, request).await,
            false => {
                let why = format!("this port takes {CONTENT} by POST");
                Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why))
            }
        };
        let status = outcome
            .as_ref()
            .err()
            .map_or(StatusCode::OK, |why| why.status);
        counting.status = Some(status.as_u16());
        let mut reply = reply(&outcome);
        if !is_grpc {
            *reply.status_mut() = hyper::StatusCode::UNSUPPORTED_MEDIA_TYPE;
        }
        reply
    }

    async fn export(
        self,
        signal: Option<Signal>,
        request: Request<Incoming>,
    ) -> Result<Rejected, Failure> {
        let answering = self.connections.answer().ok_or_else(ingest::busy)?;
        if let Some(refusal) = self.access_rules.refusal(&as_http1(&request)) {
            return Err(refusal);
        }
        let signal = signal.ok_or_else(|| {
            let why = format!("{} is no method of OTLP", request.uri().path());
            Failure::new(StatusCode::NOT_FOUND, why)
        })?;
        let sent = ingest::in_time(message(request, &self.sink)).await?;
        let answering = Some(Arc::new(answering));
        ANSWERING
            .scope(answering, take(signal, sent, self.sink))
            .await
    }
}

fn signal(path: &str) -> Option<Signal> {
    match path.strip_prefix("/opentelemetry.proto.collector.")? {
        "trace.v1.TraceService/Export" => Some(Signal::Traces),
        "logs.v1.LogsService/Export" => Some(Signal::Logs),
        "metrics.v1.MetricsService/Export" => Some(Signal::Metrics),
        _ => None,
    }
}

fn is_grpc(request: &Request<Incoming>) -> bool {
    let content = request.headers().get(CONTENT_TYPE);
    let content = content.and_then(|content| content.to_str().ok()?.split(';').next());
    request.method() == Method::POST && matches!(content, Some(CONTENT | "application/grpc+proto"))
}

/// As much of a request as the access rules look at.
fn as_http1(request: &Request<Incoming>) -> RequestHead {
    let mut head = RequestHead::default();
    let named = request.headers().get_all(HOST.as_str()).into_iter();
    let named = named.map(HeaderValue::as_bytes);
    let authority = request.uri().authority();
    let hosts = authority.map(|host| host.as_str().as_bytes()).into_iter();
    for host in hosts.chain(named) {
        if let Ok(host) = Value::from_bytes(host) {
            head.headers.append(HOST, host);
        }
    }
    head
}

/// Reads the one message of a request.
async fn message(request: Request<Incoming>, sink: &Sink) -> Result<Sent, Failure> {
    let bad = |why: String| Failure::new(StatusCode::BAD_REQUEST, why);
    let (head, body) = request.into_parts();
    let encoding = head.headers.get(ENCODING);
    let encoding = encoding.map_or("", |encoding| encoding.to_str().unwrap_or("?"));
    let mut chunks = body.into_data_stream();
    let mut first = Vec::new();
    while first.len() < PREFIX {
        let chunk = chunks
            .next()
            .await
            .ok_or_else(|| ingest::cut_off("no message"))?;
        first.extend_from_slice(&chunk.map_err(ingest::cut_off)?);
    }
    let rest = first.split_off(PREFIX);
    let size = u32::from_be_bytes([first[1], first[2], first[3], first[4]]) as usize;
    sink.gate.check_announced(size)?;
    let is_gzip = match first[0] {
        0 => false,
        1 if ingest::is_gzip(encoding)? => true,
        1 => {
            return Err(bad(
                "a message is compressed, and grpc-encoding does not say how".into(),
            ));
        }
        flags => {
            return Err(bad(format!(
                "the flags of a message are {flags}, allowed: 0, 1"
            )));
        }
    };
    let mut account = sink.gate.account();
    let all = stream::iter([Ok(Bytes::from(rest))]).chain(chunks);
    let body = ingest::read(all, &sink.gate, &mut account).await?;
    if body.len() != size {
        let came = body.len();
        return Err(bad(format!(
            "one message of {size} bytes was announced, and {came} came"
        )));
    }
    Ok(Sent {
        encoding: Encoding::Protobuf,
        is_gzip,
        body,
        account,
    })
}

fn reply(outcome: &Result<Rejected, Failure>) -> Reply {
    let (body, trailers) = match outcome {
        Ok(rejected) => (framed(&protobuf(rejected)), status(0)),
        Err(failure) => (Bytes::new(), refusal(failure)),
    };
    let trailers = ready(Some(Ok(trailers)));
    let mut reply = Response::new(Full::new(body).with_trailers(trailers));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(CONTENT));
    let encodings = HeaderValue::from_static("identity,gzip");
    headers.insert(ACCEPT_ENCODING, encodings);
    reply
}

fn framed(message: &[u8]) -> Bytes {
    let size = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[0], &size.to_be_bytes()[..], message].concat().into()
}

fn status(code: i32) -> HeaderMap {
    HeaderMap::from_iter([(STATUS, code.into())])
}

fn refusal(failure: &Failure) -> HeaderMap {
    let failure = Failure::new(failure.status, cut_copy(&failure.message, MAX_MESSAGE));
    let message = utf8_percent_encode(&failure.message, ENCODED).to_string();
    let details = STANDARD_NO_PAD.encode(failure.to_protobuf());
    let mut trailers = status(failure.code());
    for (name, text) in [(MESSAGE, message), (DETAILS, details)] {
        trailers.extend(HeaderValue::try_from(text).ok().map(|text| (name, text)));
    }
    trailers
}

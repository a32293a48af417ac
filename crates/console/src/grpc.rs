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

use crate::connections::{ANSWERING, Answering, Connections};
use crate::guard::AccessRules;
use crate::ingest::{self, Sent, Sink, take};
use crate::otlp::response::{Failure, protobuf};
use crate::otlp::{Encoding, Rejected, Signal, cut_copy};

/// The methods. A path names one.
const METHODS: [(&str, Signal); 3] = [
    (
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        Signal::Traces,
    ),
    (
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        Signal::Logs,
    ),
    (
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        Signal::Metrics,
    ),
];

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

    /// Reads the head at once and drops it: those of all connections together would take too much memory while calls wait.
    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let method = method(request.uri().path());
        let route = method.map_or("unmatched", |(path, _)| path);
        let counting = self.sink.counters.request(route.to_owned());
        let is_grpc = is_grpc(&request);
        let checked = self.check(&request, is_grpc, method);
        let (sink, body) = (self.sink.clone(), request.into_body());
        let answer = async move {
            let mut counting = counting;
            let outcome = match checked {
                Ok(call) => call.export(body, sink).await,
                Err(refusal) => Err(refusal),
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
            Ok(reply)
        };
        answer.boxed_local()
    }
}

impl Grpc {
    fn check(
        &self,
        request: &Request<Incoming>,
        is_grpc: bool,
        method: Option<(&str, Signal)>,
    ) -> Result<Call, Failure> {
        if !is_grpc {
            let why = format!("this port takes {CONTENT} by POST");
            return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
        }
        let answering = self.connections.answer().ok_or_else(ingest::busy)?;
        if let Some(refusal) = self.access_rules.refusal(&as_http1(request)) {
            return Err(refusal);
        }
        let (_, signal) = method.ok_or_else(|| {
            let why = "there is no such method here, only Export of OTLP's services of traces, logs and metrics";
            Failure::new(StatusCode::NOT_FOUND, why)
        })?;
        Ok(Call {
            signal,
            compression: compression(request.headers())?,
            answering: Some(Arc::new(answering)),
        })
    }
}

/// A call that may proceed.
struct Call {
    signal: Signal,
    /// Whether its messages may be compressed: by gzip, the only one that is spoken.
    compression: bool,
    answering: Option<Arc<Answering>>,
}

impl Call {
    async fn export(self, body: Incoming, sink: Sink) -> Result<Rejected, Failure> {
        let sent = ingest::in_time(message(body, self.compression, &sink)).await?;
        ANSWERING
            .scope(self.answering, take(self.signal, sent, sink))
            .await
    }
}

fn method(path: &str) -> Option<(&'static str, Signal)> {
    METHODS.into_iter().find(|(known, _)| *known == path)
}

fn is_grpc(request: &Request<Incoming>) -> bool {
    let content = request.headers().get(CONTENT_TYPE);
    let content = content.and_then(|content| content.to_str().ok()?.split(';').next());
    request.method() == Method::POST && matches!(content, Some(CONTENT | "application/grpc+proto"))
}

fn compression(headers: &HeaderMap) -> Result<bool, Failure> {
    let encoding = headers.get(ENCODING);
    let encoding = encoding.map_or("", |encoding| encoding.to_str().unwrap_or("?"));
    ingest::is_gzip(&cut_copy(encoding, MAX_MESSAGE / 4))
}

/// As much of a request as the access rules look at.
fn as_http1(request: &Request<Incoming>) -> RequestHead {
    let authority = request.uri().authority().map(|host| host.as_str());
    let named = || request.headers().get(HOST.as_str())?.to_str().ok();
    let host = authority.or_else(named).map(Value::from_str);
    let mut head = RequestHead::default();
    if let Some(Ok(host)) = host {
        head.headers.insert(HOST, host);
    }
    head
}

/// Reads the one message of a request.
async fn message(body: Incoming, may_be_gzip: bool, sink: &Sink) -> Result<Sent, Failure> {
    let bad = |why: String| {
        let why = format!("the message cannot be read: {why}");
        Failure::new(StatusCode::BAD_REQUEST, why)
    };
    let mut chunks = body.into_data_stream();
    let mut first = Vec::new();
    while first.len() < PREFIX {
        let chunk = chunks.next().await;
        let chunk = chunk.ok_or_else(|| ingest::cut_off("no message"))?;
        first.extend_from_slice(&chunk.map_err(ingest::cut_off)?);
    }
    let rest = first.split_off(PREFIX);
    let size = u32::from_be_bytes([first[1], first[2], first[3], first[4]]) as usize;
    sink.gate.check_announced(size)?;
    let is_gzip = match (first[0], may_be_gzip) {
        (0, _) => false,
        (1, true) => true,
        (1, false) => return Err(bad("grpc-encoding does not say how it is compressed".into())),
        (flags, _) => return Err(bad(format!("its flags are {flags}, allowed: 0, 1"))),
    };
    let mut account = sink.gate.account();
    let all = stream::iter([Ok(Bytes::from(rest))]).chain(chunks);
    let body = ingest::read(all, &sink.gate, &mut account).await?;
    if body.len() != size {
        let came = body.len();
        return Err(bad(format!("{size} bytes were announced, and {came} came")));
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

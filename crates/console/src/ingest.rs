//! `POST /v1/{traces,logs,metrics}`: bounded reading, inflating and decoding.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName};
use actix_web::web::{self, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::StreamExt;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::counters::Counters;
use crate::inflate::{InflateError, gunzip};
use crate::model::Resource;
use crate::otlp::response::{Failure, accepted, refused};
use crate::otlp::{self, Batch, Encoding, Rejected, Signal};
use crate::samples::Labels;
use crate::scrape::now_us;
use crate::series::SeriesStore;
use crate::store::Store;

/// The largest body as it is sent.
const MAX_SENT: usize = 4 << 20;

/// The largest body once inflated.
const MAX_INFLATED: usize = 16 << 20;

/// What is read and thrown away beyond, so that a client that does not listen while it sends gets the answer.
const MAX_DRAINED: usize = 32 << 20;

/// A body must come within this time: a slow one keeps others out.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Bodies being read at once; more are told to come again.
const READING: usize = 16;

/// Bodies being decoded at once; more wait. Each costs up to the inflated size plus the limit of a batch.
const DECODING: usize = 2;

/// Bounds what all requests together may cost.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    reading: Arc<Semaphore>,
    decoding: Arc<Semaphore>,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            reading: Arc::new(Semaphore::new(READING)),
            decoding: Arc::new(Semaphore::new(DECODING)),
        }
    }
}

/// Where items go.
#[derive(Debug, Clone)]
pub(crate) struct Sink {
    /// Spans and logs.
    pub store: Store,
    /// Samples.
    pub series: SeriesStore,
    /// Refusals.
    pub counters: Counters,
    /// Bounds.
    pub gate: Gate,
}

/// Adds the routes.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config
        .route(
            "/v1/traces",
            web::post().to(|r, p, s| export(Signal::Traces, r, p, s)),
        )
        .route(
            "/v1/logs",
            web::post().to(|r, p, s| export(Signal::Logs, r, p, s)),
        )
        // Where Loki takes them.
        .route(
            "/otlp/v1/logs",
            web::post().to(|r, p, s| export(Signal::Logs, r, p, s)),
        )
        .route(
            "/v1/metrics",
            web::post().to(|r, p, s| export(Signal::Metrics, r, p, s)),
        );
}

async fn export(
    signal: Signal,
    request: HttpRequest,
    payload: Payload,
    sink: web::Data<Sink>,
) -> HttpResponse {
    let sink = sink.get_ref().clone();
    let encoding = match encoding(request.headers()) {
        Ok(encoding) => encoding,
        Err(failure) => return refused(Encoding::Json, &failure),
    };
    match take(signal, encoding, request.headers(), payload, sink).await {
        Ok(rejected) => accepted(signal, encoding, &rejected),
        Err(failure) => refused(encoding, &failure),
    }
}

async fn take(
    signal: Signal,
    encoding: Encoding,
    headers: &HeaderMap,
    payload: Payload,
    sink: Sink,
) -> Result<Rejected, Failure> {
    let is_gzip = is_gzip(headers)?;
    let busy = || {
        Failure::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many requests at once, try again",
        )
    };
    let body = {
        let _permit = sink.gate.reading.try_acquire().map_err(|_| busy())?;
        tokio::time::timeout(READ_TIMEOUT, read(payload))
            .await
            .unwrap_or_else(|_| {
                Err(Failure::new(
                    StatusCode::REQUEST_TIMEOUT,
                    format!("the body did not come within {READ_TIMEOUT:?}"),
                ))
            })?
    };
    let permit = sink
        .gate
        .decoding
        .clone()
        .acquire_owned()
        .await
        .map_err(|_| busy())?;
    let job = move || {
        let _permit = permit;
        let body = if is_gzip { inflate(&body)? } else { body };
        let batch = otlp::decode(signal, encoding, &body)
            .map_err(|why| Failure::new(StatusCode::BAD_REQUEST, why))?;
        drop(body);
        Ok(keep(signal, batch, &sink))
    };
    web::block(job).await.unwrap_or_else(|_| Err(busy()))
}

fn inflate(body: &[u8]) -> Result<Vec<u8>, Failure> {
    gunzip(body, MAX_INFLATED).map_err(|why| match why {
        InflateError::TooLarge => too_large(MAX_INFLATED, "inflated"),
        InflateError::Malformed(why) => Failure::new(
            StatusCode::BAD_REQUEST,
            format!("the body is no gzip: {why}"),
        ),
    })
}

fn too_large(limit: usize, how: &str) -> Failure {
    Failure::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("the {how} body is larger than {limit} bytes; send smaller batches"),
    )
}

fn keep(signal: Signal, batch: Batch, sink: &Sink) -> Rejected {
    let mut rejected = batch.rejected;
    sink.store.add_spans(batch.spans);
    sink.store.add_logs(batch.logs);
    for sender in batch.metrics {
        let labels = sender_labels(&sender.resource);
        let values: Vec<&str> = labels.iter().map(|(_, value)| value.as_str()).collect();
        let source = format!("sender {}", values.join(" "));
        let no_room = sink
            .series
            .merge(&source, &labels, sender.samples, now_us());
        rejected.add_many("no_room", no_room);
    }
    sink.counters.rejected(signal, &rejected);
    rejected
}

/// Labels of a sender, as targets have them: `instance` and `service_name`.
fn sender_labels(resource: &Resource) -> Labels {
    let instance = resource
        .attributes
        .iter()
        .find(|(key, _)| key == "service.instance.id");
    let mut labels = Labels::new();
    if let Some(Value::String(instance)) = instance.map(|(_, value)| value) {
        labels.push(("instance".into(), instance.clone()));
    }
    labels.push(("service_name".into(), resource.service.clone()));
    labels
}

/// Reads the body up to the limit. Beyond it nothing is kept, but some more is read, see [`MAX_DRAINED`].
async fn read(mut payload: Payload) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    let mut size = 0_usize;
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|why| {
            Failure::new(
                StatusCode::BAD_REQUEST,
                format!("the body is cut off: {why}"),
            )
        })?;
        size += chunk.len();
        if size <= MAX_SENT {
            body.extend_from_slice(&chunk);
        } else {
            body = Vec::new();
            if size > MAX_DRAINED {
                break;
            }
        }
    }
    if size > MAX_SENT {
        return Err(too_large(MAX_SENT, "sent"));
    }
    Ok(body)
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, Failure> {
    let sent = text(headers, CONTENT_TYPE);
    let media_type = sent
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    match media_type.as_str() {
        "application/x-protobuf" => Ok(Encoding::Protobuf),
        "application/json" => Ok(Encoding::Json),
        _ => {
            let message = format!(
                "content type {sent:?} is not supported, only application/x-protobuf and application/json"
            );
            Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message))
        }
    }
}

fn is_gzip(headers: &HeaderMap) -> Result<bool, Failure> {
    let sent = text(headers, CONTENT_ENCODING);
    match sent.trim().to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(false),
        "gzip" | "x-gzip" => Ok(true),
        _ => {
            let message =
                format!("content encoding {sent:?} is not supported, only gzip and identity");
            Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message))
        }
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> &str {
    headers
        .get(name)
        .map_or("", |value| value.to_str().unwrap_or("?"))
}

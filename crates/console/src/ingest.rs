//! `POST /v1/{traces,logs,metrics}`: bounded reading, inflating and decoding.
//!
//! A body is charged to the budget as it comes and until it is decoded. What costs CPU is done in turns, so that a large body does
//! not keep others waiting.

mod keep;

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName};
use actix_web::web::{self, Bytes, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::{Stream, StreamExt};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::body::Body;
use crate::budget::{Account, Budget, Purpose};
use crate::connections::off_worker;
use crate::counters::Counters;
use crate::inflate::{InflateError, gunzip};
use crate::metadata::Metadata;
use crate::otlp::response::{Failure, accepted, refused};
use crate::otlp::{self, Encoding, Rejected, Signal};
use crate::series::SeriesStore;
use crate::store::Store;
use keep::keep;

/// How many bytes beyond the limit the console reads and discards, so that a client that sends without reading still gets
/// the response.
const MAX_DRAINED: usize = 32 << 20;

/// A body must arrive within this time, because a slow one occupies memory.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest form of a query, and of what a page sends.
const MAX_SMALL: usize = 64 << 10;

/// By how many bytes the account of a body grows.
const STEP: usize = 16 << 10;

/// A body that is larger waits with its like, so that small ones never wait for it.
const LARGE: usize = 1 << 20;

/// Work on a body goes on for so long before others have their turn.
const TURN: Duration = Duration::from_millis(10);

/// Bounds what all requests together may cost.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    budget: Budget,
    /// The largest body, as sent and once inflated.
    max_body: usize,
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

impl Gate {
    /// Accepts bodies of up to `max_body_bytes`, or less if the budget has less memory.
    pub fn new(budget: Budget, max_body_bytes: u64) -> Self {
        let max_body = max_body_bytes.min(budget.limit(Purpose::Body));
        Self {
            budget,
            max_body: usize::try_from(max_body).unwrap_or(usize::MAX),
            small: Arc::new(Semaphore::new(1)),
            large: Arc::new(Semaphore::new(1)),
        }
    }

    /// An account for a body.
    pub fn account(&self) -> Account {
        self.budget.account(Purpose::Body)
    }

    /// Refuses a body that was announced with so many bytes, if they are too many.
    pub fn check_announced(&self, size: usize) -> Result<(), Failure> {
        match size > self.max_body {
            true => Err(self.too_large("sent")),
            false => Ok(()),
        }
    }

    fn too_large(&self, how: &str) -> Failure {
        let limit = self.max_body;
        let why = format!(
            "the {how} body is larger than {limit} bytes; send smaller batches, or start the console with a larger --max-body \
             and, since all bodies together take at most a quarter of it and 4 MiB, a larger --memory"
        );
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, why)
    }
}

/// The right to use a processor. One right is for large bodies and one for small ones; those that wait get it in order.
#[derive(Debug)]
pub(crate) struct Turn {
    of: Arc<Semaphore>,
    runtime: Handle,
    permit: Option<OwnedSemaphorePermit>,
    since: Instant,
    /// How long a turn lasts before others have theirs.
    length: Duration,
}

impl Turn {
    /// Waits for the turn. The caller must already run on a blocking thread, never on a worker thread, because others would
    /// have to wait for that thread too.
    pub fn wait(of: Arc<Semaphore>, length: Duration) -> Self {
        let mut turn = Self {
            of,
            runtime: Handle::current(),
            permit: None,
            since: Instant::now(),
            length,
        };
        turn.next();
        turn
    }

    /// Ends this turn if it has lasted long enough, and waits for the next one. Not for a worker thread.
    fn pass(&mut self) {
        if self.since.elapsed() < self.length {
            return;
        }
        self.next();
    }

    /// Does the same for a body that turns out to be large.
    pub fn pass_among(&mut self, of: &Arc<Semaphore>) {
        if Arc::ptr_eq(&self.of, of) {
            return self.pass();
        }
        self.of = of.clone();
        self.next();
    }

    fn next(&mut self) {
        self.permit = None;
        self.permit = self.runtime.block_on(self.of.clone().acquire_owned()).ok();
        self.since = Instant::now();
    }
}

/// The stores that receive the items.
#[derive(Debug, Clone)]
pub(crate) struct Sink {
    /// Spans and logs.
    pub store: Store,
    /// Samples.
    pub series: SeriesStore,
    /// The metadata of metrics.
    pub metadata: Metadata,
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
        // The path at which Loki accepts logs over OTLP.
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
    let sent = async {
        let is_gzip = is_gzip(text(request.headers(), CONTENT_ENCODING))?;
        let mut account = sink.gate.account();
        let body = in_time(read(payload, &sink.gate, &mut account)).await?;
        let sent = Sent {
            encoding,
            is_gzip,
            body,
            account,
        };
        take(signal, sent, sink).await
    };
    match sent.await {
        Ok(rejected) => accepted(signal, encoding, &rejected),
        Err(failure) => refused(encoding, &failure),
    }
}

/// What a sender sends, in whatever protocol.
pub(crate) struct Sent {
    /// How it is written.
    pub encoding: Encoding,
    /// Whether it has to be inflated.
    pub is_gzip: bool,
    /// The bytes.
    pub body: Body,
    /// Covers them.
    pub account: Account,
}

/// Decodes what was sent, and keeps it.
pub(crate) async fn take(signal: Signal, sent: Sent, sink: Sink) -> Result<Rejected, Failure> {
    let Sent {
        encoding,
        is_gzip,
        body,
        mut account,
    } = sent;
    let is_large = body.len() > LARGE;
    let job = move || {
        let turn = if is_large {
            &sink.gate.large
        } else {
            &sink.gate.small
        };
        let mut turn = Turn::wait(turn.clone(), TURN);
        let body = match is_gzip {
            true => inflate(body, &sink.gate, &mut account, &mut turn)?,
            false => body,
        };
        otlp::check(signal, encoding, &body)
            .map_err(|why| Failure::new(StatusCode::BAD_REQUEST, why))?;
        turn.pass();
        let mut rejected = Rejected::default();
        otlp::decode(signal, encoding, &body, &mut |batch| {
            rejected.merge(keep(batch, &sink));
            turn.pass();
        });
        sink.counters.rejected(signal, &rejected);
        Ok(rejected)
    };
    off_worker(job).await.unwrap_or_else(|_| Err(busy()))
}

/// There is no room for it now.
pub(crate) fn busy() -> Failure {
    let why = "too many requests at once, or too large ones for the memory of the console (--memory): try again";
    Failure::new(StatusCode::SERVICE_UNAVAILABLE, why)
}

fn inflate(
    body: Body,
    gate: &Gate,
    account: &mut Account,
    turn: &mut Turn,
) -> Result<Body, Failure> {
    let has_room = |size| account.cover(body.len() + STEP + size);
    let pause = |size| match size > LARGE {
        true => turn.pass_among(&gate.large),
        false => turn.pass(),
    };
    let inflated = gunzip(&body, gate.max_body, has_room, pause);
    inflated.map_err(|why| match why {
        InflateError::TooLarge => gate.too_large("inflated"),
        InflateError::NoRoom => busy(),
        InflateError::Malformed(why) => {
            let why = format!("the body is no gzip: {why}");
            Failure::new(StatusCode::BAD_REQUEST, why)
        }
    })
}

/// Whether it is a path that senders send to.
pub(crate) fn is_intake(path: &str) -> bool {
    path.starts_with("/v1/") || path.starts_with("/otlp/")
}

/// Reads the form of a query, or the body that a page sends. It is charged as part of an answer, so that waiting forms do
/// not block the bodies of senders.
pub(crate) async fn read_small(payload: Payload, gate: &Gate) -> Result<(Body, Account), Failure> {
    let gate = Gate {
        max_body: MAX_SMALL,
        ..gate.clone()
    };
    let mut account = gate.budget.account(Purpose::Answer);
    let form = in_time(read(payload, &gate, &mut account)).await;
    let form = form.map_err(|why| match why.status {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let why = format!("the body is larger than {MAX_SMALL} bytes");
            Failure::new(StatusCode::PAYLOAD_TOO_LARGE, why)
        }
        _ => why,
    });
    Ok((form?, account))
}

/// Gives the reading of a body its time.
pub(crate) async fn in_time<T>(
    reading: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let reading = tokio::time::timeout(READ_TIMEOUT, reading);
    reading.await.unwrap_or_else(|_| {
        let why = format!("the body did not come within {READ_TIMEOUT:?}");
        Err(Failure::new(StatusCode::REQUEST_TIMEOUT, why))
    })
}

/// Reads the body up to the limit. Beyond it nothing is kept, but some more is read, see [`MAX_DRAINED`].
pub(crate) async fn read<E: Display>(
    mut chunks: impl Stream<Item = Result<Bytes, E>> + Unpin,
    gate: &Gate,
    account: &mut Account,
) -> Result<Body, Failure> {
    let mut body = Body::new(gate.max_body).map_err(|_| busy());
    let mut size = 0_usize;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(cut_off)?;
        size += chunk.len();
        match &mut body {
            Err(_) if size > gate.max_body + MAX_DRAINED => break,
            Err(_) => {}
            Ok(_) if size > gate.max_body => body = Err(gate.too_large("sent")),
            Ok(_) if !account.cover(size.next_multiple_of(STEP)) => body = Err(busy()),
            Ok(body) => body.extend(&chunk),
        }
        if body.is_err() {
            account.clear();
        }
    }
    body
}

/// The sender has not sent all of it.
pub(crate) fn cut_off(why: impl Display) -> Failure {
    let why = format!("the body is cut off: {why}");
    Failure::new(StatusCode::BAD_REQUEST, why)
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

/// Whether this name of an encoding is gzip's.
pub(crate) fn is_gzip(sent: &str) -> Result<bool, Failure> {
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

//! For tests: what a block emits, as it would leave the process, redacted.
//!
//! ```
//! telemetry::label! { enum Method { Card = "card", Invoice = "invoice" } }
//! telemetry::metrics! {
//!     /// Payments, by how they were made.
//!     PAYMENTS: Counter { method: Method } = "payments_total", unit "{payment}";
//! }
//!
//! let ((), seen) = telemetry::testing::capture(|| {
//!     let _span = tracing::info_span!("payment", order.id = 7).entered();
//!     tracing::info!(customer = "ada@example.com", "paid");
//!     PAYMENTS.with(Method::Card).increment(1);
//! });
//! assert_eq!(seen.spans()[0].attributes["order.id"], "7");
//! assert_eq!(seen.logs()[0].span_id, seen.spans()[0].span_id);
//! assert_eq!(seen.logs()[0].attributes["customer"], "[redacted]");
//! assert_eq!(seen.metric("payments_total", &[("method", "card")]), 1.0);
//! ```
//!
//! A histogram of your own has buckets only if its list is handed over, as to `init`: [`recorder_with`].
//!
//! Telemetry is one a process, so the tests of a binary share it, and none of them may call [`init()`](crate::init()). Tests that
//! run side by side do not see each other's spans and log records. They do see each other's metrics: give each a label of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
use opentelemetry_proto::tonic::trace::v1 as proto;
use prost::Message;
use serde_json::Value;
use tracing::Instrument;

use crate::hex::Hex;
use crate::init::init_with;
use crate::logs::{Output, Record};
use crate::pipeline::ExportOutcome;
use crate::{Metric, ServiceInfo, Settings, Telemetry, context, exposition, metric, otlp};

/// `service.name` of what is recorded.
pub const SERVICE: &str = "test";

/// How long [`eventually`] looks.
const PATIENCE: Duration = Duration::from_secs(30);

type Store<T> = Arc<Mutex<Vec<T>>>;
type Texts = BTreeMap<String, String>;

/// How a span ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// The status was not set.
    Unset,
    /// Said to be fine.
    Ok,
    /// Failed, with a description that may be empty.
    Error(String),
}

/// A span that has ended. Ids are in hex, attributes as text.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the names of the OpenTelemetry data model")]
pub struct Span {
    pub name: String,
    pub kind: SpanKindName,
    pub trace_id: String,
    pub span_id: String,
    pub parent_span_id: String,
    pub attributes: Texts,
    pub status: Status,
    pub start: SystemTime,
    pub end: SystemTime,
    /// Trace id and span id of each.
    pub links: Vec<(String, String)>,
}

/// `server`, `client`, `producer`, `consumer` or `internal`.
pub type SpanKindName = &'static str;

/// A log record. Ids are in hex, and empty outside a trace.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the names of the OpenTelemetry data model")]
pub struct Log {
    pub level: &'static str,
    pub message: String,
    pub attributes: Texts,
    pub trace_id: String,
    pub span_id: String,
}

/// One line of `/metrics`.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the names of the exposition format")]
pub struct Sample {
    pub name: String,
    pub labels: Texts,
    pub value: f64,
}

/// All that this process has emitted.
pub struct Recorder {
    telemetry: Telemetry,
    spans: Store<Span>,
    logs: Store<Log>,
}

/// The process's recorder; the first call starts telemetry.
///
/// # Panics
/// When telemetry is running already.
pub fn recorder() -> &'static Recorder {
    recorder_with(&[])
}

/// The same, with the lists that [`init()`](crate::init()) would be given: only then their histograms have buckets. The
/// registry is made by the first call, so every test of the binary begins with this one.
///
/// # Panics
/// When telemetry is running already, without these lists.
pub fn recorder_with(metrics: &[&[Metric]]) -> &'static Recorder {
    static RECORDER: OnceLock<Recorder> = OnceLock::new();
    let recorder = RECORDER.get_or_init(|| Recorder::start(metrics));
    for Metric { name, .. } in metrics.iter().copied().flatten() {
        assert!(
            metric::find(name).is_some(),
            "the first test of this process did not hand over {name}: begin each with recorder_with and the same lists"
        );
    }
    recorder
}

impl Recorder {
    fn start(metrics: &[&[Metric]]) -> Self {
        let (spans, logs) = (Store::default(), Store::default());
        // No queue of a test is ever full.
        let settings = Settings::from_lookup(&|name| {
            let full = ["OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BLRP_MAX_QUEUE_SIZE"].contains(&name);
            full.then(|| "1000000".to_owned())
        });
        let info = ServiceInfo {
            name: SERVICE.to_owned(),
            version: "0".to_owned(),
        };
        let telemetry = init_with(
            info,
            &settings.expect("constant settings"),
            metrics,
            Output::Unwritten,
            |_, _| Ok(keep(&spans, span)),
            |_, _| Ok(keep(&logs, log)),
        );
        Self {
            telemetry: telemetry.expect("the first telemetry of this process"),
            spans,
            logs,
        }
    }

    fn kept<T: Clone>(&self, store: &Store<T>) -> Vec<T> {
        assert!(self.telemetry.flush(PATIENCE), "not kept in {PATIENCE:?}");
        lock(store).clone()
    }

    /// The spans that have ended.
    pub fn spans(&self) -> Vec<Span> {
        self.kept(&self.spans)
    }

    /// The log records.
    pub fn logs(&self) -> Vec<Log> {
        self.kept(&self.logs)
    }

    /// Every series, as `/metrics` shows it.
    pub fn metrics(&self) -> Vec<Sample> {
        let text = self.telemetry.metrics().render(None).body;
        let rows = text.lines().filter(|line| !line.starts_with('#'));
        rows.filter_map(sample).collect()
    }

    /// For applications that want a handle of it.
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }
}

/// Everything that a block has emitted, and what its other threads still emit.
pub struct Capture {
    trace_id: String,
    root: String,
    before: Vec<Sample>,
}

/// Runs `block` in a trace of its own. What it emits there, or in a trace linked to it, is captured.
pub fn capture<T>(block: impl FnOnce() -> T) -> (T, Capture) {
    let (span, capture) = Capture::begin();
    (span.in_scope(block), capture)
}

/// The same for a future.
pub async fn capture_async<F: Future>(block: F) -> (F::Output, Capture) {
    let (span, capture) = Capture::begin();
    (block.instrument(span).await, capture)
}

impl Capture {
    fn begin() -> (tracing::Span, Self) {
        let before = recorder().metrics();
        let span = tracing::info_span!(parent: None, "test");
        let parent = context::traceparent_of(&span).unwrap_or_default();
        let mut ids = parent.split('-').skip(1).map(str::to_owned);
        let (trace_id, root) = (ids.next(), ids.next());
        let capture = Self {
            trace_id: trace_id.expect("a sampled span"),
            root: root.expect("a sampled span"),
            before,
        };
        (span, capture)
    }

    /// Spans that have ended, in the order of their ends.
    pub fn spans(&self) -> Vec<Span> {
        let mut spans = recorder().spans();
        spans.retain(|span| span.span_id != self.root && self.is_of(span));
        spans
    }

    fn is_of(&self, span: &Span) -> bool {
        let mut links = span.links.iter();
        span.trace_id == self.trace_id || links.any(|(trace_id, _)| *trace_id == self.trace_id)
    }

    /// Log records of those traces.
    pub fn logs(&self) -> Vec<Log> {
        let mut traces: Vec<_> = self.spans().into_iter().map(|span| span.trace_id).collect();
        traces.push(self.trace_id.clone());
        let mut logs = recorder().logs();
        logs.retain(|log| traces.contains(&log.trace_id));
        logs
    }

    /// Series that have changed since the block began, and by how much.
    pub fn metrics(&self) -> Vec<Sample> {
        let mut samples = recorder().metrics();
        for sample in &mut samples {
            let same = |old: &&Sample| old.name == sample.name && old.labels == sample.labels;
            sample.value -= self.before.iter().find(same).map_or(0.0, |old| old.value);
        }
        samples.retain(|sample| sample.value != 0.0);
        samples
    }

    /// By how much the series of a metric with these labels have changed.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let samples = self.metrics().into_iter();
        samples
            .filter(|sample| sample.name == name && sample.has(labels))
            .map(|sample| sample.value)
            .sum()
    }
}

impl Sample {
    /// True when it has all of these labels.
    pub fn has(&self, labels: &[(&str, &str)]) -> bool {
        let is =
            |(name, value): &(&str, &str)| self.labels.get(*name).is_some_and(|is| is == value);
        labels.iter().all(is)
    }
}

/// Looks until there is something: a server's span ends after its client has the answer.
///
/// # Panics
/// After half a minute.
#[track_caller]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn keep<T, K: Send + 'static>(
    store: &Store<K>,
    read: fn(&T) -> K,
) -> impl FnMut(&mut Vec<T>) -> ExportOutcome + Send + use<T, K> {
    let store = Arc::clone(store);
    move |batch| {
        lock(&store).extend(batch.iter().map(read));
        ExportOutcome::Accepted { rejected: 0 }
    }
}

fn lock<T>(store: &Store<T>) -> MutexGuard<'_, Vec<T>> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

fn span(ended: &otlp::Span) -> Span {
    let span = proto::Span::decode(ended.bytes()).expect("what we have written");
    let time = |nanos| UNIX_EPOCH + Duration::from_nanos(nanos);
    let attributes = span.attributes.into_iter();
    let links = span.links.iter();
    let kinds = ["internal", "server", "client", "producer", "consumer"];
    Span {
        kind: kinds[span.kind as usize - 1],
        trace_id: hex::<32>(&span.trace_id),
        span_id: hex::<16>(&span.span_id),
        // Zeros if it has none.
        parent_span_id: hex::<16>(&span.parent_span_id),
        attributes: attributes
            .map(|one| (one.key, one.value.map(shown).unwrap_or_default()))
            .collect(),
        status: match span.status.unwrap_or_default() {
            status if status.code == 2 => Status::Error(status.message),
            status if status.code == 1 => Status::Ok,
            _ => Status::Unset,
        },
        start: time(span.start_time_unix_nano),
        end: time(span.end_time_unix_nano),
        links: links
            .map(|link| (hex::<32>(&link.trace_id), hex::<16>(&link.span_id)))
            .collect(),
        name: span.name,
    }
}

fn hex<const DIGITS: usize>(id: &[u8]) -> String {
    Hex::<DIGITS>::new(id).as_str().to_owned()
}

fn shown(value: AnyValue) -> String {
    match value.value {
        Some(any_value::Value::StringValue(text)) => text,
        Some(any_value::Value::BoolValue(value)) => value.to_string(),
        Some(any_value::Value::IntValue(value)) => value.to_string(),
        Some(any_value::Value::DoubleValue(value)) => value.to_string(),
        Some(any_value::Value::ArrayValue(texts)) => {
            let texts: Vec<_> = texts.values.into_iter().map(shown).collect();
            format!("{texts:?}")
        }
        _ => String::new(),
    }
}

fn log(record: &Record) -> Log {
    let attributes = record.fields.0.iter();
    let ids = record.trace.as_ref();
    Log {
        level: record.metadata.level().as_str(),
        message: record.message.clone(),
        attributes: attributes
            .map(|(key, value)| ((*key).to_owned(), text(value)))
            .collect(),
        trace_id: ids.map(|ids| ids.0.to_string()).unwrap_or_default(),
        span_id: ids.map(|ids| ids.1.to_string()).unwrap_or_default(),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if !number.is_i64() => {
            number.as_f64().unwrap_or_default().to_string()
        }
        other => other.to_string(),
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let labels = exposition::labels(labels).into_iter();
    Some(Sample {
        name: name.to_owned(),
        labels: labels
            .map(|(name, value)| (name.to_owned(), value.into_owned()))
            .collect(),
        value: value.parse().ok()?,
    })
}

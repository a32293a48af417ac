//! Start and end of telemetry in a process.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry::{KeyValue, global};
use opentelemetry_sdk::Resource;
use redact::redact_value;
use tracing::Metadata;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::layer::{Layered, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::logs::{LogFilter, LogLayer, Output, Record};
use crate::metric::{self, Catalogue, Kind, Metric};
use crate::names::SEMCONV_VERSION;
use crate::names::labels::{SemconvVersion, Version};
use crate::names::process::BUILD_INFO;
use crate::pipeline::{self, ExportOutcome, Pipeline, SignalNames};
use crate::settings::{Batch, Exporter, LogFormat, Settings};
use crate::{exporter, exposition, observe, otlp, process, propagation, spans, synthetic};

/// Who emits the telemetry (`OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` override).
#[derive(Debug, Clone)]
pub struct ServiceInfo {
    /// `service.name`.
    pub name: String,
    /// `service.version`.
    pub version: String,
}

/// Why telemetry did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// A PEM file cannot be used.
    #[error("{variable}: {path:?} cannot be used: {problem}; give a PEM file")]
    Certificate {
        /// The environment variable.
        variable: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The HTTP client cannot be built.
    #[error("the OTLP client cannot be built: {0}")]
    Client(#[from] reqwest::Error),
    /// What is asked for on the way to the backend cannot be sent.
    #[error("the OTLP request cannot be built: {0}")]
    Request(#[from] http::Error),
    /// A thread cannot be started.
    #[error("a telemetry thread cannot be started")]
    Thread,
    /// A thread cannot be started; with the reason of the operating system.
    #[error("a telemetry thread cannot be started: {0}")]
    Spawn(#[from] std::io::Error),
    /// The metrics registry cannot be built.
    #[error("the metrics registry cannot be built: {0}")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
    /// A metric breaks the rules of [`metrics!`](crate::metrics!).
    #[error("the metric {0:?} cannot be: {1}; declare it with telemetry::metrics!")]
    Metric(&'static str, &'static str),
    /// The same metric is declared twice.
    #[error(
        "the metric {0} is declared twice: give each list to init once, and each name to one owner"
    )]
    MetricTwice(&'static str),
    /// `init` was called before in this process, even if it failed then.
    #[error("telemetry is already running in this process: call init once")]
    Twice,
    /// The log filter cannot be used.
    #[error("the log filter cannot be used: {0}")]
    Filter(String),
}

/// Whether [`init_with`] was called. Without metrics a second call would fail only at its end.
static STARTED: AtomicBool = AtomicBool::new(false);

/// Owned handle of the process's telemetry; flushes on drop.
pub struct Telemetry {
    spans: Option<Pipeline<otlp::Span>>,
    logs: Option<Pipeline<Record>>,
    metrics: Metrics,
    level: LogLevel,
}

/// Starts tracing, logging and the metrics registry for this process. Call once, outside an async runtime or inside.
/// `metrics` are what the parts of the process declare with [`metrics!`](crate::metrics!); those of this crate are known.
pub fn init(
    info: ServiceInfo,
    settings: &Settings,
    metrics: &[&[Metric]],
) -> Result<Telemetry, InitError> {
    let output = output(settings.log_format);
    let telemetry = init_with(
        info,
        settings,
        metrics,
        output,
        exporter::spans,
        exporter::logs,
    )?;
    // Now a log line has its way out. Tests may hand over nothing.
    metric::complain();
    Ok(telemetry)
}

/// [`init()`] with ways out of one's own: stdout for log lines, and what sends spans and log records.
pub(crate) fn init_with<S, L>(
    info: ServiceInfo,
    settings: &Settings,
    metrics: &[&[Metric]],
    output: Output,
    spans_exporter: impl FnOnce(&Exporter, &Resource) -> Result<S, InitError>,
    logs_exporter: impl FnOnce(&Exporter, &Resource) -> Result<L, InitError>,
) -> Result<Telemetry, InitError>
where
    S: FnMut(&mut Vec<otlp::Span>) -> ExportOutcome + Send + 'static,
    L: FnMut(&mut Vec<Record>) -> ExportOutcome + Send + 'static,
{
    let catalogue = metric::catalogue(metrics)?;
    // Before anything of the process's is started or replaced.
    if STARTED.swap(true, Ordering::Relaxed) {
        return Err(InitError::Twice);
    }
    let identity = Identity::new(info, settings);
    // First of all, so that every counter below lands in the registry.
    let metrics = start_metrics(&identity, catalogue, settings.metrics)?;
    // No exemplars if traces are not exported: their links would lead nowhere.
    let exemplars = settings
        .traces
        .is_some()
        .then_some(settings.exemplar_interval)
        .filter(|_| settings.metrics);
    observe::configure(exemplars);
    #[cfg(any(feature = "actix", feature = "tower"))]
    crate::http_server::configure(&identity.name);
    start_propagation(settings);
    synthetic::configure(settings.probe_token.clone());
    let resource = identity.resource();
    let exporters = (!settings.disabled).then_some((&settings.traces, &settings.logs));
    let (traces, logs) = exporters.unwrap_or((&None, &None));
    let spans = start(settings.span_queue, pipeline::SPANS, traces, |exporter| {
        spans_exporter(exporter, &resource)
    })?;
    let logs = start(settings.log_queue, pipeline::LOGS, logs, |exporter| {
        logs_exporter(exporter, &resource)
    })?;
    let (filter, level) = LogFilter::new(&settings.log_filter).map_err(InitError::Filter)?;
    let log_layer = LogLayer::new(filter, output, logs.clone());
    let trace_layer = match settings.needs_spans() {
        true => trace_layer(spans.clone(), settings),
        false => no_spans(),
    };
    Registry::default()
        .with(log_layer)
        .with(trace_layer)
        .try_init()
        .map_err(|_| InitError::Twice)?;
    Ok(Telemetry {
        spans,
        logs,
        metrics,
        level,
    })
}

/// Starts a signal's queue, if it has an exporter.
fn start<T: Send + 'static, S: FnMut(&mut Vec<T>) -> ExportOutcome + Send + 'static>(
    queue: Batch,
    names: SignalNames,
    exporter: &Option<Exporter>,
    send: impl FnOnce(&Exporter) -> Result<S, InitError>,
) -> Result<Option<Pipeline<T>>, InitError> {
    let Some(exporter) = exporter else {
        return Ok(None);
    };
    let pipeline = Pipeline::start(queue, names, send(exporter)?)?;
    Ok(Some(pipeline))
}

/// The resource attributes that identify this process on every signal.
struct Identity {
    name: String,
    version: String,
    instance: String,
    others: Vec<(String, String)>,
}

impl Identity {
    fn new(info: ServiceInfo, settings: &Settings) -> Self {
        let mut others = settings.resource_attributes.clone();
        let mut take = |name: &str| {
            let index = others.iter().position(|(key, _)| key == name)?;
            Some(others.remove(index).1)
        };
        let (name, version, instance) = (
            take("service.name"),
            take("service.version"),
            take("service.instance.id"),
        );
        Self {
            name: settings.service_name.clone().or(name).unwrap_or(info.name),
            version: version.unwrap_or(info.version),
            // A restart is another instance: counters start anew.
            instance: instance.unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
            others,
        }
    }

    fn resource(&self) -> Resource {
        let attributes = self
            .others
            .iter()
            .map(|(key, value)| KeyValue::new(key.clone(), redact_value(key, value).into_owned()));
        Resource::builder_empty()
            .with_attributes(attributes)
            .with_attributes([
                KeyValue::new("service.name", self.name.clone()),
                KeyValue::new("service.version", self.version.clone()),
                KeyValue::new("service.instance.id", self.instance.clone()),
                KeyValue::new("process.pid", i64::from(std::process::id())),
                KeyValue::new("telemetry.sdk.language", "rust"),
                // Not `opentelemetry`: that name is for its own SDKs, and spans are made here.
                KeyValue::new("telemetry.sdk.name", "omnitrace"),
                KeyValue::new("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
            ])
            .build()
    }
}

/// The registry; one that stays empty unless `wanted`.
fn start_metrics(
    identity: &Identity,
    catalogue: Catalogue,
    wanted: bool,
) -> Result<Metrics, InitError> {
    let mut builder = PrometheusBuilder::new()
        .add_global_label("service_name", &identity.name)
        .add_global_label("service_version", &identity.version)
        .add_global_label("service_instance_id", &identity.instance);
    for metric in catalogue.values().filter(|one| one.kind == Kind::Histogram) {
        builder = builder
            .set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), metric.buckets)?;
    }
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    if !wanted {
        return Ok(Metrics { handle });
    }
    metrics::set_global_recorder(recorder).map_err(|_| InitError::Twice)?;
    catalogue.values().for_each(Metric::describe);
    metric::started(catalogue);
    let version = Version(identity.version.clone());
    BUILD_INFO
        .with((version, SemconvVersion(SEMCONV_VERSION)))
        .set(1.0);
    // Samples stay in memory until they are drained. This does it when nobody scrapes.
    let upkeep = handle.clone();
    std::thread::Builder::new()
        .name("metrics-upkeep".to_owned())
        .spawn(move || {
            loop {
                std::thread::sleep(Duration::from_secs(5));
                upkeep.run_upkeep();
            }
        })?;
    Ok(Metrics { handle })
}

fn start_propagation(settings: &Settings) {
    global::set_text_map_propagator(propagation::Outbound {
        trace: settings.propagate_trace,
        baggage: settings.propagate_baggage,
    });
    propagation::configure(propagation::Policy {
        trace: settings.propagate_trace,
        baggage: settings.propagate_baggage,
        trust_callers: settings.trust_callers,
        baggage_allow: settings.baggage_allow.clone(),
    });
}

/// What spans are layered on.
type Logging = Layered<LogLayer, Registry>;

/// In place of [`trace_layer`]: no span is made, for the log's filter neither.
fn no_spans() -> Box<dyn Layer<Logging> + Send + Sync> {
    FilterFn::new(|metadata: &Metadata<'_>| metadata.is_event()).boxed()
}

fn trace_layer(
    pipeline: Option<Pipeline<otlp::Span>>,
    settings: &Settings,
) -> Box<dyn Layer<Logging> + Send + Sync> {
    let sampler = (!settings.disabled).then(|| spans::LinkedSampler::new(settings.sampler));
    spans::SpanLayer { sampler, pipeline }.boxed()
}

fn output(format: LogFormat) -> Output {
    match format {
        LogFormat::Text => Output::Text,
        LogFormat::Auto if std::io::stdout().is_terminal() => Output::Text,
        LogFormat::Auto | LogFormat::Json => Output::Json,
    }
}

impl Telemetry {
    /// Renders the registry for `/metrics`.
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// Reads and changes the log filter while the process runs.
    pub fn log_level(&self) -> LogLevel {
        self.level.clone()
    }

    /// Flushes and stops within `deadline`. True when no span and no log record was lost in the process's whole life.
    pub fn shutdown(mut self, deadline: Duration) -> bool {
        self.stop(deadline) == 0
    }

    /// Waits until what has ended is exported; false when `timeout` passes first.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        self.spans.as_ref().is_none_or(|spans| spans.flush(timeout))
            && self.logs.as_ref().is_none_or(|logs| logs.flush(timeout))
    }

    fn stop(&mut self, deadline: Duration) -> u64 {
        let end = Instant::now() + deadline;
        let (spans, logs) = (self.spans.take(), self.logs.take());
        // Side by side: a backend that takes no spans must not cost the log records their time.
        spans.iter().for_each(|spans| spans.close(end));
        logs.iter().for_each(|logs| logs.close(end));
        spans.map_or(0, |spans| spans.finish(end)) + logs.map_or(0, |logs| logs.finish(end))
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        self.stop(Duration::from_secs(5));
    }
}

/// Cheap handle that renders the metrics registry.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

/// One scrape's answer.
pub struct Exposition {
    /// `Content-Type` of the body.
    pub content_type: &'static str,
    /// The text.
    pub body: String,
}

impl Metrics {
    /// Answers a scrape with these headers.
    pub fn answer(&self, headers: &http::HeaderMap) -> http::Response<String> {
        let accept = headers.get(http::header::ACCEPT);
        let exposition = self.render(accept.and_then(|accept| accept.to_str().ok()));
        let content_type = http::HeaderValue::from_static(exposition.content_type);
        let mut response = http::Response::new(exposition.body);
        response
            .headers_mut()
            .insert(http::header::CONTENT_TYPE, content_type);
        response
    }

    /// Prometheus text, or OpenMetrics with exemplars when `accept` asks for it. Call on the runtime to be measured.
    pub fn render(&self, accept: Option<&str>) -> Exposition {
        process::refresh();
        let text = self.handle.render();
        if accept.is_some_and(exposition::wants_openmetrics) {
            Exposition {
                content_type: exposition::OPENMETRICS,
                body: exposition::openmetrics(&text),
            }
        } else {
            Exposition {
                content_type: exposition::TEXT,
                body: text,
            }
        }
    }
}

/// Handle to the live log filter.
#[derive(Clone)]
pub struct LogLevel {
    pub(crate) handle: reload::Handle<EnvFilter, Registry>,
    pub(crate) names_spans: Arc<AtomicBool>,
    pub(crate) changing: Arc<Mutex<()>>,
}

//! Log records: one redacted record, written as a line on stdout and exported over OTLP.
//!
//! Both outputs come from the same [`Record`], so they cannot disagree. Trace and span id are those of the span that is
//! entered when the event happens.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};
use opentelemetry::trace::TraceContextExt;
use opentelemetry::{Context, SpanId, TraceFlags, TraceId};
use redact::{MARK, plain};
use serde::ser::{Serialize, SerializeMap};
use serde_json::{Serializer, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record as Values};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata};
use tracing_subscriber::layer::{Context as LayerContext, Filter};
use tracing_subscriber::{Layer, Registry};

use crate::flood::{Flood, Verdict};
use crate::hex::Hex;
use crate::names::labels;
use crate::names::process::{LOG_RECORDS, LOG_SUPPRESSED};
use crate::pipeline::Pipeline;
use crate::spans::{cleaned_value, is_secret};
use crate::targets;

mod filter;

pub(crate) use self::filter::{LogFilter, check_filter};

/// Room that most lines have enough of.
const USUAL_LINE: usize = 512;

/// Output on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    Json,
    Text,
    /// The same line as JSON, thrown away: tests count what it costs.
    Unwritten,
}

/// The layer that turns events into log records. It is the whole subscriber's filter of events, and not `with_filter`: that
/// looks each span up at each of its steps.
pub(crate) struct LogLayer {
    filter: LogFilter,
    output: Output,
    exported: Option<Pipeline<Record>>,
    flood: Flood,
}

impl LogLayer {
    pub(crate) fn new(
        filter: LogFilter,
        output: Output,
        exported: Option<Pipeline<Record>>,
    ) -> Self {
        for level in ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"] {
            LOG_RECORDS.with(labels::Level(level)).absolute(0);
            LOG_SUPPRESSED.with(labels::Level(level)).absolute(0);
        }
        Self {
            filter,
            output,
            exported,
            flood: Flood::default(),
        }
    }
}

impl Layer<Registry> for LogLayer {
    /// Directives may name spans, but have no say in whether they are made.
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        let interest = self.filter.interest(metadata);
        if metadata.is_span() {
            return Interest::always();
        }
        interest
    }

    fn enabled(&self, metadata: &Metadata<'_>, layer: LayerContext<'_, Registry>) -> bool {
        metadata.is_span() || self.filter.enabled(metadata, &layer)
    }

    fn on_new_span(&self, span: &Attributes<'_>, id: &Id, layer: LayerContext<'_, Registry>) {
        if let Some(filter) = self.filter.of_spans() {
            filter.on_new_span(span, id, layer);
        }
    }

    fn on_record(&self, id: &Id, values: &Values<'_>, layer: LayerContext<'_, Registry>) {
        if let Some(filter) = self.filter.of_spans() {
            filter.on_record(id, values, layer);
        }
    }

    fn on_enter(&self, id: &Id, layer: LayerContext<'_, Registry>) {
        if let Some(filter) = self.filter.of_spans() {
            filter.on_enter(id, layer);
        }
    }

    fn on_exit(&self, id: &Id, layer: LayerContext<'_, Registry>) {
        if let Some(filter) = self.filter.of_spans() {
            filter.on_exit(id, layer);
        }
    }

    fn on_close(&self, id: Id, layer: LayerContext<'_, Registry>) {
        if let Some(filter) = self.filter.of_spans() {
            filter.on_close(id, layer);
        }
    }

    fn on_event(&self, event: &Event<'_>, _layer: LayerContext<'_, Registry>) {
        let metadata = event.metadata();
        let level = metadata.level().as_str();
        let suppressed = match self.flood.admit(metadata.callsite()) {
            Verdict::Suppress => {
                LOG_SUPPRESSED.kept(labels::Level(level)).increment(1);
                return;
            }
            Verdict::Admit { suppressed } => suppressed,
        };
        LOG_RECORDS.kept(labels::Level(level)).increment(1);
        let record = Record::new(event, suppressed);
        match self.output {
            Output::Json => write_line(&record.json()),
            Output::Text => write_line(&record.text()),
            Output::Unwritten => drop(record.json()),
        }
        if let Some(exported) = &self.exported
            && !targets::is_of(metadata.target(), targets::EXPORT_PATH)
            && !Context::is_current_telemetry_suppressed()
        {
            exported.push(record);
        }
    }
}

fn write_line(line: &str) {
    // A reader that went away must not take the service down, as `println!` would.
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
}

/// One log record, already redacted.
pub(crate) struct Record {
    pub(crate) time: SystemTime,
    pub(crate) metadata: &'static Metadata<'static>,
    pub(crate) message: String,
    pub(crate) fields: Fields,
    pub(crate) trace: Option<(TraceId, SpanId, TraceFlags)>,
}

impl Record {
    pub(crate) fn new(event: &Event<'_>, suppressed: u64) -> Self {
        let mut visitor = Visitor::default();
        event.record(&mut visitor);
        let metadata = event.metadata();
        let mut fields = visitor.fields;
        if suppressed > 0 {
            fields.insert("suppressed", suppressed.into());
        }
        if *metadata.level() == Level::ERROR {
            fields.default("code.file.path", metadata.file().unwrap_or_default());
            fields.default("code.line.number", metadata.line().unwrap_or_default());
        }
        let trace = Context::map_current(|context| {
            let span = context.span();
            let span = span.span_context();
            span.is_valid()
                .then(|| (span.trace_id(), span.span_id(), span.trace_flags()))
        });
        Self {
            time: SystemTime::now(),
            metadata,
            message: visitor.message,
            fields,
            trace,
        }
    }

    fn timestamp(&self) -> String {
        DateTime::<Utc>::from(self.time).to_rfc3339_opts(SecondsFormat::Micros, true)
    }

    fn json(&self) -> String {
        let mut line = Vec::with_capacity(USUAL_LINE);
        self.serialize(&mut Serializer::new(&mut line))
            .expect("a map with texts for keys, in memory");
        line.push(b'\n');
        let line = String::from_utf8(line).expect("JSON is UTF-8");
        match plain::json(&line) {
            Cow::Owned(shown) => shown,
            Cow::Borrowed(_) => line,
        }
    }

    /// Whether a field has the name of a key that every line has, or of a field that was renamed to avoid that.
    fn is_taken(&self, key: &str) -> bool {
        match key.trim_start_matches("fields.") {
            "timestamp" | "level" | "target" | "message" => true,
            "trace_id" | "span_id" => self.trace.is_some(),
            _ => false,
        }
    }

    fn text(&self) -> String {
        let colour = match *self.metadata.level() {
            Level::ERROR => 31,
            Level::WARN => 33,
            Level::INFO => 32,
            _ => 90,
        };
        let mut line = format!(
            "{} \u{1b}[{colour}m{:>5}\u{1b}[0m {}: {}",
            self.timestamp(),
            self.metadata.level(),
            self.metadata.target(),
            escape(&self.message)
        );
        for (key, value) in &self.fields.0 {
            let _ = write!(line, " {key}={}", escape(&value.to_string()));
        }
        if let Some((trace, _, _)) = self.trace {
            let _ = write!(line, " trace_id={trace}");
        }
        line.push('\n');
        line
    }
}

/// Written straight into the line: most of what a record costs would be the copies that lead there.
impl Serialize for Record {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = serializer.serialize_map(None)?;
        line.serialize_entry("timestamp", &self.timestamp())?;
        line.serialize_entry("level", self.metadata.level().as_str())?;
        line.serialize_entry("target", self.metadata.target())?;
        line.serialize_entry("message", &self.message)?;
        if let Some((trace, span, _)) = &self.trace {
            line.serialize_entry("trace_id", Hex::from(*trace).as_str())?;
            line.serialize_entry("span_id", Hex::from(*span).as_str())?;
        }
        for (key, value) in &self.fields.0 {
            if self.is_taken(key) {
                line.serialize_entry(&format_args!("fields.{key}"), value)?;
            } else {
                line.serialize_entry(key, value)?;
            }
        }
        line.end()
    }
}

/// A record's fields, in the order in which they were named. They are few.
#[derive(Default)]
pub(crate) struct Fields(pub(crate) Vec<(&'static str, Value)>);

impl Fields {
    /// If two have the same name, the last one wins.
    fn insert(&mut self, key: &'static str, value: Value) {
        match self.0.iter_mut().find(|(name, _)| *name == key) {
            Some((_, there)) => *there = value,
            None => self.0.push((key, value)),
        }
    }

    fn default(&mut self, key: &'static str, value: impl Into<Value>) {
        if !self.0.iter().any(|(name, _)| *name == key) {
            self.0.push((key, value.into()));
        }
    }
}

/// Characters that cannot be seen could rewrite a person's terminal.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if plain::is_hidden(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Collects an event's fields, redacting every text.
#[derive(Default)]
struct Visitor {
    message: String,
    fields: Fields,
}

impl Visitor {
    fn text(&mut self, field: &Field, text: String) {
        let text = cleaned_value(field.name(), &text).unwrap_or(text);
        if field.name() == "message" {
            self.message = text;
        } else {
            self.fields.insert(field.name(), text.into());
        }
    }

    fn number(&mut self, field: &Field, number: Value) {
        let value = if is_secret(field.name()) {
            MARK.into()
        } else {
            number
        };
        self.fields.insert(field.name(), value);
    }
}

impl Visit for Visitor {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.text(field, format!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value.to_owned());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.fields.insert(field.name(), value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.number(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.number(field, value.into());
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.number(field, value.into());
    }
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.text(field, value.to_string());
    }
}

#[cfg(test)]
mod tests;

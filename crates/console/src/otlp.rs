//! OTLP requests become spans, log records and samples.
//!
//! Neither encoding is decoded as a whole: two bytes of protobuf or three of JSON may stand for a struct of
//! hundreds, so a small body could fill the memory. Items are decoded one by one, their lists are cut to what
//! is kept, and what is cut or refused is counted.

pub(crate) mod json;
pub(crate) mod json_metrics;
mod lax;
mod logs;
pub(crate) mod metrics;
mod names;
mod points;
pub(crate) mod protobuf;
pub(crate) mod response;
mod spans;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::sync::Arc;

use opentelemetry_proto::tonic::logs::v1 as log_proto;
use opentelemetry_proto::tonic::metrics::v1 as metric_proto;
use opentelemetry_proto::tonic::trace::v1 as trace_proto;

use crate::model::{LogRecord, Resource, Scope, Span};
use crate::samples::Sample;
use crate::store::cost;

pub(crate) use logs::SEVERITY_TEXT;
pub(crate) use spans::{DROPPED_EVENTS, DROPPED_LINKS};
pub(crate) use values::{DROPPED_KEY, resource};

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Signal {
    /// `/v1/traces`.
    Traces,
    /// `/v1/logs`.
    Logs,
    /// `/v1/metrics`.
    Metrics,
}

impl Signal {
    /// Its label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Logs => "logs",
            Self::Metrics => "metrics",
        }
    }
}

/// How a request is encoded, and so its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// `application/x-protobuf`.
    Protobuf,
    /// `application/json`.
    Json,
}

/// Items that were not taken, by reason.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Rejected(BTreeMap<&'static str, u64>);

impl Rejected {
    /// Counts one.
    pub fn add(&mut self, reason: &'static str) {
        self.add_many(reason, 1);
    }

    /// Counts some.
    pub fn add_many(&mut self, reason: &'static str, count: u64) {
        if count > 0 {
            *self.0.entry(reason).or_default() += count;
        }
    }

    /// All together.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Reasons with their counts.
    pub fn reasons(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(reason, count)| (*reason, *count))
    }
}

/// Samples of one sender.
#[derive(Debug)]
pub(crate) struct SenderSamples {
    /// Who sent them.
    pub resource: Arc<Resource>,
    /// What it measured.
    pub samples: Vec<Sample>,
}

/// What the items of one request may cost in memory, by the store's estimate. Encoded they are a fifth of that or
/// less, so only a body made for the purpose gets here.
const MAX_BATCH_BYTES: usize = 96 << 20;

/// Why items are refused beyond that.
const REQUEST_TOO_LARGE: &str = "request_too_large";

/// What a request brought.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Spans.
    pub spans: Vec<Span>,
    /// Log records.
    pub logs: Vec<LogRecord>,
    /// Samples.
    pub metrics: Vec<SenderSamples>,
    /// What was not taken.
    pub rejected: Rejected,
    bytes: usize,
}

impl Batch {
    /// Whether there is room left; counts the item as refused if not.
    fn has_room(&mut self) -> bool {
        let has_room = self.bytes < MAX_BATCH_BYTES;
        if !has_room {
            self.rejected.add(REQUEST_TOO_LARGE);
        }
        has_room
    }

    /// Counts the sender of items to come.
    fn sender(&mut self, resource: &Arc<Resource>) {
        self.bytes += cost::resource(resource);
    }

    fn span(&mut self, resource: &Arc<Resource>, scope: &Arc<Scope>, span: trace_proto::Span) {
        if !self.has_room() {
            return;
        }
        match spans::convert(resource, scope, span) {
            Ok(span) => {
                self.bytes += cost::span(&span);
                self.spans.push(span);
            }
            Err(reason) => self.rejected.add(reason),
        }
    }

    fn log(&mut self, resource: &Arc<Resource>, scope: &Arc<Scope>, log: log_proto::LogRecord) {
        if self.has_room() {
            let log = logs::convert(resource, scope, log);
            self.bytes += cost::log(&log);
            self.logs.push(log);
        }
    }

    fn metric(&mut self, resource: &Arc<Resource>, scope: &Scope, metric: metric_proto::Metric) {
        if !self.has_room() {
            return;
        }
        let mut samples = Vec::new();
        metrics::convert(scope, metric, &mut samples, &mut self.rejected);
        self.bytes += samples.iter().map(Sample::cost).sum::<usize>();
        match self.metrics.last_mut() {
            Some(last) if Arc::ptr_eq(&last.resource, resource) => {
                last.samples.append(&mut samples)
            }
            _ => self.metrics.push(SenderSamples {
                resource: resource.clone(),
                samples,
            }),
        }
    }
}

/// Decodes a request.
///
/// # Errors
/// A sentence that says why the body cannot be read.
pub(crate) fn decode(signal: Signal, encoding: Encoding, body: &[u8]) -> Result<Batch, String> {
    match encoding {
        Encoding::Protobuf => protobuf::decode(signal, body),
        Encoding::Json => json::decode(signal, body),
    }
}

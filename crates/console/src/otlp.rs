//! OTLP requests become spans, log records and samples.
//!
//! Neither encoding is decoded as a whole: two bytes of protobuf or three of JSON may stand for a struct of
//! hundreds, so a small body could fill the memory. Items are decoded one by one
//! (metrics by data point) and handed on before there are many; their lists are cut to what is kept, and what is cut or refused is counted.
//!
//! A body is refused as a whole only if its outer levels are broken. Whatever is wrong with one item costs that item.

mod attribute;
mod clean;
mod each;
mod elements;
pub(crate) mod json;
mod json_metrics;
mod keys;
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

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::logs::v1 as log_proto;
use opentelemetry_proto::tonic::metrics::v1 as metric_proto;

use self::spans::SentSpan;
use crate::metadata::Described;
use crate::model::{Attributes, LogRecord, Resource, Scope, Span};
use crate::samples::Sample;
use crate::store::cost;

pub(crate) use attribute::DROPPED_ATTRIBUTES;
pub(crate) use logs::SEVERITY_TEXT;
pub(crate) use metrics::target_info;
pub(crate) use spans::{DROPPED_EVENTS, DROPPED_LINKS};
pub(crate) use values::{SERVICE_INSTANCE, SERVICE_NAME, cut_copy, resource};

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

/// Why an item cannot be read, for the case that nothing more is known of it.
const UNDECODABLE: &str = "undecodable";

/// The longest explanation of a refusal.
const MAX_WHY: usize = 300;

/// The reason why an item is rejected: the label of its count, and a description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    reason: &'static str,
    why: String,
}

impl Refusal {
    fn new(reason: &'static str, why: String) -> Self {
        let why = values::cut(why, MAX_WHY);
        Self { reason, why }
    }

    fn too_large(what: &str, limit: usize) -> Self {
        let most = elements::MAX_ELEMENTS;
        let why = format!("the {what} has more than {limit} bytes or {most} parts");
        Self::new(protobuf::TOO_LARGE, why)
    }
}

/// Items that were not taken, by reason.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Rejected {
    counts: BTreeMap<&'static str, u64>,
    /// The first reason that needs a description.
    why: Option<String>,
}

impl Rejected {
    /// Counts one.
    pub fn add(&mut self, reason: &'static str) {
        self.add_many(reason, 1);
    }

    /// Counts some.
    pub fn add_many(&mut self, reason: &'static str, count: u64) {
        if count > 0 {
            *self.counts.entry(reason).or_default() += count;
        }
    }

    /// Counts one, and keeps the words.
    pub fn refuse(&mut self, refusal: Refusal) {
        self.add(refusal.reason);
        self.why.get_or_insert(refusal.why);
    }

    /// Counts some, and keeps the words.
    pub fn refuse_many(&mut self, reason: &'static str, count: u64, why: String) {
        self.add_many(reason, count);
        self.why.get_or_insert(why);
    }

    /// Counts those of another part of the same request.
    pub fn merge(&mut self, other: Self) {
        for (reason, count) in other.counts {
            self.add_many(reason, count);
        }
        self.why = self.why.take().or(other.why);
    }

    /// The number of all rejected items.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Reasons with their counts.
    pub fn reasons(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.counts.iter().map(|(reason, count)| (*reason, *count))
    }

    /// The first reason that needs a description.
    pub fn why(&self) -> Option<&str> {
        self.why.as_deref()
    }
}

/// Samples of one sender.
#[derive(Debug)]
pub(crate) struct SenderSamples {
    /// The sender.
    pub resource: Arc<Resource>,
    /// The samples.
    pub samples: Vec<Sample>,
}

/// How many bytes are decoded before they are passed on: as received, or as the store estimates them.
const PART: usize = 1 << 20;

/// The maximum length of the labels of a data point, all together; a point has at most [`attribute::MAX_ATTRIBUTES`].
/// Cutting labels would merge two series into one. Each bucket of a histogram carries all of them.
const MAX_LABELS: usize = 4 << 10;

/// The parser reads no more of a description than this.
const MAX_HELP_READ: usize = 16 << 10;

/// The reason for a point whose labels are longer.
const LABELS_TOO_LARGE: &str = "labels_too_large";

/// A part of what a request brought.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Spans.
    pub spans: Vec<Span>,
    /// Log records.
    pub logs: Vec<LogRecord>,
    /// Samples.
    pub metrics: Vec<SenderSamples>,
    /// The metadata of metrics.
    pub described: Vec<(String, Described)>,
    /// The rejected items.
    pub rejected: Rejected,
    bytes: usize,
}

/// The data that the items of a group share.
struct Group {
    resource: Arc<Resource>,
    scope: Arc<Scope>,
    /// The labels that the scope adds to its metrics, and their size in bytes.
    labels: Attributes,
    label_bytes: usize,
}

/// The origin of items, or the reason why resource or scope cannot be read.
type Origin = Result<Group, Refusal>;

fn origin(resource: &Result<Arc<Resource>, Refusal>, scope: Result<Arc<Scope>, Refusal>) -> Origin {
    let (resource, scope) = (resource.clone()?, scope?);
    let labels = points::scope_labels(&scope);
    let sizes = labels.iter();
    let sizes = sizes.map(|(key, value)| key.len() + points::label_value(value).len());
    Ok(Group {
        resource,
        scope,
        label_bytes: sizes.sum(),
        labels,
    })
}

/// Gathers items and hands them on part by part.
pub(crate) struct Decoder<'a> {
    batch: Batch,
    /// The help text of the metric whose first point comes next.
    help: Option<String>,
    keep: &'a mut dyn FnMut(Batch),
}

impl Decoder<'_> {
    /// Counts the sender of items to come.
    fn sender(&mut self, resource: &Arc<Resource>) {
        self.batch.bytes += cost::resource(resource);
    }

    fn span(&mut self, size: usize, origin: &Origin, span: Result<SentSpan, Refusal>) {
        match both(origin, span) {
            Ok((group, span)) => match spans::convert(&group.resource, &group.scope, span) {
                Ok(span) => {
                    self.batch.bytes += span.bytes;
                    self.batch.spans.push(span);
                }
                Err(reason) => self.batch.rejected.add(reason),
            },
            Err(refusal) => self.batch.rejected.refuse(refusal),
        }
        self.went_on(size);
    }

    fn log(
        &mut self,
        size: usize,
        origin: &Origin,
        log: Result<(log_proto::LogRecord, Attributes), Refusal>,
    ) {
        match both(origin, log) {
            Ok((group, (log, attributes))) => {
                let log = logs::convert(&group.resource, &group.scope, log, attributes);
                self.batch.bytes += cost::log(&log);
                self.batch.logs.push(log);
            }
            Err(refusal) => self.batch.rejected.refuse(refusal),
        }
        self.went_on(size);
    }

    /// The points of a metric follow, which is so described.
    fn metric_begins(&mut self, description: &[u8]) {
        let known = description.len().min(MAX_HELP_READ);
        let text = String::from_utf8_lossy(&description[..known]);
        self.help = Some(cut_copy(&text, values::MAX_NAME));
    }

    /// Adds a metric of one data point.
    fn metric(
        &mut self,
        size: usize,
        origin: &Origin,
        metric: Result<metric_proto::Metric, Refusal>,
    ) {
        let metric = both(origin, metric);
        match metric {
            Ok((group, metric)) if labels_fit(group, &metric) => self.samples(group, metric),
            Ok(_) => {
                let most = attribute::MAX_ATTRIBUTES;
                let why = format!(
                    "the labels of a data point and its scope have more than {MAX_LABELS} bytes, or it has more than {most}"
                );
                let refusal = Refusal::new(LABELS_TOO_LARGE, why);
                self.batch.rejected.refuse(refusal);
            }
            Err(refusal) => self.batch.rejected.refuse(refusal),
        }
        self.went_on(size);
    }

    fn samples(&mut self, group: &Group, metric: metric_proto::Metric) {
        let mut samples = Vec::new();
        let rejected = &mut self.batch.rejected;
        let said = metrics::convert(&group.labels, metric, &mut samples, rejected);
        if let Some((name, described)) = said
            && let Some(help) = self.help.take()
        {
            let described = Described { help, ..described };
            self.batch.bytes += described.cost(&name);
            self.batch.described.push((name, described));
        }
        if let Some(first) = samples.first_mut() {
            first.begins = true;
        }
        self.batch.bytes += samples.iter().map(Sample::cost).sum::<usize>();
        match self.batch.metrics.last_mut() {
            Some(last) if Arc::ptr_eq(&last.resource, &group.resource) => {
                last.samples.append(&mut samples)
            }
            _ => self.batch.metrics.push(SenderSamples {
                resource: group.resource.clone(),
                samples,
            }),
        }
    }

    fn empty(&mut self, size: usize) {
        self.batch.rejected.add("empty_item");
        self.went_on(size);
    }

    fn refuse(&mut self, size: usize, refusal: Refusal) {
        self.batch.rejected.refuse(refusal);
        self.went_on(size);
    }

    /// An item of so many bytes is done with.
    fn went_on(&mut self, size: usize) {
        self.batch.bytes += size;
        if self.batch.bytes >= PART {
            (self.keep)(std::mem::take(&mut self.batch));
        }
    }
}

fn both<T>(origin: &Origin, item: Result<T, Refusal>) -> Result<(&Group, T), Refusal> {
    match origin {
        Ok(group) => Ok((group, item?)),
        Err(refusal) => Err(refusal.clone()),
    }
}

/// Whether the labels of its points are few and short enough, with those of the scope.
fn labels_fit(group: &Group, metric: &metric_proto::Metric) -> bool {
    use metric_proto::metric::Data;
    let fit = |labels: &[KeyValue]| {
        let sizes = labels.iter().map(prost::Message::encoded_len);
        labels.len() <= attribute::MAX_ATTRIBUTES
            && group.label_bytes + sizes.sum::<usize>() <= MAX_LABELS
    };
    match &metric.data {
        Some(Data::Gauge(gauge)) => gauge.data_points.iter().all(|p| fit(&p.attributes)),
        Some(Data::Sum(sum)) => sum.data_points.iter().all(|p| fit(&p.attributes)),
        Some(Data::Histogram(all)) => all.data_points.iter().all(|p| fit(&p.attributes)),
        Some(Data::Summary(all)) => all.data_points.iter().all(|p| fit(&p.attributes)),
        Some(Data::ExponentialHistogram(_)) | None => true,
    }
}

/// Whether a body can be read at all. Nothing of it has been taken then.
///
/// # Errors
/// A sentence that says why not.
pub(crate) fn check(signal: Signal, encoding: Encoding, body: &[u8]) -> Result<(), String> {
    match encoding {
        Encoding::Protobuf => protobuf::check(body),
        Encoding::Json => json::check(signal, body),
    }
}

/// Decodes a body that was checked, and hands it on part by part.
pub(crate) fn decode(signal: Signal, encoding: Encoding, body: &[u8], keep: &mut dyn FnMut(Batch)) {
    let batch = Batch::default();
    let mut decoder = Decoder {
        batch,
        help: None,
        keep,
    };
    match encoding {
        Encoding::Protobuf => protobuf::decode(signal, body, &mut decoder),
        Encoding::Json => json::decode(signal, body, &mut decoder),
    }
    (decoder.keep)(decoder.batch);
}

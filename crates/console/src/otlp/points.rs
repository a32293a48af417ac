//! Data points become samples.

use std::borrow::Cow;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1 as proto;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;

use super::Rejected;
use super::attribute::attributes;
use super::values::{span_id, trace_id};
use crate::model::{Attributes, Scope, Value};
use crate::samples::{Exemplar, Labels, Sample, sanitized};

/// Set on a point that only says that there is no value now.
const NO_RECORDED_VALUE: u32 = 1;

/// The maximum number of buckets of a histogram and of quantiles of a summary. Real ones have less than a tenth of it.
const MAX_BUCKETS: usize = 512;

/// The lists that receive samples and refusals.
pub(super) struct PointSink<'a> {
    /// Labels of the scope, by their attributes' names.
    pub scope: &'a Attributes,
    pub samples: &'a mut Vec<Sample>,
    pub rejected: &'a mut Rejected,
}

impl PointSink<'_> {
    /// The labels of a point: its attributes and those of the scope.
    fn labels(&self, sent: Vec<KeyValue>) -> Labels {
        let own = attributes(sent, 0);
        labels(own.iter().chain(self.scope.iter()))
    }

    fn push(&mut self, name: String, labels: Labels, value: f64, point: Point) {
        self.samples.push(Sample {
            name,
            labels,
            value,
            timestamp_us: point.timestamp_us,
            exemplar: point.exemplar,
            begins: false,
        });
    }
}

/// Attributes as labels. It skips empty values. If several attributes become one label name, it joins their values in the order of
/// the attributes' names.
pub(super) fn labels<'a>(sent: impl Iterator<Item = (&'a str, Value<'a>)>) -> Labels {
    let mut sent: Vec<(&str, Value<'_>)> = sent.collect();
    sent.sort_by_key(|(key, _)| *key);
    let mut labels: Labels = Vec::with_capacity(sent.len());
    for (key, value) in sent {
        let text = label_value(value);
        if !text.is_empty() {
            labels.push((sanitized(key), text.into_owned()));
        }
    }
    // Labels of one name become neighbours and keep their order.
    labels.sort_by(|(left, _), (right, _)| left.cmp(right));
    labels.dedup_by(|(name, text), (known, joined)| {
        let is_same = name == known;
        if is_same {
            joined.push(';');
            joined.push_str(text);
        }
        is_same
    });
    labels
}

/// The data that the samples of one point share.
#[derive(Clone, Copy, Default)]
struct Point {
    timestamp_us: Option<u64>,
    exemplar: Option<Exemplar>,
}

fn point_at(time_ns: u64) -> Point {
    Point {
        timestamp_us: (time_ns > 0).then_some(time_ns / 1_000),
        exemplar: None,
    }
}

/// How many points a metric has.
pub(super) fn count(data: &Data) -> u64 {
    let points = match data {
        Data::Gauge(gauge) => gauge.data_points.len(),
        Data::Sum(sum) => sum.data_points.len(),
        Data::Histogram(histogram) => histogram.data_points.len(),
        Data::ExponentialHistogram(histogram) => histogram.data_points.len(),
        Data::Summary(summary) => summary.data_points.len(),
    };
    points as u64
}

/// Points of gauges and sums.
pub(super) fn numbers(name: &str, points: Vec<proto::NumberDataPoint>, out: &mut PointSink<'_>) {
    use proto::number_data_point::Value as Number;
    for point in points {
        if point.flags & NO_RECORDED_VALUE != 0 {
            continue;
        }
        let value = match point.value {
            Some(Number::AsDouble(value)) => value,
            Some(Number::AsInt(value)) => value as f64,
            None => {
                out.rejected.add("point_without_value");
                continue;
            }
        };
        let exemplar = point.exemplars.iter().filter_map(exemplar).next_back();
        let common = Point {
            exemplar,
            ..point_at(point.time_unix_nano)
        };
        let labels = out.labels(point.attributes);
        out.push(name.to_owned(), labels, value, common);
    }
}

/// Points of histograms: `_bucket` (cumulative, as Prometheus counts), `_sum`, `_count`.
pub(super) fn histograms(
    name: &str,
    points: Vec<proto::HistogramDataPoint>,
    out: &mut PointSink<'_>,
) {
    for point in points {
        if point.flags & NO_RECORDED_VALUE != 0 {
            continue;
        }
        let bounds = &point.explicit_bounds;
        let counts = &point.bucket_counts;
        let is_sorted = bounds.windows(2).all(|pair| pair[0] < pair[1]);
        let fits = counts.is_empty() && bounds.is_empty() || counts.len() == bounds.len() + 1;
        if !is_sorted || !fits || counts.len() > MAX_BUCKETS {
            out.rejected.add("bad_buckets");
            continue;
        }
        let labels = out.labels(point.attributes);
        let common = point_at(point.time_unix_nano);
        let exemplars: Vec<Exemplar> = point.exemplars.iter().filter_map(exemplar).collect();
        // A histogram without buckets has only the bucket that holds everything.
        let everything = [point.count];
        let counts = match counts.is_empty() {
            true => &everything[..],
            false => counts,
        };
        let mut below = f64::NEG_INFINITY;
        let mut total = 0_u64;
        for (count, bound) in counts
            .iter()
            .zip(bounds.iter().copied().chain([f64::INFINITY]))
        {
            total = total.saturating_add(*count);
            let inside = |exemplar: &&Exemplar| exemplar.value > below && exemplar.value <= bound;
            let exemplar = exemplars.iter().rfind(inside).copied();
            let labels = with(&labels, "le", number(bound));
            out.push(
                format!("{name}_bucket"),
                labels,
                total as f64,
                Point { exemplar, ..common },
            );
            below = bound;
        }
        if let Some(sum) = point.sum {
            out.push(format!("{name}_sum"), labels.clone(), sum, common);
        }
        out.push(format!("{name}_count"), labels, point.count as f64, common);
    }
}

/// Points of summaries: one sample per quantile, `_sum`, `_count`.
pub(super) fn summaries(name: &str, points: Vec<proto::SummaryDataPoint>, out: &mut PointSink<'_>) {
    for point in points {
        if point.flags & NO_RECORDED_VALUE != 0 {
            continue;
        }
        if point.quantile_values.len() > MAX_BUCKETS {
            let why = format!("a summary has more than {MAX_BUCKETS} quantiles");
            out.rejected.refuse_many("too_many_quantiles", 1, why);
            continue;
        }
        let labels = out.labels(point.attributes);
        let common = point_at(point.time_unix_nano);
        for quantile in &point.quantile_values {
            let labels = with(&labels, "quantile", number(quantile.quantile));
            out.push(name.to_owned(), labels, quantile.value, common);
        }
        out.push(format!("{name}_sum"), labels.clone(), point.sum, common);
        out.push(format!("{name}_count"), labels, point.count as f64, common);
    }
}

/// A bound or quantile as a label, as Prometheus writes it.
fn number(value: f64) -> String {
    if value == f64::INFINITY {
        "+Inf".into()
    } else {
        value.to_string()
    }
}

/// An attribute of that name is kept by another one.
fn with(labels: &Labels, name: &str, value: String) -> Labels {
    let mut labels = labels.clone();
    if let Some(at) = labels.iter().position(|(known, _)| known == name) {
        let mut free = format!("exported_{name}");
        while labels.iter().any(|(known, _)| *known == free) {
            free.insert_str(0, "exported_");
        }
        labels[at].0 = free;
    }
    labels.push((name.to_owned(), value));
    labels
}

/// The labels that a scope adds to its metrics.
pub(super) fn scope_labels(scope: &Scope) -> Attributes {
    let own = [("name", &scope.name), ("version", &scope.version)];
    let own = own.map(|(key, value)| (key, Value::Text(value)));
    let mut labels = Attributes::default();
    for (key, value) in scope.attributes.iter().chain(own) {
        labels.push(format!("otel_scope_{key}"), value);
    }
    labels
}

/// A label has a text.
pub(super) fn label_value(value: Value<'_>) -> Cow<'_, str> {
    match value {
        Value::Text(text) => text.into(),
        other => other.to_string().into(),
    }
}

fn exemplar(sent: &proto::Exemplar) -> Option<Exemplar> {
    use proto::exemplar::Value as Number;
    Some(Exemplar {
        trace_id: trace_id(&sent.trace_id)?,
        span_id: span_id(&sent.span_id),
        value: match sent.value? {
            Number::AsDouble(value) => value,
            Number::AsInt(value) => value as f64,
        },
        timestamp_us: (sent.time_unix_nano > 0).then_some(sent.time_unix_nano / 1_000),
    })
}

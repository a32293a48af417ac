//! Converts metrics of foreign senders to samples, as Prometheus would have scraped them.
//!
//! Names and labels are made as the OpenTelemetry specification "Prometheus and OpenMetrics Compatibility" says.
//! Delta temporality is refused: adding deltas up needs every one of them, and a retry would count twice. Exponential histograms
//! are refused, since the rest of the system knows classic buckets only.

use opentelemetry_proto::tonic::metrics::v1 as proto;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;

use super::names::{Form, metric_name};
use super::points::{self, PointSink};
use super::values::{MAX_NAME, SERVICE_INSTANCE, SERVICE_NAME, cut};
use super::{MAX_LABELS, Rejected};
use crate::metadata::Described;
use crate::model::{Attributes, Resource};
use crate::samples::Sample;

/// The longest that name and unit of an encoded metric may be together, since every point gets them.
pub(super) const MAX_HEAD: usize = 8 << 10;

/// Converts one metric. Returns its name, and what it is.
pub(super) fn convert(
    scope: &Attributes,
    metric: proto::Metric,
    samples: &mut Vec<Sample>,
    rejected: &mut Rejected,
) -> Option<(String, Described)> {
    let Some(data) = metric.data else {
        rejected.add("metric_without_data");
        return None;
    };
    if metric.name.is_empty() {
        rejected.add_many("metric_without_name", points::count(&data));
        return None;
    }
    if metric.name.len() > MAX_NAME || metric.unit.len() > MAX_NAME {
        let why = format!("the name or unit of a metric has more than {MAX_NAME} bytes");
        rejected.refuse_many("name_too_long", points::count(&data), why);
        return None;
    }
    let form = match &data {
        Data::Gauge(_) => Form::Gauge,
        Data::Sum(sum) if sum.is_monotonic => Form::Counter,
        _ => Form::Other,
    };
    // They fit, but may contain a secret.
    let (name, unit) = (cut(metric.name, MAX_NAME), cut(metric.unit, MAX_NAME));
    let name = metric_name(&name, &unit, form);
    let refused = match &data {
        Data::Sum(sum) if !is_cumulative(sum.aggregation_temporality) => Some("delta_temporality"),
        Data::Histogram(histogram) if !is_cumulative(histogram.aggregation_temporality) => {
            Some("delta_temporality")
        }
        Data::ExponentialHistogram(_) => Some("exponential_histogram"),
        _ => None,
    };
    if let Some(reason) = refused {
        rejected.add_many(reason, points::count(&data));
        return None;
    }
    let kind = kind(&data);
    let mut out = PointSink {
        scope,
        samples,
        rejected,
    };
    match data {
        Data::Gauge(gauge) => points::numbers(&name, gauge.data_points, &mut out),
        Data::Sum(sum) => points::numbers(&name, sum.data_points, &mut out),
        Data::Histogram(histogram) => points::histograms(&name, histogram.data_points, &mut out),
        Data::Summary(summary) => points::summaries(&name, summary.data_points, &mut out),
        Data::ExponentialHistogram(_) => {}
    }
    let described = Described {
        kind,
        unit,
        ..Described::default()
    };
    Some((name, described))
}

/// `target_info`: the attributes of the resource that are not labels of its series, at the time of its newest sample. A value
/// that finds no room within [`MAX_LABELS`] is left out.
pub(crate) fn target_info(resource: &Resource, samples: &[Sample]) -> Option<Sample> {
    let sent = resource.attributes.iter();
    let others = sent.filter(|(key, _)| ![SERVICE_NAME, SERVICE_INSTANCE].contains(key));
    let mut labels = points::labels(others);
    let mut room = MAX_LABELS;
    labels.retain(|(name, value)| {
        let rest = room.checked_sub(name.len() + value.len());
        room = rest.unwrap_or(room);
        rest.is_some()
    });
    (!labels.is_empty() && !samples.is_empty()).then(|| Sample {
        name: "target_info".to_owned(),
        labels,
        value: 1.0,
        timestamp_us: samples
            .iter()
            .filter_map(|sample| sample.timestamp_us)
            .max(),
        exemplar: None,
        begins: true,
    })
}

/// The type in Prometheus's terms.
fn kind(data: &Data) -> &'static str {
    match data {
        Data::Sum(sum) if sum.is_monotonic => "counter",
        Data::Gauge(_) | Data::Sum(_) => "gauge",
        Data::Histogram(_) | Data::ExponentialHistogram(_) => "histogram",
        Data::Summary(_) => "summary",
    }
}

/// Replaces a name or unit that is too long to be copied to each point, so that each point is rejected and counted.
pub(super) fn too_long_name() -> String {
    "n".repeat(MAX_NAME + 1)
}

/// Treats an unspecified temporality as cumulative: the JSON mapping omits zero, and senders that mean delta state it.
fn is_cumulative(temporality: i32) -> bool {
    temporality != i32::from(proto::AggregationTemporality::Delta)
}

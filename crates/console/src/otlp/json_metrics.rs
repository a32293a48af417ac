//! Metrics as JSON, one data point at a time, into the structs of the protobuf encoding.

use opentelemetry_proto::tonic::metrics::v1 as proto;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::each::each;
use super::json::{KeyValue, attributes, parse, small};
use super::lax::{Double, Enum, Id, Integer, List, Names, Text};
use super::metrics::{MAX_HEAD, too_long_name};
use super::{Decoder, Origin, Refusal, UNDECODABLE};

/// A metric whose parts stay text.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parts<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    unit: Option<&'a RawValue>,
    #[serde(borrow)]
    description: Option<&'a RawValue>,
    #[serde(borrow)]
    gauge: Option<&'a RawValue>,
    #[serde(borrow)]
    sum: Option<&'a RawValue>,
    #[serde(borrow)]
    histogram: Option<&'a RawValue>,
    #[serde(borrow)]
    exponential_histogram: Option<&'a RawValue>,
    #[serde(borrow)]
    summary: Option<&'a RawValue>,
}

/// What all points of a metric have in common.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Common<'a> {
    #[serde(borrow)]
    aggregation_temporality: Option<&'a RawValue>,
    #[serde(borrow)]
    is_monotonic: Option<&'a RawValue>,
}

/// Decodes a metric.
pub(super) fn decode(metric: &str, origin: &Origin, decoder: &mut Decoder<'_>) {
    let outcome = parse(metric, "metric").and_then(|parts: Parts<'_>| {
        let description = parts.description.map(RawValue::get);
        let description = description.and_then(|text| serde_json::from_str::<Text>(text).ok());
        decoder.metric_begins(description.unwrap_or_default().0.as_bytes());
        points(&parts, &mut |point| {
            let metric = small::<Metric>(point, "metric").map(Into::into);
            decoder.metric(point.len(), origin, metric);
        })
    });
    if let Err(refusal) = outcome {
        decoder.refuse(metric.len(), refusal);
    }
}

/// Hands out a metric as often as it has data points, each time with one of them.
fn points<'a>(parts: &Parts<'a>, give: &mut dyn FnMut(&str)) -> Result<(), Refusal> {
    let text = |part: Option<&'a RawValue>| part.map_or("null", RawValue::get);
    let (name, unit) = (text(parts.name), text(parts.unit));
    let mut head = format!("\"name\":{name},\"unit\":{unit}");
    if head.len() > MAX_HEAD {
        head = format!("\"name\":\"{}\"", too_long_name());
    }
    let kinds = [
        ("gauge", parts.gauge),
        ("sum", parts.sum),
        ("histogram", parts.histogram),
        ("summary", parts.summary),
        ("exponentialHistogram", parts.exponential_histogram),
    ];
    let data = kinds
        .iter()
        .find_map(|(kind, data)| Some((kind, (*data)?.get())));
    let Some((kind, data)) = data else {
        give(&format!("{{{head}}}"));
        return Ok(());
    };
    let common: Common<'a> = parse(data, kind)?;
    let common = format!(
        "\"aggregationTemporality\":{},\"isMonotonic\":{}",
        text(common.aggregation_temporality),
        text(common.is_monotonic)
    );
    if common.len() > MAX_HEAD {
        return Err(Refusal::too_large("temporality of a metric", MAX_HEAD));
    }
    let give = &mut |point: &str| {
        give(&format!(
            "{{{head},\"{kind}\":{{{common},\"dataPoints\":[{point}]}}}}"
        ));
        Ok(())
    };
    each(data, "dataPoints", give)
        .map_err(|why| Refusal::new(UNDECODABLE, format!("a {kind} cannot be read: {why}")))
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metric {
    name: Text,
    unit: Text,
    gauge: Option<Points<NumberPoint>>,
    sum: Option<Points<NumberPoint>>,
    histogram: Option<Points<HistogramPoint>>,
    exponential_histogram: Option<Points<NumberPoint>>,
    summary: Option<Points<SummaryPoint>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Points<P> {
    #[serde(default = "List::default")]
    data_points: List<P>,
    #[serde(default)]
    aggregation_temporality: Enum<proto::AggregationTemporality>,
    #[serde(default)]
    is_monotonic: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct NumberPoint {
    attributes: List<KeyValue>,
    time_unix_nano: Integer<u64>,
    as_double: Option<Double>,
    as_int: Option<Integer<i64>>,
    exemplars: List<Exemplar>,
    flags: Integer<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct HistogramPoint {
    attributes: List<KeyValue>,
    time_unix_nano: Integer<u64>,
    count: Integer<u64>,
    sum: Option<Double>,
    bucket_counts: List<Integer<u64>>,
    explicit_bounds: List<Double>,
    exemplars: List<Exemplar>,
    flags: Integer<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SummaryPoint {
    attributes: List<KeyValue>,
    time_unix_nano: Integer<u64>,
    count: Integer<u64>,
    sum: Double,
    quantile_values: List<Quantile>,
    flags: Integer<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Quantile {
    quantile: Double,
    value: Double,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Exemplar {
    time_unix_nano: Integer<u64>,
    as_double: Option<Double>,
    as_int: Option<Integer<i64>>,
    trace_id: Id,
    span_id: Id,
}

impl Names for proto::AggregationTemporality {
    fn number(name: &str) -> Option<i32> {
        Self::from_str_name(name).map(Into::into)
    }
}

impl<P> Points<P> {
    fn points<T: From<P>>(self) -> Vec<T> {
        self.data_points.0.into_iter().map(Into::into).collect()
    }
}

impl From<Metric> for proto::Metric {
    fn from(json: Metric) -> Self {
        let gauge = |points: Points<NumberPoint>| {
            Data::Gauge(proto::Gauge {
                data_points: points.points(),
            })
        };
        let sum = |points: Points<NumberPoint>| {
            Data::Sum(proto::Sum {
                aggregation_temporality: points.aggregation_temporality.0,
                is_monotonic: points.is_monotonic.unwrap_or_default(),
                data_points: points.points(),
            })
        };
        let histogram = |points: Points<HistogramPoint>| {
            Data::Histogram(proto::Histogram {
                aggregation_temporality: points.aggregation_temporality.0,
                data_points: points.points(),
            })
        };
        let summary = |points: Points<SummaryPoint>| {
            Data::Summary(proto::Summary {
                data_points: points.points(),
            })
        };
        // Not kept (see `metrics`), so only their number matters.
        let exponential = |points: Points<NumberPoint>| {
            let count = points.data_points.0.len();
            Data::ExponentialHistogram(proto::ExponentialHistogram {
                data_points: vec![proto::ExponentialHistogramDataPoint::default(); count],
                ..Default::default()
            })
        };
        let data = json.gauge.map(gauge);
        let data = data.or_else(|| json.sum.map(sum));
        let data = data.or_else(|| json.histogram.map(histogram));
        let data = data.or_else(|| json.summary.map(summary));
        let data = data.or_else(|| json.exponential_histogram.map(exponential));
        Self {
            name: json.name.0,
            unit: json.unit.0,
            data,
            ..Self::default()
        }
    }
}

impl From<NumberPoint> for proto::NumberDataPoint {
    fn from(json: NumberPoint) -> Self {
        use proto::number_data_point::Value;
        let double = json.as_double.map(|value| Value::AsDouble(value.0));
        Self {
            attributes: attributes(json.attributes),
            time_unix_nano: json.time_unix_nano.0,
            value: double.or_else(|| json.as_int.map(|value| Value::AsInt(value.0))),
            exemplars: json.exemplars.0.into_iter().map(Into::into).collect(),
            flags: json.flags.0,
            ..Self::default()
        }
    }
}

impl From<HistogramPoint> for proto::HistogramDataPoint {
    fn from(json: HistogramPoint) -> Self {
        Self {
            attributes: attributes(json.attributes),
            time_unix_nano: json.time_unix_nano.0,
            count: json.count.0,
            sum: json.sum.map(|value| value.0),
            bucket_counts: json.bucket_counts.0.iter().map(|count| count.0).collect(),
            explicit_bounds: json.explicit_bounds.0.iter().map(|bound| bound.0).collect(),
            exemplars: json.exemplars.0.into_iter().map(Into::into).collect(),
            flags: json.flags.0,
            ..Self::default()
        }
    }
}

impl From<SummaryPoint> for proto::SummaryDataPoint {
    fn from(json: SummaryPoint) -> Self {
        let quantile = |json: &Quantile| proto::summary_data_point::ValueAtQuantile {
            quantile: json.quantile.0,
            value: json.value.0,
        };
        Self {
            attributes: attributes(json.attributes),
            time_unix_nano: json.time_unix_nano.0,
            count: json.count.0,
            sum: json.sum.0,
            quantile_values: json.quantile_values.0.iter().map(quantile).collect(),
            flags: json.flags.0,
            ..Self::default()
        }
    }
}

impl From<Exemplar> for proto::Exemplar {
    fn from(json: Exemplar) -> Self {
        use proto::exemplar::Value;
        let double = json.as_double.map(|value| Value::AsDouble(value.0));
        Self {
            time_unix_nano: json.time_unix_nano.0,
            value: double.or_else(|| json.as_int.map(|value| Value::AsInt(value.0))),
            trace_id: json.trace_id.0,
            span_id: json.span_id.0,
            ..Self::default()
        }
    }
}

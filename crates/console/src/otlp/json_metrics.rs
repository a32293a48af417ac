//! Metrics as JSON, into the structs of the protobuf encoding.

use opentelemetry_proto::tonic::metrics::v1 as proto;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use serde::Deserialize;

use super::json::{KeyValue, attributes};
use super::lax::{Double, Enum, Id, Integer, List, Names, Text};

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Metric {
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

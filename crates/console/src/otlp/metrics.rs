//! Metrics of foreign senders become samples as Prometheus would have scraped them.
//!
//! Names get the unit and `_total` as the OpenTelemetry specification "Prometheus and OpenMetrics Compatibility" says.
//! Delta temporality is refused: adding deltas up needs every one of them, and a retry would count twice. Exponential histograms
//! are refused, since the rest of the system knows classic buckets only.

use opentelemetry_proto::tonic::metrics::v1 as proto;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;

use super::Rejected;
use super::points::{self, Out};
use super::values::{MAX_NAME, cut};
use crate::samples::{Sample, sanitized};

/// Units that Prometheus spells out. Annotations (`{request}`) and `1` are left out.
const UNITS: [(&str, &str); 14] = [
    ("s", "seconds"),
    ("ms", "milliseconds"),
    ("us", "microseconds"),
    ("ns", "nanoseconds"),
    ("min", "minutes"),
    ("h", "hours"),
    ("d", "days"),
    ("By", "bytes"),
    ("KiBy", "kibibytes"),
    ("MiBy", "mebibytes"),
    ("GiBy", "gibibytes"),
    ("Cel", "celsius"),
    ("%", "percent"),
    ("Hz", "hertz"),
];

/// Converts one metric.
pub(super) fn convert(metric: proto::Metric, samples: &mut Vec<Sample>, rejected: &mut Rejected) {
    let Some(data) = metric.data else {
        rejected.add("metric_without_data");
        return;
    };
    if metric.name.is_empty() {
        rejected.add_many("metric_without_name", points::count(&data));
        return;
    }
    let name = with_unit(&cut(metric.name, MAX_NAME), &metric.unit);
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
        return;
    }
    let mut out = Out { samples, rejected };
    match data {
        Data::Gauge(gauge) => points::numbers(&name, gauge.data_points, &mut out),
        Data::Sum(sum) if sum.is_monotonic => {
            let name = format!("{}_total", name.trim_end_matches("_total"));
            points::numbers(&name, sum.data_points, &mut out);
        }
        Data::Sum(sum) => points::numbers(&name, sum.data_points, &mut out),
        Data::Histogram(histogram) => points::histograms(&name, histogram.data_points, &mut out),
        Data::Summary(summary) => points::summaries(&name, summary.data_points, &mut out),
        Data::ExponentialHistogram(_) => {}
    }
}

/// Unspecified is taken for cumulative: the mapping to JSON leaves zero out, and senders that mean delta say so.
fn is_cumulative(temporality: i32) -> bool {
    temporality != i32::from(proto::AggregationTemporality::Delta)
}

fn with_unit(name: &str, unit: &str) -> String {
    let name = sanitized(name, true);
    let known = UNITS.iter().find(|(short, _)| *short == unit);
    match known {
        Some((_, word)) if !name.trim_end_matches("_total").ends_with(word) => {
            let base = name.trim_end_matches("_total");
            format!("{base}_{word}")
        }
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::with_unit;

    #[test]
    fn units_are_spelled_out_once() {
        for (name, unit, expected) in [
            (
                "http.server.request.duration",
                "s",
                "http_server_request_duration_seconds",
            ),
            ("process_cpu_seconds", "s", "process_cpu_seconds"),
            (
                "process.cpu_seconds_total",
                "s",
                "process_cpu_seconds_total",
            ),
            ("io_total", "By", "io_bytes"),
            ("queue.length", "{request}", "queue_length"),
            ("ratio", "1", "ratio"),
        ] {
            assert_eq!(with_unit(name, unit), expected);
        }
    }
}

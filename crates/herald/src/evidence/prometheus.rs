//! Prometheus's HTTP API.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::answer::{FirstItems, Number, Text, parse};
use super::backend::{Backend, Patience};

/// More series of an answer are not read.
const SERIES: usize = 20_000;

/// More points of a series, or exemplars of one, are not read.
const POINTS: usize = 5_000;

/// All labels that any part of the evidence reads.
const LABELS: [&str; 17] = [
    "service_name",
    "service_instance_id",
    "job",
    "dependency",
    "service_version",
    "service_peer_name",
    "db_system_name",
    "db_operation_name",
    "db_collection_name",
    "db_client_connection_pool_name",
    "lock_holder",
    "error_type",
    "reason",
    "http_request_method",
    "http_route",
    "outcome",
    "trace_id",
];

/// Labels of a series, of those that anybody asks for.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Series(Vec<(&'static str, Box<str>)>);

impl Series {
    /// A label's value; `None` if it is empty, as in Prometheus.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        debug_assert!(LABELS.contains(&name), "{name} is not read");
        let label = self.0.iter().find(|(known, _)| *known == name);
        label
            .map(|(_, value)| &**value)
            .filter(|value| !value.is_empty())
    }

    /// The value; empty if the label is missing.
    pub(crate) fn label(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }
}

/// Series and their values.
pub(crate) type Samples = Vec<(Series, f64)>;

/// Series and the times at which they had a value, in seconds.
pub(crate) type Times = Vec<(Series, Vec<f64>)>;

/// An exemplar.
#[derive(Debug, Clone)]
pub(crate) struct Exemplar<'a> {
    /// Labels of the series it stands for.
    pub(crate) series: &'a Series,
    /// The trace it names.
    pub(crate) trace_id: &'a str,
    /// The observed value.
    pub(crate) value: f64,
}

/// Asks Prometheus.
#[derive(Debug, Clone)]
pub(crate) struct Prometheus {
    pub(super) backend: Backend,
}

#[derive(Deserialize)]
struct Answer<T> {
    data: Option<T>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct Data<T> {
    result: Option<FirstItems<T, SERIES>>,
}

#[derive(Deserialize)]
struct Sample {
    #[serde(default)]
    metric: Series,
    value: (IgnoredAny, Number),
}

#[derive(Deserialize)]
struct Range {
    #[serde(default)]
    metric: Series,
    #[serde(default)]
    values: FirstItems<(f64, IgnoredAny), POINTS>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExemplarSeries {
    #[serde(default)]
    series_labels: Series,
    #[serde(default)]
    exemplars: FirstItems<OneExemplar, POINTS>,
}

#[derive(Deserialize)]
struct OneExemplar {
    #[serde(default)]
    labels: Series,
    #[serde(default)]
    value: Number,
}

impl Prometheus {
    /// The same backend for a caller with another deadline.
    pub(super) fn with(&self, patience: Patience) -> Self {
        Self {
            backend: self.backend.with(patience),
        }
    }

    /// An instant query; it drops values that are not numbers.
    pub(crate) async fn vector(&self, query: &str, time: DateTime<Utc>) -> Result<Samples, String> {
        let parameters = [("query", query.to_owned()), ("time", seconds(time))];
        let read = |body: &[u8]| {
            let samples = result::<Sample>(body)?.into_iter();
            Ok(samples
                .filter_map(|sample| Some((sample.metric, sample.value.1.0?)))
                .collect())
        };
        self.backend.ask("/api/v1/query", &parameters, read).await
    }

    /// A range query; `reduce` condenses the times at which series had a value.
    pub(crate) async fn times<T: Send + 'static>(
        &self,
        query: &str,
        (start, end): (DateTime<Utc>, DateTime<Utc>),
        step_s: u32,
        reduce: impl FnOnce(Times) -> T + Send + 'static,
    ) -> Result<T, String> {
        let parameters = [
            ("query", query.to_owned()),
            ("start", seconds(start)),
            ("end", seconds(end)),
            ("step", step_s.to_string()),
        ];
        let read = |body: &[u8]| {
            let matrix = result::<Range>(body)?.into_iter();
            let times = |range: Range| {
                range
                    .values
                    .items
                    .into_iter()
                    .map(|(time, _)| time)
                    .collect()
            };
            let matrix = matrix.map(|mut range| (std::mem::take(&mut range.metric), times(range)));
            Ok(reduce(matrix.collect()))
        };
        self.backend
            .ask("/api/v1/query_range", &parameters, read)
            .await
    }

    /// The exemplars of all series that a query selects; `reduce` condenses them.
    pub(crate) async fn exemplars<T: Send + 'static>(
        &self,
        query: &str,
        (start, end): (DateTime<Utc>, DateTime<Utc>),
        reduce: impl FnOnce(Vec<Exemplar<'_>>) -> T + Send + 'static,
    ) -> Result<T, String> {
        let parameters = [
            ("query", query.to_owned()),
            ("start", seconds(start)),
            ("end", seconds(end)),
        ];
        let read = |body: &[u8]| {
            let answer: Answer<FirstItems<ExemplarSeries, SERIES>> = parse(body)?;
            let list = answer.data.ok_or("its answer has no data")?;
            Ok(reduce(list.items.iter().flat_map(of_series).collect()))
        };
        self.backend
            .ask("/api/v1/query_exemplars", &parameters, read)
            .await
    }
}

fn of_series(list: &ExemplarSeries) -> impl Iterator<Item = Exemplar<'_>> {
    list.exemplars.items.iter().filter_map(|exemplar| {
        Some(Exemplar {
            series: &list.series_labels,
            trace_id: exemplar.labels.get("trace_id")?,
            value: exemplar.value.0.unwrap_or_default(),
        })
    })
}

/// A text as a literal of PromQL and LogQL. Both accept Go's escapes, which include those of JSON.
pub(crate) fn literal(text: &str) -> String {
    Value::from(text).to_string()
}

fn result<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<Vec<T>, String> {
    let answer: Answer<Data<T>> = parse(body)?;
    let result = answer.data.and_then(|data| data.result);
    let result = result.ok_or("its answer has no result")?;
    if result.more {
        return Err(format!("its answer has more than {SERIES} series"));
    }
    Ok(result.items)
}

fn seconds(time: DateTime<Utc>) -> String {
    format!("{:.3}", time.timestamp_millis() as f64 / 1000.0)
}

impl<'de> Deserialize<'de> for Series {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(KnownLabels)
    }
}

struct KnownLabels;

impl<'de> Visitor<'de> for KnownLabels {
    type Value = Series;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("labels")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut labels: A) -> Result<Series, A::Error> {
        let mut known = Vec::new();
        while let Some(name) = labels.next_key::<Text<'_>>()? {
            match LABELS.iter().find(|label| **label == name.0) {
                // A name that stands there again and again takes memory too.
                Some(label) if known.len() < LABELS.len() => {
                    known.push((*label, labels.next_value::<Text<'_>>()?.0.into()));
                }
                _ => drop(labels.next_value::<IgnoredAny>()?),
            }
        }
        known.shrink_to_fit();
        Ok(Series(known))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Series with these labels.
    pub(crate) fn series(labels: &[(&'static str, &str)]) -> Series {
        Series(
            labels
                .iter()
                .map(|(name, value)| (*name, (*value).into()))
                .collect(),
        )
    }

    #[test]
    fn answers_are_read_whatever_they_hold() {
        let read = |body: &str| result::<Sample>(body.as_bytes()).map(|samples| samples.len());
        let sample = r#"{"metric":{"service_name":"a","x":[1]},"value":[1.5,"NaN"]}"#;
        assert_eq!(
            read(&format!(r#"{{"data":{{"result":[{sample}]}}}}"#)),
            Ok(1)
        );
        for (body, reason) in [
            (r#"{"unexpected":[1,2]}"#, "its answer has no result"),
            (r#"{"data":{"result":null}}"#, "its answer has no result"),
            (
                r#"{"data":{"result":[1]}}"#,
                "its answer is not as expected",
            ),
            (r#"{"data":["#, "its answer is not JSON"),
        ] {
            assert_eq!(read(body).unwrap_err(), reason, "{body}");
        }
        let many = vec![sample; SERIES + 1].join(",");
        let many = read(&format!(r#"{{"data":{{"result":[{many}]}}}}"#));
        assert_eq!(many.unwrap_err(), "its answer has more than 20000 series");
    }
}

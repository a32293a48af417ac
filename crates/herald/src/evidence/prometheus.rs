//! Prometheus's HTTP API.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::backend::Backend;

/// Labels of a series.
pub(crate) type Series = BTreeMap<String, String>;

/// An exemplar.
#[derive(Debug, Clone)]
pub(crate) struct Exemplar {
    /// Labels of the series it stands for.
    pub(crate) series: Series,
    /// The trace it names.
    pub(crate) trace_id: String,
    /// The observed value.
    pub(crate) value: f64,
}

/// Asks Prometheus.
#[derive(Debug, Clone)]
pub(crate) struct Prometheus {
    pub(crate) backend: Backend,
}

impl Prometheus {
    /// An instant query; values that are no numbers are left out.
    pub(crate) async fn vector(
        &self,
        query: &str,
        time: DateTime<Utc>,
    ) -> Result<Vec<(Series, f64)>, String> {
        let parameters = [("query", query.to_owned()), ("time", seconds(time))];
        let answer = self.backend.get("/api/v1/query", &parameters).await?;
        let samples = result(&answer)?.iter().filter_map(|entry| {
            let value = number(&entry["value"][1])?;
            Some((series(&entry["metric"]), value))
        });
        Ok(samples.collect())
    }

    /// A range query: for each series the times at which it had a value.
    pub(crate) async fn times(
        &self,
        query: &str,
        (start, end): (DateTime<Utc>, DateTime<Utc>),
        step_s: u32,
    ) -> Result<Vec<(Series, Vec<f64>)>, String> {
        let parameters = [
            ("query", query.to_owned()),
            ("start", seconds(start)),
            ("end", seconds(end)),
            ("step", step_s.to_string()),
        ];
        let answer = self.backend.get("/api/v1/query_range", &parameters).await?;
        let matrix = result(&answer)?.iter().map(|entry| {
            let values = entry["values"].as_array().map_or(&[][..], Vec::as_slice);
            let times = values.iter().filter_map(|value| value[0].as_f64());
            (series(&entry["metric"]), times.collect())
        });
        Ok(matrix.collect())
    }

    /// The exemplars of all series that a query selects.
    pub(crate) async fn exemplars(
        &self,
        query: &str,
        (start, end): (DateTime<Utc>, DateTime<Utc>),
    ) -> Result<Vec<Exemplar>, String> {
        let parameters = [
            ("query", query.to_owned()),
            ("start", seconds(start)),
            ("end", seconds(end)),
        ];
        let answer = self
            .backend
            .get("/api/v1/query_exemplars", &parameters)
            .await?;
        let list = answer["data"].as_array().ok_or("its answer has no data")?;
        let mut exemplars = Vec::new();
        for entry in list {
            for exemplar in entry["exemplars"].as_array().into_iter().flatten() {
                let Some(trace_id) = exemplar["labels"]["trace_id"].as_str() else {
                    continue;
                };
                exemplars.push(Exemplar {
                    series: series(&entry["seriesLabels"]),
                    trace_id: trace_id.to_owned(),
                    value: number(&exemplar["value"]).unwrap_or_default(),
                });
            }
        }
        Ok(exemplars)
    }
}

/// A text as PromQL and LogQL write it: both take Go's escapes, of which JSON's are a part.
pub(crate) fn literal(text: &str) -> String {
    Value::from(text).to_string()
}

fn result(answer: &Value) -> Result<&Vec<Value>, String> {
    let result = answer["data"]["result"].as_array();
    result.ok_or_else(|| "its answer has no result".to_owned())
}

fn series(labels: &Value) -> Series {
    let labels = labels.as_object().into_iter().flatten();
    labels
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}

fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::String(text) => text.parse().ok()?,
        other => other.as_f64()?,
    };
    Some(number).filter(|number: &f64| number.is_finite())
}

fn seconds(time: DateTime<Utc>) -> String {
    format!("{:.3}", time.timestamp_millis() as f64 / 1000.0)
}

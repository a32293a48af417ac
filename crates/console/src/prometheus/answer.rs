//! Bodies as Prometheus writes them.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use promql::{Error, Labels, Sample, Value, format_value};
use serde::{Serialize, Serializer};
use serde_json::json;
use std::time::Duration;

use super::reading::{Exemplars, Reading};
use crate::answer::wrapped::{LazyList, Seconds};
use crate::answer::{Page, Refused, of_status};
use crate::otlp::response;
use crate::params::BadParameter;
use crate::samples::Exemplar;
use crate::series::LabelSet;

/// A written answer, or why there is none.
pub(super) type Answer = Result<Page, Failure>;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    /// Prometheus's word for it.
    kind: &'static str,
    message: String,
}

impl Failure {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            message: message.into(),
        }
    }

    /// The expression or selector cannot be read.
    pub fn unread(why: Error) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_data", why.to_string())
    }

    /// The expression is valid, but cannot be evaluated.
    pub fn evaluated(why: Error) -> Self {
        match why {
            why @ (Error::Syntax(_) | Error::NotCovered(_)) => Self::unread(why),
            why => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "execution",
                why.to_string(),
            ),
        }
    }

    /// A selector finds too much.
    pub fn too_much(samples: usize, series: usize) -> Self {
        let why = format!(
            "the query reads more than {samples} samples or {series} series: ask for less time, or select less"
        );
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "execution", why)
    }

    /// The evaluation took too long.
    pub fn late(max_time: Duration) -> Self {
        let why = format!("the query took longer than {max_time:?}: ask for less");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", why)
    }

    /// Others took too long.
    pub fn crowded(max_time: Duration) -> Self {
        let why =
            format!("too many queries are evaluated: this one waited for {max_time:?}; try again");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", why)
    }

    /// In words.
    pub fn into_message(self) -> String {
        self.message
    }

    /// The HTTP response.
    pub fn response(self) -> HttpResponse {
        let body = json!({"status": "error", "errorType": self.kind, "error": self.message});
        of_status(self.status).json(body)
    }
}

impl From<BadParameter> for Failure {
    fn from(why: BadParameter) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_data", why.to_string())
    }
}

impl From<Refused> for Failure {
    fn from(why: Refused) -> Self {
        let kind = match why.status {
            StatusCode::SERVICE_UNAVAILABLE => "unavailable",
            _ => "internal",
        };
        Self::new(why.status, kind, why.detail)
    }
}

/// Of a form.
impl From<response::Failure> for Failure {
    fn from(why: response::Failure) -> Self {
        let kind = match why.status {
            StatusCode::SERVICE_UNAVAILABLE => "unavailable",
            _ => "bad_data",
        };
        Self::new(why.status, kind, why.message)
    }
}

#[derive(Serialize)]
struct Envelope<T> {
    status: &'static str,
    data: T,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    warnings: &'static [&'static str],
}

const CUT: &[&str] = &["results truncated due to limit"];

/// A good answer.
pub(super) fn body(data: &impl Serialize, page: Page) -> Answer {
    cut_body(data, false, page)
}

fn cut_body(data: &impl Serialize, is_cut: bool, page: Page) -> Answer {
    let warnings = if is_cut { CUT } else { &[] };
    let status = "success";
    Ok(page.json(&Envelope {
        status,
        data,
        warnings,
    })?)
}

/// A list of at most so many items.
pub(super) fn list(
    items: impl Iterator<Item: Serialize> + Clone,
    limit: usize,
    reading: Reading,
) -> Answer {
    let is_cut = items.clone().nth(limit).is_some();
    cut_body(&LazyList(items.take(limit)), is_cut, reading.into_page())
}

/// The labels of a series as an object.
pub(super) struct Map<'a>(pub &'a LabelSet);

impl Serialize for Map<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter())
    }
}

struct Metric<'a>(&'a Labels);

impl Serialize for Metric<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter())
    }
}

/// Written as `[1767225600.5, "3"]`: seconds to the millisecond, the number as text.
fn point(sample: &Sample) -> (Seconds, String) {
    (Seconds(sample.at_ms), format_value(sample.value))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QueryData<T> {
    result_type: &'static str,
    result: T,
}

#[derive(Serialize)]
struct VectorSeries<'a> {
    metric: Metric<'a>,
    value: (Seconds, String),
}

#[derive(Serialize)]
struct MatrixSeries<'a, V: Serialize> {
    metric: Metric<'a>,
    values: V,
}

/// The result of an expression, with at most `limit` series.
pub(super) fn value(value: &Value, at_ms: i64, limit: usize, reading: Reading) -> Answer {
    match value {
        Value::Scalar(number) => {
            let result = (Seconds(at_ms), format_value(*number));
            found("scalar", result, false, reading)
        }
        Value::String(text) => found("string", (Seconds(at_ms), text), false, reading),
        Value::Vector(series) => {
            let shown = series
                .iter()
                .take(limit)
                .map(|(labels, sample)| VectorSeries {
                    metric: Metric(labels),
                    value: point(sample),
                });
            found("vector", LazyList(shown), series.len() > limit, reading)
        }
        Value::Matrix(series) => {
            let shown = series.iter().take(limit).map(|series| MatrixSeries {
                metric: Metric(&series.labels),
                values: LazyList(series.samples.iter().map(point)),
            });
            found("matrix", LazyList(shown), series.len() > limit, reading)
        }
    }
}

fn found(
    result_type: &'static str,
    result: impl Serialize,
    is_cut: bool,
    reading: Reading,
) -> Answer {
    let found = QueryData {
        result_type,
        result,
    };
    cut_body(&found, is_cut, reading.into_page())
}

/// Requests behind series.
pub(super) fn exemplars(all: &Exemplars, reading: Reading) -> Answer {
    let shown = all.iter().map(|(labels, exemplars)| {
        let exemplars = exemplars.iter().map(shown_exemplar);
        json!({"seriesLabels": Map(labels), "exemplars": exemplars.collect::<Vec<_>>()})
    });
    body(&LazyList(shown), reading.into_page())
}

fn shown_exemplar(exemplar: &Exemplar) -> serde_json::Value {
    let mut labels = json!({"trace_id": exemplar.trace_id.to_string()});
    if let Some(span_id) = exemplar.span_id {
        labels["span_id"] = span_id.to_string().into();
    }
    let at_ms = exemplar.timestamp_us.unwrap_or_default() / 1_000;
    json!({"labels": labels, "value": format_value(exemplar.value), "timestamp": Seconds(i64::try_from(at_ms).unwrap_or_default())})
}

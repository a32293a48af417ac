//! Bodies as Loki writes them.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::answer::wrapped::{LazyList, Seconds};
use crate::answer::{Page, Refused, of_status};
use crate::logql::{Kind, Refusal, Scan, Series, Stream};
use crate::otlp::response;
use crate::params::BadParameter;

/// A written answer, or why there is none.
pub(super) type Answer = Result<Page, Failure>;

/// The reason why there is no answer, in plain text, as Loki sends it.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    message: String,
}

impl Failure {
    /// The question is wrong.
    pub fn bad(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            message: message.into(),
        }
    }

    /// The HTTP response.
    pub fn response(self) -> HttpResponse {
        of_status(self.status)
            .content_type("text/plain; charset=utf-8")
            .body(self.message + "\n")
    }
}

impl From<BadParameter> for Failure {
    fn from(why: BadParameter) -> Self {
        Self::bad(why.to_string())
    }
}

impl From<Refusal> for Failure {
    fn from(why: Refusal) -> Self {
        let status = match why.kind {
            Kind::NoRoom => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Syntax | Kind::Unsupported | Kind::TooMuch => StatusCode::BAD_REQUEST,
        };
        let message = why.to_string();
        Self { status, message }
    }
}

impl From<Refused> for Failure {
    fn from(why: Refused) -> Self {
        Self {
            status: why.status,
            message: why.detail,
        }
    }
}

impl From<response::Failure> for Failure {
    fn from(why: response::Failure) -> Self {
        Self {
            status: why.status,
            message: why.message,
        }
    }
}

#[derive(Serialize)]
struct Envelope<T> {
    status: &'static str,
    data: T,
}

/// A good answer.
pub(super) fn body(page: Page, data: impl Serialize) -> Answer {
    let status = "success";
    Ok(page.json(&Envelope { status, data })?)
}

#[derive(Serialize)]
struct StreamLines<'a, V: Serialize> {
    stream: &'a BTreeMap<String, String>,
    values: V,
}

/// Lines by stream.
pub(super) fn streams(streams: &[Stream], scan: &mut Scan) -> Answer {
    let result = streams.iter().map(|stream| {
        let lines = stream.lines.iter();
        let values = LazyList(lines.map(|(time, text)| (time.to_string(), text)));
        StreamLines {
            stream: &stream.labels,
            values,
        }
    });
    let lines = streams.iter().map(|stream| stream.lines.len()).sum();
    found("streams", result, lines, scan)
}

#[derive(Serialize)]
struct MatrixSeries<'a, V: Serialize> {
    metric: &'a BTreeMap<String, String>,
    values: V,
}

/// Numbers over time.
pub(super) fn matrix(series: &[Series], scan: &mut Scan) -> Answer {
    let result = series.iter().map(|series| {
        let points = series.points.iter();
        MatrixSeries {
            metric: &series.labels,
            values: LazyList(points.map(|(time, number)| Point(*time, *number))),
        }
    });
    found("matrix", result, series.len(), scan)
}

#[derive(Serialize)]
struct VectorSeries<'a> {
    metric: &'a BTreeMap<String, String>,
    value: Point,
}

/// Numbers at one time.
pub(super) fn vector(series: &[Series], scan: &mut Scan) -> Answer {
    let result = series.iter().filter_map(|series| {
        let (time, number) = *series.points.first()?;
        Some(VectorSeries {
            metric: &series.labels,
            value: Point(time, number),
        })
    });
    let count = result.clone().count();
    found("vector", result, count, scan)
}

/// The number of `vector(…)`.
pub(super) fn constant(number: f64, time_ns: u64, scan: &mut Scan) -> Answer {
    let result = VectorSeries {
        metric: &BTreeMap::new(),
        value: Point(time_ns, number),
    };
    found("vector", std::iter::once(&result), 1, scan)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QueryData<T> {
    result_type: &'static str,
    result: T,
    stats: Value,
}

fn found(
    result_type: &'static str,
    result: impl Iterator<Item: Serialize> + Clone,
    entries: usize,
    scan: &mut Scan,
) -> Answer {
    let page = scan.page();
    let seconds = scan.elapsed().as_secs_f64();
    let per_second = |count: u64| (count as f64 / seconds.max(1e-9)) as u64;
    let summary = json!({
        "bytesProcessedPerSecond": per_second(scan.bytes),
        "linesProcessedPerSecond": per_second(scan.lines),
        "totalBytesProcessed": scan.bytes,
        "totalLinesProcessed": scan.lines,
        "totalEntriesReturned": entries,
        "execTime": seconds,
    });
    let found = QueryData {
        result_type,
        result: LazyList(result),
        stats: json!({"summary": summary}),
    };
    body(page, found)
}

/// Nanoseconds and a number, written as `[1767225600.5, "3"]`: seconds to the millisecond, the number as text.
struct Point(u64, f64);

impl Serialize for Point {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let milliseconds = i64::try_from(self.0 / 1_000_000).unwrap_or(i64::MAX);
        (Seconds(milliseconds), self.1.to_string()).serialize(serializer)
    }
}

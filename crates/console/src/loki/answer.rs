//! Bodies as Loki writes them.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::answer::{Page, Refused, of_status};
use crate::logql::{Kind, Refusal, Scan, Series, Stream};
use crate::otlp::response;
use crate::params::BadParameter;

/// A written answer, or why there is none.
pub(super) type Answer = Result<Page, Failure>;

/// Why there is no answer; plain text, as Loki sends it.
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

    /// Others are being answered.
    pub fn busy() -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            message: "too many queries at once, try again".to_owned(),
        }
    }

    /// As it is sent.
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
struct StreamLines<'a> {
    stream: &'a BTreeMap<String, String>,
    values: Vec<(String, &'a str)>,
}

/// Lines by stream.
pub(super) fn streams(page: Page, streams: &[Stream], scan: &Scan) -> Answer {
    let result: Vec<StreamLines<'_>> = streams
        .iter()
        .map(|stream| StreamLines {
            stream: &stream.labels,
            values: stream
                .lines
                .iter()
                .map(|(time, text)| (time.to_string(), text.as_str()))
                .collect(),
        })
        .collect();
    let lines = streams.iter().map(|stream| stream.lines.len()).sum();
    found(page, "streams", result, lines, Some(scan))
}

#[derive(Serialize)]
struct MatrixSeries<'a> {
    metric: &'a BTreeMap<String, String>,
    values: Vec<Point>,
}

/// Numbers over time.
pub(super) fn matrix(page: Page, series: &[Series], scan: &Scan) -> Answer {
    let result: Vec<MatrixSeries<'_>> = series
        .iter()
        .map(|series| MatrixSeries {
            metric: &series.labels,
            values: series
                .points
                .iter()
                .map(|(time, number)| Point(*time, *number))
                .collect(),
        })
        .collect();
    let series = result.len();
    found(page, "matrix", result, series, Some(scan))
}

/// Numbers at one time.
pub(super) fn vector(page: Page, series: &[Series], scan: &Scan) -> Answer {
    let shown = |series: &Series| {
        let (time, number) = series.points.first()?;
        Some(json!({"metric": series.labels, "value": Point(*time, *number)}))
    };
    let result: Vec<Value> = series.iter().filter_map(shown).collect();
    let series = result.len();
    found(page, "vector", result, series, Some(scan))
}

/// The number of `vector(…)`.
pub(super) fn constant(page: Page, number: f64, time_ns: u64) -> Answer {
    let result = vec![json!({"metric": {}, "value": Point(time_ns, number)})];
    found(page, "vector", result, 1, None)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Found<T> {
    result_type: &'static str,
    result: Vec<T>,
    stats: Value,
}

fn found<T: Serialize>(
    page: Page,
    result_type: &'static str,
    result: Vec<T>,
    entries: usize,
    scan: Option<&Scan>,
) -> Answer {
    let (bytes, lines) = scan.map_or((0, 0), |scan| (scan.bytes, scan.lines));
    let seconds = scan.map_or(0.0, |scan| scan.elapsed().as_secs_f64());
    let per_second = |count: u64| (count as f64 / seconds.max(1e-9)) as u64;
    let summary = json!({
        "bytesProcessedPerSecond": per_second(bytes),
        "linesProcessedPerSecond": per_second(lines),
        "totalBytesProcessed": bytes,
        "totalLinesProcessed": lines,
        "totalEntriesReturned": entries,
        "execTime": seconds,
    });
    let stats = json!({"summary": summary});
    body(
        page,
        Found {
            result_type,
            result,
            stats,
        },
    )
}

/// Nanoseconds and a number, written as `[1767225600.5, "3"]`: seconds to the millisecond, the number as text.
struct Point(u64, f64);

impl Serialize for Point {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let milliseconds = self.0 / 1_000_000;
        let number = self.1.to_string();
        match milliseconds.is_multiple_of(1_000) {
            true => (milliseconds / 1_000, number).serialize(serializer),
            false => (milliseconds as f64 / 1_000.0, number).serialize(serializer),
        }
    }
}

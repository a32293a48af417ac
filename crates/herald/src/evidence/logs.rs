//! The first error lines.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::answer::{FirstItems, Text, excerpt, head, parse};
use super::backend::Backend;
use super::store::Weigh;
use super::traces::trace_id;
use super::{Part, Window};

/// How many lines are shown.
const SHOWN: usize = 5;

/// How many lines are requested. An answer with more is not read further.
const READ: usize = 200;

/// The maximum length of a text, in characters.
const TEXT: usize = 300;

/// Errors of every service, because the alert's service is often not the one at fault. Herald's own errors are about
/// deliveries.
const QUERY: &str = r#"{service_name=~".+", service_name!="herald"} | severity_text="ERROR""#;

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Line {
    pub(crate) time: DateTime<Utc>,
    pub(crate) service: String,
    /// Message and error, redacted.
    pub(crate) text: String,
    /// 32 digits, or empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) trace_id: String,
}

impl Weigh for Line {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.service.len() + self.text.len() + self.trace_id.len()
    }
}

/// What Loki answers.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    data: Option<Data<'a>>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    result: Option<FirstItems<Stream<'a>, READ>>,
}

#[derive(Deserialize)]
struct Stream<'a> {
    #[serde(borrow, default)]
    stream: Labels<'a>,
    #[serde(borrow, default)]
    values: FirstItems<FirstItems<Text<'a>, 2>, READ>,
}

#[derive(Deserialize, Default)]
struct Labels<'a> {
    #[serde(borrow, default)]
    service_name: Text<'a>,
    /// Structured metadata of records of this project; other records have the error in the message.
    #[serde(borrow, default)]
    error: Text<'a>,
    #[serde(borrow, default)]
    trace_id: Text<'a>,
}

/// The earliest lines of the window that differ.
pub(super) async fn collect(loki: &Backend, window: Window) -> Part<Vec<Line>> {
    let nanos = |time: DateTime<Utc>| time.timestamp_nanos_opt().unwrap_or_default().to_string();
    let parameters = [
        ("query", QUERY.to_owned()),
        ("start", nanos(window.start)),
        ("end", nanos(window.end)),
        ("direction", "forward".to_owned()),
        ("limit", READ.to_string()),
    ];
    let mut part = Part::default();
    part.value = part.take(
        loki.ask("/loki/api/v1/query_range", &parameters, read)
            .await,
    );
    part
}

fn read(body: &[u8]) -> Result<Vec<Line>, String> {
    let answer: Answer<'_> = parse(body)?;
    let streams = answer.data.and_then(|data| data.result);
    Ok(first(&streams.ok_or("its answer has no result")?.items))
}

fn first(streams: &[Stream<'_>]) -> Vec<Line> {
    let each = streams.iter().flat_map(|stream| {
        let values = stream.values.items.iter();
        values.filter_map(|value| Some((&stream.stream, time(value)?, value.items.get(1)?)))
    });
    let mut lines: Vec<_> = each.collect();
    lines.sort_by_key(|(_, nanos, _)| *nanos);
    let mut first: Vec<Line> = Vec::new();
    for (labels, nanos, message) in lines.into_iter().take(READ) {
        if first.len() == SHOWN {
            break;
        }
        let line = line(labels, nanos, &message.0);
        let same = |other: &Line| (&other.service, &other.text) == (&line.service, &line.text);
        if !first.iter().any(same) {
            first.push(line);
        }
    }
    first
}

fn time(value: &FirstItems<Text<'_>, 2>) -> Option<i64> {
    value.items.first()?.0.parse().ok()
}

fn line(labels: &Labels<'_>, nanos: i64, message: &str) -> Line {
    let text = match &*labels.error.0 {
        "" => excerpt(message, TEXT),
        // Redacts both together, because the message may contain the error.
        error => excerpt(&format!("{}: {}", head(message), head(error)), TEXT),
    };
    let id = Some(&*labels.trace_id.0).filter(|id| id.len() == 32);
    Line {
        time: DateTime::from_timestamp_nanos(nanos),
        service: excerpt(&labels.service_name.0, 60),
        text,
        trace_id: id.and_then(trace_id).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_lines_that_differ_are_shown_with_their_error() {
        let stream = |service: &str, error: &str, values: serde_json::Value| json!({"stream": {"service_name": service, "error": error}, "values": values});
        let streams = [
            stream(
                "data",
                "",
                json!([["3", "late"], ["1", "early", {"a": "b"}], ["x", "no time"]]),
            ),
            stream(
                "mail",
                "mail to ada@example.com",
                json!([["2", "failed"], ["4", "failed"]]),
            ),
        ];
        let answer = json!({"data": {"result": streams}}).to_string();
        let lines = read(answer.as_bytes()).unwrap();
        let shown: Vec<_> = lines
            .iter()
            .map(|line| (line.service.as_str(), line.text.as_str()))
            .collect();
        let mail = ("mail", "failed: mail to [redacted]");
        assert_eq!(shown, [("data", "early"), mail, ("data", "late")]);
    }

    #[test]
    fn a_long_error_of_many_lines_is_read_once_per_line_that_was_asked_for() {
        let values: Vec<_> = (0..60_000)
            .map(|index| [index.to_string(), "failed".to_owned()])
            .collect();
        let stream = json!({"service_name": "data", "error": "x ".repeat(450_000)});
        let answer =
            json!({"data": {"result": [{"stream": stream, "values": values}]}}).to_string();
        let answer: Answer<'_> = parse(answer.as_bytes()).unwrap();
        let streams = answer.data.unwrap().result.unwrap().items;
        assert_eq!(streams[0].values.items.len(), READ);
        let [line] = first(&streams).try_into().unwrap();
        assert_eq!(line.text.chars().count(), TEXT);
    }
}

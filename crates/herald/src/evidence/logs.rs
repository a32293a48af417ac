//! The first error lines.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::Window;
use super::backend::Backend;
use crate::text::quoted;

/// So many are shown.
const SHOWN: usize = 5;

/// Errors of every service: the one that the alert is about is often not the one that fails. Our own are about deliveries.
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

/// The earliest lines of the window that differ.
pub(crate) async fn collect(loki: &Backend, window: &Window) -> Result<Vec<Line>, String> {
    let nanos = |time: DateTime<Utc>| time.timestamp_nanos_opt().unwrap_or_default().to_string();
    let parameters = [
        ("query", QUERY.to_owned()),
        ("start", nanos(window.start)),
        ("end", nanos(window.end)),
        ("direction", "forward".to_owned()),
        ("limit", "200".to_owned()),
    ];
    let answer = loki.get("/loki/api/v1/query_range", &parameters).await?;
    let streams = answer["data"]["result"]
        .as_array()
        .ok_or("its answer has no result")?;
    let mut lines: Vec<Line> = streams.iter().flat_map(of_stream).collect();
    lines.sort_by_key(|line| line.time);
    let mut first: Vec<Line> = Vec::new();
    for line in lines {
        let same = |other: &Line| (&other.service, &other.text) == (&line.service, &line.text);
        if first.len() < SHOWN && !first.iter().any(same) {
            first.push(line);
        }
    }
    Ok(first)
}

fn of_stream(stream: &Value) -> Vec<Line> {
    let label = |name: &str| stream["stream"][name].as_str().unwrap_or_default();
    let line = |value: &Value| {
        let nanos: i64 = value[0].as_str()?.parse().ok()?;
        let message = value[1].as_str()?;
        // Structured metadata of our own records; others have the error in the message.
        let text = match label("error") {
            "" => message.to_owned(),
            error => format!("{message}: {error}"),
        };
        let id = label("trace_id");
        let hex = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        Some(Line {
            time: DateTime::from_timestamp_nanos(nanos),
            service: quoted(label("service_name"), 60),
            text: quoted(&text, 300),
            trace_id: if hex { id.to_owned() } else { String::new() },
        })
    };
    let values = stream["values"].as_array().into_iter().flatten();
    values.filter_map(line).collect()
}

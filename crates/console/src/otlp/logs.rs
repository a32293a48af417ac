//! A log record as the protocol has it becomes one of ours.

use std::sync::Arc;

use opentelemetry_proto::tonic::logs::v1 as proto;
use serde_json::Value;

use super::values::{MAX_NAME, cut, span_id, trace_id, value};
use crate::clock::now_ns;
use crate::model::{self, Attributes, LogRecord, Resource, Scope};
use crate::store::severity_rank;

/// The attribute with the event's name, as the semantic conventions name it.
const EVENT_NAME: &str = "event.name";

/// The attribute with the sender's own severity text, if the severity comes from its number.
pub(crate) const SEVERITY_TEXT: &str = "log.severity_text";

/// Converts one record; its attributes are passed separately. It accepts a record with damaged ids, because its text is
/// still useful.
pub(super) fn convert(
    resource: &Arc<Resource>,
    scope: &Arc<Scope>,
    log: proto::LogRecord,
    mut attributes: Attributes,
) -> LogRecord {
    let trace_id = trace_id(&log.trace_id);
    let severity_text = cut(log.severity_text, MAX_NAME);
    let (severity, own_word) = severity(log.severity_number, severity_text.clone());
    if let Some(word) = own_word {
        attributes.push(SEVERITY_TEXT, model::Value::Text(&word));
    }
    if !log.event_name.is_empty() {
        let name = cut(log.event_name, MAX_NAME);
        attributes.push(EVENT_NAME, model::Value::Text(&name));
    }
    let body = match value(log.body) {
        Value::Null => String::new(),
        Value::String(text) => text,
        structured => structured.to_string(),
    };
    LogRecord {
        time_ns: time(log.time_unix_nano, log.observed_time_unix_nano),
        resource: resource.clone(),
        scope: scope.clone(),
        observed_ns: log.observed_time_unix_nano,
        severity,
        severity_number: u8::try_from(log.severity_number).unwrap_or_default(),
        severity_text,
        flags: log.flags,
        body,
        attributes,
        trace_id,
        span_id: trace_id.and_then(|_| span_id(&log.span_id)),
    }
}

/// The time of the event, else the time of its observation, else now: a line of 1970 would be sorted last.
fn time(happened: u64, observed: u64) -> u64 {
    let known = [happened, observed].into_iter().find(|time| *time > 0);
    known.unwrap_or_else(now_ns)
}

/// One of the six standard severities, and the sender's own text if that differs. The number decides: the text is the sender's own word for it.
fn severity(number: i32, text: String) -> (String, Option<String>) {
    let word = match number {
        1..=4 => "TRACE",
        5..=8 => "DEBUG",
        9..=12 => "INFO",
        13..=16 => "WARN",
        17..=20 => "ERROR",
        21..=24 => "FATAL",
        _ => "",
    };
    match word {
        "" if severity_rank(&text) > 0 => (text.to_ascii_uppercase(), None),
        "" if text.eq_ignore_ascii_case("warning") => ("WARN".into(), None),
        "" => (text, None),
        _ if text.is_empty() || text.eq_ignore_ascii_case(word) => (word.into(), None),
        _ => (word.into(), Some(text)),
    }
}

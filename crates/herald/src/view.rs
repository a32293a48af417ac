//! An episode as the API shows it.

use serde_json::{Map, Value, json};
use telemetry::redact::redact;

use crate::history::Record;
use crate::notification::{OneAlert, title};
use crate::payload::Status;
use crate::text::{one_line, shortened};

/// Characters of each text in a list.
const MAX_TEXT: usize = 200;

/// A line of the list.
pub(crate) fn summary(record: &Record) -> Value {
    let payload = &record.payload;
    let label = |name| shortened(&one_line(payload.label(name).unwrap_or_default()), MAX_TEXT);
    let delivered: Map<String, Value> = record
        .delivered
        .iter()
        .map(|(target, told)| {
            (
                target.clone(),
                json!({"first": told.first, "last": told.last}),
            )
        })
        .collect();
    json!({
        "id": record.id,
        "state": if record.resolved.is_some() { Status::Resolved } else { Status::Firing },
        "title": title(payload),
        "severity": label("severity"),
        "service": shortened(&one_line(payload.service().unwrap_or_default()), MAX_TEXT),
        "receiver": shortened(&one_line(&payload.receiver), MAX_TEXT),
        "started": payload.started(),
        "accepted": record.accepted,
        "updated": record.updated,
        "resolved": record.resolved,
        "ended": record.ended(),
        "alerts_firing": payload.firing().count(),
        "notifications": record.notifications,
        "delivered": delivered,
        "silenced": record.silenced,
        "acknowledged": acknowledged(record),
        "verdict": record.verdict,
    })
}

/// All fields.
pub(crate) fn whole(record: &Record) -> Value {
    let payload = &record.payload;
    let alerts: Vec<OneAlert<'_>> = payload.alerts.iter().map(OneAlert::new).collect();
    let mut whole = summary(record);
    let more = json!({
        "summary": one_line(payload.annotation("summary").unwrap_or_default()),
        "group_key": redact(&payload.group_key),
        "labels": payload.common_labels,
        "annotations": payload.common_annotations,
        "alerts": alerts,
        "alerts_left_out": payload.truncated_alerts,
        "diagnosis": record.diagnosis,
        "evidence": record.evidence,
    });
    if let (Value::Object(whole), Value::Object(more)) = (&mut whole, more) {
        whole.extend(more);
    }
    whole
}

fn acknowledged(record: &Record) -> Value {
    record.acknowledged.as_ref().map_or(Value::Null, |by| {
        let holds = record.acknowledged_by().is_some();
        json!({"by": by.by, "at": by.at, "note": by.note, "holds": holds})
    })
}

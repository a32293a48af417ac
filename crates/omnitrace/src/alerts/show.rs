//! Prints alerts and silences, one per line. All texts from herald are untrusted.

use serde_json::Value;

use crate::problem::text;
use crate::terminal::quoted;

/// The list.
pub fn alerts(answer: &Value) -> Vec<String> {
    let mut lines: Vec<String> = list(&answer["alerts"]).map(alert).collect();
    if lines.is_empty() {
        lines.push("herald knows of no such alert".to_owned());
    }
    if let Some(more @ 1..) = answer["more"].as_u64() {
        lines.push(format!("… and {more} more: --limit, --state"));
    }
    lines
}

/// One line.
pub fn alert(alert: &Value) -> String {
    let state = match text(&alert["state"]) {
        "firing" => "FIRING",
        other => other,
    };
    let marks: String = [acknowledged(alert), silenced(alert), verdict(alert)]
        .iter()
        .flatten()
        .map(|mark| format!("  [{mark}]"))
        .collect();
    let (id, since, title) = (
        text(&alert["id"]),
        time(&alert["started"]),
        text(&alert["title"]),
    );
    quoted(&format!("{id}  {state:<8}  {since}  {title}{marks}"))
}

fn acknowledged(alert: &Value) -> Option<String> {
    let said = alert["acknowledged"].as_object()?;
    let grown = if said["holds"] == true {
        ""
    } else {
        ", has grown since"
    };
    Some(format!("acknowledged by {}{grown}", text(&said["by"])))
}

fn silenced(alert: &Value) -> Option<String> {
    let said = alert["silenced"].as_object()?;
    Some(format!(
        "silenced by {} until {}",
        text(said.get("by")?),
        time(said.get("until")?)
    ))
}

fn verdict(alert: &Value) -> Option<String> {
    let right = alert["verdict"]["true_alarm"].as_bool()?;
    Some(if right { "true alarm" } else { "false alarm" }.to_owned())
}

/// All fields of one alert.
pub fn whole(answer: &Value) -> Vec<String> {
    let mut lines = vec![alert(answer)];
    let mut add = |name: &str, value: String| {
        if !value.is_empty() {
            lines.push(quoted(&format!("  {name:<13} {value}")));
        }
    };
    add("summary", text(&answer["summary"]).to_owned());
    let diagnosis = &answer["diagnosis"];
    add("first", text(&diagnosis["first_action"]["text"]).to_owned());
    for cause in list(&diagnosis["causes"]) {
        add("cause", place_and_kind(cause));
    }
    add("receiver", text(&answer["receiver"]).to_owned());
    add("accepted", time(&answer["accepted"]));
    add("resolved", time(&answer["resolved"]));
    for (target, told) in answer["delivered"].as_object().into_iter().flatten() {
        add(
            "delivered",
            format!(
                "{target} at {}, last at {}",
                time(&told["first"]),
                time(&told["last"])
            ),
        );
    }
    add("note", text(&answer["acknowledged"]["note"]).to_owned());
    add("comment", text(&answer["silenced"]["comment"]).to_owned());
    for one in list(&answer["alerts"]) {
        add(
            text(&one["status"]),
            format!(
                "since {}  {}",
                time(&one["starts_at"]),
                labels(&one["labels"])
            ),
        );
    }
    for line in list(&answer["evidence"]["log_lines"]) {
        add(
            "log",
            format!("{}: {}", text(&line["service"]), text(&line["text"])),
        );
    }
    for trace in list(&answer["evidence"]["traces"]) {
        add(
            "trace",
            format!(
                "{}  {}",
                text(&trace["trace_id"]),
                text(&trace["operation"])
            ),
        );
    }
    for missing in list(&answer["evidence"]["missing"]) {
        add(
            "missing",
            format!(
                "{}: {}",
                text(&missing["backend"]),
                text(&missing["reason"])
            ),
        );
    }
    lines
}

/// All silences.
pub fn silences(answer: &Value) -> Vec<String> {
    let lines: Vec<String> = list(&answer["silences"]).map(silence).collect();
    match lines.is_empty() {
        true => vec!["nothing is silenced".to_owned()],
        false => lines,
    }
}

/// One line.
pub fn silence(silence: &Value) -> String {
    let matchers: Vec<String> = list(&silence["matchers"]).map(matcher).collect();
    quoted(&format!(
        "{}  from {} until {}  {}  by {}: {}",
        text(&silence["id"]),
        time(&silence["startsAt"]),
        time(&silence["endsAt"]),
        matchers.join(" "),
        text(&silence["by"]),
        text(&silence["comment"]),
    ))
}

fn matcher(matcher: &Value) -> String {
    let equal = matcher["isEqual"] != false;
    let operator = match (matcher["isRegex"] == true, equal) {
        (false, true) => "=",
        (false, false) => "!=",
        (true, true) => "=~",
        (true, false) => "!~",
    };
    format!(
        "{}{operator}{}",
        text(&matcher["name"]),
        text(&matcher["value"])
    )
}

/// `data, postgresql: lock, why`.
fn place_and_kind(cause: &Value) -> String {
    let places = [&cause["service"], &cause["dependency"]].map(text);
    let places: Vec<&str> = places.into_iter().filter(|name| !name.is_empty()).collect();
    let (kind, why) = (text(&cause["kind"]), text(&cause["why"]));
    format!("{}: {kind}, {why}", places.join(", "))
}

fn labels(labels: &Value) -> String {
    let labels = labels.as_object().into_iter().flatten();
    let each: Vec<String> = labels
        .map(|(name, value)| format!("{name}={}", text(value)))
        .collect();
    each.join(" ")
}

/// `2026-11-25 02:00:05 UTC`; empty if the value is not a time.
pub fn time(value: &Value) -> String {
    let time = chrono::DateTime::parse_from_rfc3339(text(value));
    time.map_or_else(
        |_| String::new(),
        |time| time.to_utc().format("%Y-%m-%d %H:%M:%S UTC").to_string(),
    )
}

pub fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

//! The console's own log: one JSON object per line on standard output, like the log of every service.

use std::io::Write;

use chrono::{SecondsFormat, Utc};
use serde_json::{Map, Value, json};

/// Writes a line at level `INFO`.
pub(crate) fn info(message: &str, fields: Value) {
    line("INFO", message, fields);
}

/// Writes a line at level `WARN`.
pub(crate) fn warn(message: &str, fields: Value) {
    line("WARN", message, fields);
}

fn line(level: &str, message: &str, fields: Value) {
    let timestamp = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true);
    let mut line = Map::new();
    for (key, value) in [
        ("timestamp", json!(timestamp)),
        ("level", json!(level)),
        ("target", json!("console")),
        ("message", json!(message)),
    ] {
        line.insert(key.into(), value);
    }
    if let Value::Object(fields) = fields {
        line.extend(fields);
    }
    let mut out = std::io::stdout().lock();
    // The reader of the pipe may have ended; the console continues.
    let _ = writeln!(out, "{}", Value::Object(line)).and_then(|()| out.flush());
}

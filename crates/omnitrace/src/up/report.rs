//! Output of `up`: lines for people, or with `--json` one JSON object per event.

use std::fmt::Display;
use std::path::Path;
use std::time::{Duration, Instant};

use redact::plain;
use serde_json::{Value, json};

use crate::cli::UpArgs;
use crate::terminal::{say_json, say_lines};

/// Says things on stdout, with the time since the start.
pub struct Report {
    json: bool,
    /// Of the names of parts.
    width: usize,
    start: Instant,
}

impl Report {
    /// Time counts from now.
    pub fn new(args: &UpArgs) -> Self {
        Self {
            json: args.json,
            width: if args.standard.standard { 17 } else { 11 },
            start: Instant::now(),
        }
    }

    /// Seconds since the start.
    pub fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// Something that takes a while, or that is worth knowing. `part` is a role, or `up`.
    pub fn progress(&self, part: &str, message: &str) {
        let width = self.width;
        self.say(
            "progress",
            json!({"part": part, "message": message}),
            format_args!("  {part:<width$} {}", plain::one_line(message)),
        );
    }

    /// A part runs.
    pub fn started(&self, part: &str, details: &str, fields: Value) {
        let width = self.width;
        let mut event = json!({"part": part});
        merge(&mut event, fields);
        let seconds = self.seconds();
        self.say(
            "started",
            event,
            format_args!("  {part:<width$} {details}   ({seconds:.1} s)"),
        );
    }

    /// A part has ended by itself, and is started again after `pause`.
    pub fn died(&self, part: &str, how: &str, log: &Path, pause: Duration) {
        let width = self.width;
        let pause = pause.as_secs_f64();
        self.say(
            "died",
            json!({"part": part, "how": how, "restart_in_seconds": pause, "log": log}),
            format_args!(
                "  {part:<width$} {how}; restart in {pause} s, see {}",
                log.display()
            ),
        );
    }

    /// The stack is up and its telemetry visible.
    pub fn ready(&self, text: &str, fields: Value) {
        self.say("ready", fields, text);
    }

    /// Shutting down.
    pub fn stopping(&self, reason: &str) {
        self.say(
            "stopping",
            json!({"reason": reason}),
            format_args!("stopping: {reason}"),
        );
    }

    /// A part has ended, as asked.
    pub fn stopped(&self, part: &str, how: &str, seconds: f64) {
        let width = self.width;
        self.say(
            "stopped",
            json!({"part": part, "how": how, "after_seconds": seconds}),
            format_args!("  {part:<width$} {how} ({seconds:.1} s)"),
        );
    }

    /// Something went wrong. People read it on stderr, at the end.
    pub fn error(&self, message: &str, fields: Value) {
        if self.json {
            let mut event = json!({"message": message});
            merge(&mut event, fields);
            self.say("error", event, "");
        }
    }

    fn say(&self, event: &str, mut fields: Value, text: impl Display) {
        if !self.json {
            return say_lines(&text.to_string());
        }
        fields["event"] = event.into();
        fields["seconds"] = ((self.seconds() * 1000.0).round() / 1000.0).into();
        say_json(&fields);
    }
}

fn merge(event: &mut Value, fields: Value) {
    if let (Value::Object(event), Value::Object(fields)) = (event, fields) {
        event.extend(fields);
    }
}

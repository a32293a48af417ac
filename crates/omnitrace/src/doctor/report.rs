//! Output of the doctor: one line per path, or one JSON object.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use super::args::Places;
use crate::terminal::{quoted, say, say_json};

/// How a path ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The path works.
    Ok,
    /// The path does not work.
    Fail,
    /// The path's backend has no URL.
    Absent,
}

impl State {
    fn text(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Fail => "FAIL",
            Self::Absent => "absent",
        }
    }
}

/// One path.
#[derive(Debug)]
pub struct Row {
    /// The two ends of the path.
    pub path: String,
    /// Whether it does.
    pub state: State,
    /// The observation.
    pub detail: String,
    /// The page to open after a failure, or the option to set if the backend is absent.
    pub hint: String,
    /// How long it took.
    pub seconds: Duration,
}

/// All rows.
pub struct Report {
    json: bool,
    rows: Vec<Row>,
    /// Trace of the probe order.
    pub trace_id: Option<String>,
    /// The time from the order until all its data was visible.
    pub seconds: Duration,
}

impl Report {
    /// An empty one.
    pub fn new(json: bool) -> Self {
        Self {
            json,
            rows: Vec::new(),
            trace_id: None,
            seconds: Duration::ZERO,
        }
    }

    /// Says how a path ended, as soon as it is known.
    pub fn add(&mut self, mut row: Row) {
        row.detail = quoted(&row.detail);
        row.hint = quoted(&row.hint);
        if !self.json {
            say(&line(&row));
        }
        self.rows.push(row);
    }

    /// Prints the object with `--json`.
    pub fn finish(&self) {
        if self.json {
            say_json(&self.as_json());
        }
    }

    /// The last lines for people: the total time, and the page to open.
    pub fn conclude(&self, places: &Places) {
        if self.json {
            return;
        }
        let failed: Vec<&str> = self
            .rows
            .iter()
            .filter(|row| row.state == State::Fail)
            .map(|row| row.path.as_str())
            .collect();
        if !failed.is_empty() {
            say(&format!("failed: {}", failed.join(", ")));
            return;
        }
        let absent = self.rows.iter().any(|row| row.state == State::Absent);
        let which = if absent {
            "all backends given"
        } else {
            "all backends"
        };
        say(&format!(
            "data visible in {which}: {:.1} s",
            self.seconds.as_secs_f64()
        ));
        say(&format!("  gateway      {}", quoted(&places.gateway)));
        for (backend, url) in &places.backends {
            say(&format!("  {:<12} {}", backend.name(), quoted(url)));
        }
    }

    fn as_json(&self) -> serde_json::Value {
        let paths: Vec<_> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "path": row.path,
                    "state": row.state.text().to_lowercase(),
                    "detail": row.detail,
                    "look_at": row.hint,
                    "seconds": rounded(row.seconds),
                })
            })
            .collect();
        json!({
            "healthy": self.healthy(),
            "seconds": rounded(self.seconds),
            "trace_id": self.trace_id,
            "paths": paths,
        })
    }

    fn healthy(&self) -> bool {
        self.rows.iter().all(|row| row.state != State::Fail)
    }

    /// Failure when a path failed.
    pub fn exit_code(&self) -> ExitCode {
        if self.healthy() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

fn line(row: &Row) -> String {
    let (path, detail, hint) = (&row.path, &row.detail, &row.hint);
    let state = row.state.text();
    match row.state {
        State::Ok => format!(
            "{state:<7} {path:<22} {detail} ({:.1} s)",
            row.seconds.as_secs_f64()
        ),
        State::Fail => format!("{state:<7} {path:<22} {detail}; look at: {hint}"),
        State::Absent => format!("{state:<7} {path:<22} {hint} to include it"),
    }
}

fn rounded(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

//! Prints the ledger as a table: all pages, all tickets, then each alert. Names are untrusted.

use serde_json::Value;

use super::show::{list, time};
use crate::problem::text;
use crate::terminal::quoted;

const HEAD: [&str; 10] = [
    "alert",
    "severity",
    "delivered",
    "undelivered",
    "true",
    "false",
    "unjudged",
    "detected",
    "acknowledged",
    "resolved",
];

/// Columns of text; the others are numbers, and end at the same place.
const TEXTS: usize = 2;

/// The whole table.
pub fn table(answer: &Value) -> Vec<String> {
    let is_used = |row: &&Value| row["delivered"] != 0 || row["undelivered"] != 0;
    let severities = list(&answer["severities"]).filter(is_used);
    let rows = severities.chain(list(&answer["alerts"])).map(cells);
    let rows: Vec<[String; 10]> = std::iter::once(HEAD.map(str::to_owned))
        .chain(rows)
        .collect();
    let since = time(&answer["since"]);
    if rows.len() == 1 {
        return vec![format!("herald knows of no alert since {since}")];
    }
    let mut lines = vec![format!(
        "alerts that began since {since}; times are median/p90"
    )];
    lines.extend(rows.iter().map(|row| aligned(row, &rows)));
    if let Some(more @ 1..) = answer["more"].as_u64() {
        lines.push(format!("… and {more} more names"));
    }
    lines
}

fn cells(row: &Value) -> [String; 10] {
    let number = |name: &str| row[name].as_u64().unwrap_or_default().to_string();
    [
        quoted(row["alert"].as_str().unwrap_or("(all)")),
        quoted(text(&row["severity"])),
        number("delivered"),
        number("undelivered"),
        number("true_alarms"),
        number("false_alarms"),
        number("unjudged"),
        times(&row["time_to_detect"]),
        times(&row["time_to_acknowledge"]),
        times(&row["time_to_resolve"]),
    ]
}

/// `12s/1m30s`, or a dash where nothing was measured.
fn times(times: &Value) -> String {
    match (times["median_s"].as_f64(), times["p90_s"].as_f64()) {
        (Some(median), Some(p90)) => format!("{}/{}", shown(median), shown(p90)),
        _ => "-".to_owned(),
    }
}

fn shown(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h{minutes:02}m"),
    }
}

fn aligned(row: &[String; 10], rows: &[[String; 10]]) -> String {
    let cell = |at: usize| {
        let lengths = rows.iter().map(|row| row[at].chars().count());
        let width = lengths.max().unwrap_or_default();
        match at < TEXTS {
            true => format!("{:<width$}", row[at]),
            false => format!("{:>width$}", row[at]),
        }
    };
    let cells: Vec<String> = (0..row.len()).map(cell).collect();
    cells.join("  ")
}

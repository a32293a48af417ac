//! Reports: HTML to look at, Markdown to paste, JSON to compute with.

mod chart;
mod html;
mod markdown;

use std::path::Path;

use anyhow::{Context, Result};

use crate::summary::Summary;

pub use markdown::markdown;

/// Pretty JSON.
pub fn json(summary: &Summary) -> Result<String> {
    Ok(serde_json::to_string_pretty(summary)?)
}

/// Checks before the test that reports can be written after it.
pub fn prepare(directory: &Path) -> Result<()> {
    owned::Directory::make(directory, 0o755)
        .with_context(|| format!("--report-dir {} cannot be made", directory.display()))?;
    owned::try_output(directory)
        .with_context(|| format!("--report-dir {} cannot be written to", directory.display()))
}

/// Writes `report.html`, `report.md` and `report.json`.
pub fn write(directory: &Path, summary: &Summary) -> Result<()> {
    for (name, text) in [
        ("report.html", html::html(summary)),
        ("report.md", markdown(summary)),
        ("report.json", json(summary)?),
    ] {
        let path = directory.join(name);
        owned::write_output(&path, text.as_bytes()).context("--report-dir")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Point;
    use crate::summary::{FailureCount, Load, Quantiles, Route, Times};
    use crate::thresholds::Verdict;

    const HOSTILE: &str = "<script src=https://evil.example/x.js>|`\n\"'&\u{1b}[31m";

    fn hostile() -> Summary {
        let quantiles = Quantiles {
            p95_ms: 12.5,
            ..Quantiles::default()
        };
        let times = Times {
            raw: quantiles,
            corrected: quantiles,
        };
        let text = || HOSTILE.to_owned();
        let point = |at_seconds, rate| Point {
            at_seconds,
            users: 3,
            requests_per_second: rate,
            error_share: 0.0,
            p50_ms: 1.0,
            p95_ms: 2.0,
            p99_ms: 3.0,
        };
        Summary {
            version: text(),
            target: text(),
            load: Load {
                profile: "steady",
                users: 3,
                think_min_ms: 1,
                think_max_ms: 2,
            },
            duration_seconds: 1.0,
            requests: 2,
            failed: 1,
            error_share: 0.5,
            requests_per_second: 2.0,
            times,
            backfilled: 0,
            routes: vec![Route {
                method: text(),
                route: text(),
                requests: 2,
                failed: 1,
                times,
            }],
            counts: Vec::new(),
            failures: vec![FailureCount {
                method: text(),
                route: text(),
                reason: text(),
                count: 1,
            }],
            thresholds: vec![Verdict {
                name: "max-error-share",
                limit: 0.01,
                measured: 0.5,
                held: false,
            }],
            spans_delivered: true,
            timeline: vec![point(1.0, 5.0), point(2.0, 7.0)],
        }
    }

    #[test]
    fn hostile_names_are_text_in_html() {
        let page = html::html(&hostile());
        assert!(
            page.contains("&lt;script src=https://evil.example/x.js&gt;"),
            "{page}"
        );
        for never in ["<script", "src=\"", "href=", "url(", "@import", "\u{1b}"] {
            assert!(!page.contains(never), "{never}\n{page}");
        }
        assert!(page.contains("default-src 'none'") && page.contains("<polyline"));
    }

    #[test]
    fn hostile_names_stay_in_their_cell_in_markdown() {
        let text = markdown(&hostile());
        for line in text.lines().filter(|line| line.contains("evil.example")) {
            assert!(!line.contains("<script"), "{line}");
            assert!(!line.contains('\u{1b}'), "{line}");
        }
        let columns = |line: &str| line.replace("\\|", "").matches('|').count();
        let lines: Vec<&str> = text.lines().collect();
        let header = lines
            .iter()
            .position(|line| line.starts_with("| Method | Route | Requests"))
            .unwrap();
        assert_eq!(columns(lines[header]), columns(lines[header + 2]), "{text}");
    }

    #[test]
    fn json_is_what_was_counted() {
        let value: serde_json::Value = serde_json::from_str(&json(&hostile()).unwrap()).unwrap();
        assert_eq!(value["routes"][0]["route"], HOSTILE);
        assert_eq!(value["times"]["corrected"]["p95_ms"], 12.5);
        assert_eq!(value["thresholds"][0]["held"], false);
    }

    #[test]
    fn a_report_is_not_written_where_a_link_leads() {
        let directory = tempfile::tempdir().unwrap();
        let (into, kept) = (
            directory.path().join("new/reports"),
            directory.path().join("kept"),
        );
        std::fs::write(&kept, "precious").unwrap();
        prepare(&into).unwrap();
        write(&into, &hostile()).unwrap();
        assert_eq!(std::fs::read_dir(&into).unwrap().count(), 3);
        let report = into.join("report.json");
        std::fs::remove_file(&report).unwrap();
        std::os::unix::fs::symlink(&kept, &report).unwrap();
        let error = format!("{:#}", write(&into, &hostile()).unwrap_err());
        assert!(error.contains("report.json is a symbolic link"), "{error}");
        assert!(error.contains("--report-dir"), "{error}");
        assert_eq!(std::fs::read_to_string(&kept).unwrap(), "precious");
    }
}

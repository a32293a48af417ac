//! docs/TELEMETRY.md is held equal to the catalogue. `UPDATE_DOCS=1 cargo test -p telemetry --test docs` rewrites it.

use std::fmt::Write;
use std::path::PathBuf;

use telemetry::names::{ATTRIBUTES, Kind, METRICS, SEMCONV_VERSION, Stability};

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/TELEMETRY.md")
}

fn stability(stability: Stability) -> &'static str {
    match stability {
        Stability::Stable => "stable",
        Stability::Development => "development",
        Stability::Own => "own",
    }
}

fn code_list(items: &[&str]) -> String {
    let items: Vec<String> = items.iter().map(|item| format!("`{item}`")).collect();
    items.join(", ")
}

fn metrics_table() -> String {
    let mut table = "| metric | type | unit | labels | services | stability | meaning |\n|---|---|---|---|---|---|---|\n".to_owned();
    for metric in METRICS {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let services = if metric.services.is_empty() {
            "all".to_owned()
        } else {
            metric.services.join(", ")
        };
        writeln!(
            table,
            "| `{}` | {kind} | `{}` | {} | {services} | {} | {} |",
            metric.name,
            metric.unit,
            code_list(metric.labels),
            stability(metric.stability),
            metric.help
        )
        .unwrap();
    }
    table
}

fn attributes_table() -> String {
    let mut table = "| attribute | stability | meaning |\n|---|---|---|\n".to_owned();
    for attribute in ATTRIBUTES {
        writeln!(
            table,
            "| `{}` | {} | {} |",
            attribute.name,
            stability(attribute.stability),
            attribute.help
        )
        .unwrap();
    }
    table
}

/// Replaces what stands between `<!-- begin NAME -->` and `<!-- end NAME -->`.
fn fill(document: &str, name: &str, content: &str) -> String {
    let (begin, end) = (
        format!("<!-- begin {name} -->\n"),
        format!("<!-- end {name} -->"),
    );
    let start = document
        .find(&begin)
        .unwrap_or_else(|| panic!("docs/TELEMETRY.md has no {begin}"))
        + begin.len();
    let stop = document[start..]
        .find(&end)
        .unwrap_or_else(|| panic!("docs/TELEMETRY.md has no {end}"))
        + start;
    format!("{}{content}{}", &document[..start], &document[stop..])
}

#[test]
fn the_document_agrees_with_the_catalogue() {
    let document = std::fs::read_to_string(path()).expect("docs/TELEMETRY.md");
    let filled = fill(&document, "metrics", &metrics_table());
    let filled = fill(&filled, "attributes", &attributes_table());
    let filled = fill(
        &filled,
        "semconv",
        &format!("Semantic conventions: {SEMCONV_VERSION}\n"),
    );
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path(), &filled).expect("docs/TELEMETRY.md is writable");
        return;
    }
    assert!(
        document == filled,
        "docs/TELEMETRY.md is out of date: run `just docs`"
    );
}

#[test]
fn names_are_well_formed() {
    let mut names: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
    for metric in METRICS {
        assert_eq!(
            metric.kind == Kind::Counter,
            metric.name.ends_with("_total"),
            "{}",
            metric.name
        );
        assert_eq!(
            metric.kind == Kind::Histogram,
            !metric.buckets.is_empty(),
            "{}",
            metric.name
        );
        assert!(metric.buckets.is_sorted(), "{}", metric.name);
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), METRICS.len(), "a metric is listed twice");
    assert!(
        ATTRIBUTES.is_sorted_by_key(|attribute| attribute.name),
        "attributes are not in alphabetical order"
    );
}

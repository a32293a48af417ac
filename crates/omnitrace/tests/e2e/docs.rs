//! docs/TELEMETRY.md is held equal to what is declared. `UPDATE_DOCS=1 cargo test -p omnitrace --test e2e docs::` rewrites it.

use std::fmt::Write;

use telemetry::Metric;
use telemetry::metric::Stability;
use telemetry::names::{ATTRIBUTES, SEMCONV_VERSION};

use crate::declared::OWNERS;
use crate::harness::repository;

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

fn metrics_tables() -> String {
    let tables = OWNERS.map(|(owner, metrics)| format!("### {owner}\n\n{}", table(metrics)));
    tables.join("\n")
}

fn table(metrics: &[Metric]) -> String {
    let mut table =
        "| metric | type | unit | labels | stability | meaning |\n|---|---|---|---|---|---|\n"
            .to_owned();
    for metric in metrics {
        writeln!(
            table,
            "| `{}` | {} | `{}` | {} | {} | {} |",
            metric.name,
            metric.kind.as_str(),
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
fn the_document_agrees_with_what_is_declared() {
    let path = repository("docs/TELEMETRY.md");
    let document = std::fs::read_to_string(&path).expect("docs/TELEMETRY.md");
    let filled = fill(&document, "metrics", &metrics_tables());
    let filled = fill(&filled, "attributes", &attributes_table());
    let filled = fill(
        &filled,
        "semconv",
        &format!("Semantic conventions: {SEMCONV_VERSION}\n"),
    );
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &filled).expect("docs/TELEMETRY.md is writable");
        return;
    }
    assert!(
        document == filled,
        "docs/TELEMETRY.md is out of date: run `just docs`"
    );
}

#[test]
fn attributes_are_in_alphabetical_order() {
    assert!(ATTRIBUTES.is_sorted_by_key(|attribute| attribute.name));
}

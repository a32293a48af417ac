//! Every LogQL expression in the repository, wherever it stands.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::catalogue::dashboards::ANY;
use crate::catalogue::{Dashboard, Expression, Language, source_expressions};
use crate::harness::repository;

/// An expression and its file.
pub struct Found {
    pub file: String,
    pub text: String,
}

/// `{service_name="`, also escaped and with doubled braces; PromQL has a name in front of the brace, or `__name__` in it.
static SELECTOR: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?:^|[^\w$}{])\{\{?\s*(?:service|deployment)_\w+\s*(?:=~|!~|!=|=)\s*\\?["`]"#)
        .expect("a pattern")
});
/// String literals of Rust: raw ones, and others.
static LITERAL: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r##"r#"(?s:.*?)"#|"(?:[^"\\]|\\(?s:.))*""##).expect("a pattern"));
static CODE_SPAN: LazyLock<Regex> = LazyLock::new(|| Regex::new("`([^`\n]+)`").expect("a pattern"));
static BRACES: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\{[^{}\n]*\}").expect("a pattern"));
static CONTINUED: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\\\n\s*").expect("a pattern"));
static PLACEHOLDER: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\{\{|\}\}|\{[^{}]*\}").expect("a pattern"));

/// Where expressions may stand.
const DIRECTORIES: [&str; 7] = [
    "alerts",
    "crates/herald",
    "crates/omnitrace",
    "dashboards",
    "deploy",
    "docs",
    "loadtest",
];

/// A test sends it to be refused.
const BROKEN: &str = "{service_name=\"data\" | x";

/// This test's own tables hold bad expressions too.
const OWN: &str = "crates/omnitrace/tests/e2e/logql/";

/// All of them. A file that has a selector, but no expression that was found in it, is an error: it would not be checked.
pub fn every_expression() -> Vec<Found> {
    let mut all = Vec::new();
    for dashboard in Dashboard::all() {
        let file = format!("dashboards/{}", dashboard.file);
        let service = dashboard.service();
        add(&mut all, &file, dashboard.expressions(), &service);
    }
    let file = "deploy/grafana/provisioning/datasources/datasources.yaml";
    add(&mut all, file, source_expressions(), ANY);
    let mut with_selector = BTreeSet::new();
    for (file, text) in files() {
        if SELECTOR.is_match(&text) {
            with_selector.insert(file.clone());
        }
        let texts = match file.rsplit_once('.') {
            Some((_, "rs")) => of_rust(&text),
            Some((_, "md")) => of_markdown(&text),
            Some((_, "json")) => Vec::new(),
            _ => of_text(&text),
        };
        all.extend(texts.into_iter().map(|text| Found {
            file: file.clone(),
            text,
        }));
    }
    let found: BTreeSet<&String> = all.iter().map(|found| &found.file).collect();
    let missed: Vec<&String> = with_selector
        .iter()
        .filter(|file| !found.contains(file))
        .collect();
    assert!(missed.is_empty(), "no LogQL was read from {missed:?}");
    for place in [
        "dashboards/service.json",
        file,
        "crates/herald/src/evidence/logs.rs",
        "crates/omnitrace/src/doctor/paths.rs",
        "docs/runbooks/LogStorm.md",
    ] {
        assert!(found.contains(&place.to_owned()), "no LogQL in {place}");
    }
    all.retain(|found| found.text != BROKEN);
    all
}

fn add(all: &mut Vec<Found>, file: &str, expressions: Vec<Expression>, service: &str) {
    let own = expressions
        .into_iter()
        .filter(|expression| expression.language == Language::LogQl);
    all.extend(own.map(|expression| Found {
        file: file.to_owned(),
        text: expression.runnable(service),
    }));
}

/// Text files with their paths.
fn files() -> Vec<(String, String)> {
    let root = repository("");
    let mut files = Vec::new();
    for directory in DIRECTORIES {
        walk(&root.join(directory), &mut |path| {
            let name = path
                .strip_prefix(&root)
                .expect("inside")
                .display()
                .to_string();
            if let Ok(text) = std::fs::read_to_string(path)
                && !name.starts_with(OWN)
            {
                files.push((name, text));
            }
        });
    }
    files
}

fn walk(directory: &Path, visit: &mut impl FnMut(&Path)) {
    let entries = std::fs::read_dir(directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    for entry in entries {
        let path = entry.expect("an entry").path();
        // The Helm chart's links lead to files that are read where they are.
        if path.is_symlink() {
            continue;
        }
        let name = path.file_name().unwrap_or_default();
        if path.is_dir() && name != "node_modules" && name != "generated" {
            walk(&path, visit);
        } else if path.is_file() {
            visit(&path);
        }
    }
}

/// Selectors in comments and the like; labels of PromQL look the same.
fn of_text(text: &str) -> Vec<String> {
    let selectors = BRACES.find_iter(text).filter(|found| {
        // What stands before the brace tells PromQL.
        let before = text[..found.start()].char_indices().next_back();
        let start = before.map_or(0, |(at, _)| at);
        SELECTOR.is_match(&text[start..found.end()])
    });
    selectors.map(|found| found.as_str().to_owned()).collect()
}

/// String literals that hold a selector; of a format string the placeholders are filled in.
fn of_rust(text: &str) -> Vec<String> {
    let literals = LITERAL.find_iter(text).map(|found| found.as_str());
    let with_selector = literals.filter(|literal| SELECTOR.is_match(literal));
    with_selector.map(written).collect()
}

/// What a literal stands for.
fn written(literal: &str) -> String {
    let text = match literal.strip_prefix("r#\"") {
        Some(raw) => raw.trim_end_matches("\"#").to_owned(),
        None => CONTINUED
            .replace_all(&literal[1..literal.len() - 1], "")
            .replace("\\\"", "\"")
            .replace("\\\\", "\\"),
    };
    if !text.contains("{{") {
        return text;
    }
    let filled = |found: &Captures<'_>| match &found[0] {
        "{{" => "{",
        "}}" => "}",
        "{filter}" => "x=\"x\"",
        _ => "x",
    };
    PLACEHOLDER.replace_all(&text, filled).into_owned()
}

/// Lines of code blocks that are marked as LogQL, and code inside of sentences that is a selector or begins with one.
fn of_markdown(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut language = None;
    for line in text.lines() {
        let line = line.trim();
        match (line.strip_prefix("```"), language) {
            (Some(_), Some(_)) => language = None,
            (Some(named), None) => language = Some(named),
            (None, Some("logql")) if !line.is_empty() => found.push(line.to_owned()),
            (None, Some(_)) => {}
            (None, None) => found.extend(
                CODE_SPAN
                    .captures_iter(line)
                    .map(|code| code[1].to_owned())
                    .filter(|code| code.starts_with('{') && SELECTOR.is_match(code)),
            ),
        }
    }
    found
}

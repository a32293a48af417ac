//! Rules as YAML that people can read and compare.

use std::fmt::Write;

/// A group of rules that are evaluated together, in order.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub name: String,
    pub interval: String,
    pub rules: Vec<Rule>,
}

/// A recording rule or an alert.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    /// `record` or `alert`.
    pub kind: &'static str,
    pub name: String,
    pub expr: String,
    pub lasts: Option<String>,
    pub labels: Vec<(&'static str, String)>,
    pub annotations: Vec<(&'static str, String)>,
}

impl Rule {
    pub fn record(name: impl Into<String>, expr: impl Into<String>) -> Self {
        Self {
            kind: "record",
            name: name.into(),
            expr: expr.into(),
            lasts: None,
            labels: Vec::new(),
            annotations: Vec::new(),
        }
    }

    pub fn label(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.labels.push((name, value.into()));
        self
    }
}

/// The file.
pub(crate) fn file(comment: &str, groups: &[Group]) -> String {
    let mut out = String::new();
    for line in comment.lines() {
        out.push_str(format!("# {line}").trim_end());
        out.push('\n');
    }
    out.push_str("groups:\n");
    let mut shared = None;
    for group in groups {
        let Group { name, interval, .. } = group;
        let _ = writeln!(
            out,
            "  - name: {name}\n    interval: {interval}\n    rules:"
        );
        for rule in &group.rules {
            write_rule(&mut out, rule, &mut shared);
        }
    }
    out
}

/// The text with this name is long, and the same in every alert that has it: the first gives it a name (`&release`), by which the others
/// repeat it (`*release`).
const SHARED: &str = "release";

fn write_rule<'a>(out: &mut String, rule: &'a Rule, shared: &mut Option<&'a str>) {
    let _ = writeln!(out, "      - {}: {}", rule.kind, rule.name);
    write_text(out, 8, "expr:", &rule.expr);
    if let Some(lasts) = &rule.lasts {
        let _ = writeln!(out, "        for: {lasts}");
    }
    for (key, pairs) in [("labels", &rule.labels), ("annotations", &rule.annotations)] {
        if !pairs.is_empty() {
            let _ = writeln!(out, "        {key}:");
        }
        for (name, value) in pairs {
            match *name {
                SHARED if *shared == Some(value) => {
                    let _ = writeln!(out, "          {name}: *{name}");
                }
                SHARED => {
                    *shared = Some(value);
                    write_text(out, 10, &format!("{name}: &{name}"), value);
                }
                _ => write_text(out, 10, &format!("{name}:"), value),
            }
        }
    }
}

/// A short line in quotes, several as a block, and what a block cannot hold as JSON.
fn write_text(out: &mut String, indent: usize, key: &str, value: &str) {
    let pad = " ".repeat(indent);
    let hidden = |c: char| c.is_control() && c != '\n' || "\u{feff}\u{2028}\u{2029}".contains(c);
    if value.contains(hidden) || value.starts_with(char::is_whitespace) || value.ends_with('\n') {
        // JSON is YAML; what it leaves as it is, YAML may not.
        let quoted = serde_json::Value::from(value.replace(hidden, " "));
        let _ = writeln!(out, "{pad}{key} {quoted}");
        return;
    }
    if !value.contains(['\n', '\'']) {
        let _ = writeln!(out, "{pad}{key} '{value}'");
        return;
    }
    let _ = writeln!(out, "{pad}{key} |-");
    for line in value.lines() {
        let _ = writeln!(out, "{}", format!("{pad}  {line}").trim_end());
    }
}

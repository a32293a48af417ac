//! The same rules for the OpenTelemetry Collector, whose engine is Go's.
//!
//! Texts are cleaned by statements of its transform language (OTTL), which keep what stands around a secret but look at
//! text only. What they leave, lists, maps and keys that tell, goes to its redaction processor.

use crate::rules::{self, Rule};

/// What stands where a secret was, in the collector.
pub const MARK: &str = "****";

/// Parts key and value of what a rule keeps, so that its pattern no longer matches: Go's engine cannot look ahead.
/// It is an escape of expressions and of the language's own strings.
const APART: &str = r"\x1a";

/// What runs over the attributes of any context, in order.
pub fn statements() -> Vec<String> {
    let mut statements = Vec::new();
    let mut last_kept = None;
    for Rule { find, with, keep } in all() {
        if keep.is_some() && keep != last_kept {
            let apart = format!("${{1}}{APART}${{2}}");
            statements.extend(keep.as_deref().map(|keep| replace(keep, &apart)));
            last_kept = keep;
        }
        statements.push(replace(&find, &with.replace(crate::MARK, MARK)));
    }
    // A text like this is no list; see below.
    statements.push(replace(r"^([\[{])", &format!("{APART}${{1}}")));
    statements
}

/// Undoes what [`statements`] put in.
pub fn rejoin() -> String {
    replace(APART, "")
}

/// Lists and maps with a secret in them, as JSON.
pub fn lists() -> Vec<String> {
    let list = |rule: Rule| format!(r"^[\[{{](?s:.*)(?:{})(?s:.*)$", rule.find);
    all().into_iter().map(list).collect()
}

fn all() -> Vec<Rule> {
    let mut all = rules::words();
    all.extend([rules::email(), rules::collector_cards()]);
    all
}

fn replace(pattern: &str, with: &str) -> String {
    let pattern = pattern.replace('\\', r"\\").replace('"', "\\\"");
    format!("replace_all_patterns(attributes, \"value\", \"{pattern}\", \"{with}\")")
}

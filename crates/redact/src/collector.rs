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

/// Not `String(attributes)`, which fails for a map with a number in it that JSON has not.
const ALL_TEXT: &str =
    r#"set(cache["all"], ToLowerCase(ToKeyValueString(attributes, ":", " ", false)))"#;

/// What runs over the attributes of any context, in order. Most of it only where all attributes together hold a hint.
pub fn statements() -> Vec<String> {
    let mut statements = vec![ALL_TEXT.to_owned()];
    let mut last_kept = None;
    for Rule {
        find,
        with,
        keep,
        hints,
    } in all()
    {
        let condition = condition(hints);
        if keep.is_some() && keep != last_kept {
            let apart = format!("${{1}}{APART}${{2}}");
            let guard = keep
                .as_deref()
                .map(|keep| replace(keep, &apart) + &condition);
            statements.extend(guard);
            last_kept = keep;
        }
        let with = with.replace(crate::MARK, MARK);
        statements.push(replace(&find, &with) + &condition);
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
pub fn list() -> String {
    let finds: Vec<String> = all()
        .iter()
        .map(|rule| format!("(?:{})", rule.find))
        .collect();
    format!(r"^[\[{{](?s:.*)(?:{})(?s:.*)$", finds.join("|"))
}

fn all() -> Vec<Rule> {
    let mut all = rules::words();
    all.extend([rules::email(), rules::collector_cards()]);
    all
}

fn condition(hints: &[&str]) -> String {
    let is_there =
        |hint: &&str| format!(r#"IsMatch(cache["all"], {})"#, quoted(&regex::escape(hint)));
    let any: Vec<String> = hints.iter().map(is_there).collect();
    match any.is_empty() {
        true => String::new(),
        // Without the text nobody knows; then everything runs.
        false => format!(r#" where cache["all"] == nil or {}"#, any.join(" or ")),
    }
}

fn replace(pattern: &str, with: &str) -> String {
    format!(
        "replace_all_patterns(attributes, \"value\", {}, \"{with}\")",
        quoted(pattern)
    )
}

fn quoted(pattern: &str) -> String {
    format!("\"{}\"", pattern.replace('\\', r"\\").replace('"', "\\\""))
}

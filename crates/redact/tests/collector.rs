//! The collector runs the rules of this crate, in Go's engine: `deploy/collector/collector.yaml` holds them between
//! comments. `UPDATE_DOCS=1 cargo test -p redact` writes them there.
//!
//! Texts are cleaned by statements of the collector's transform language (OTTL), which keep what stands around a secret
//! but look at text only. What they leave, lists, maps and keys that tell, goes to its redaction processor.

use std::path::Path;

use redact::rules::{self, Rule};

/// Replaces a secret in the collector.
const MARK: &str = "****";

/// Separates key and value of a match that a rule keeps, so that the pattern no longer matches: Go's engine has no
/// look-ahead. It is an escape both in expressions and in the language's strings.
const APART: &str = r"\x1a";

/// Not `String(attributes)`, which fails for a map with a number in it that JSON has not.
const ALL_TEXT: &str =
    r#"set(cache["all"], ToLowerCase(ToKeyValueString(attributes, ":", " ", false)))"#;

/// The statements for the attributes of any context, in order. Most of them run only if the attributes together contain a
/// hint.
fn statements() -> Vec<String> {
    let mut statements = vec![ALL_TEXT.to_owned()];
    let (mut last_kept, mut asked) = (None, Vec::new());
    for Rule {
        find,
        with,
        keep,
        hints,
    } in all()
    {
        let condition = hinted(hints, &mut asked, &mut statements);
        if keep.is_some() && keep != last_kept {
            let apart = format!("${{1}}{APART}${{2}}");
            let guard = keep
                .as_deref()
                .map(|keep| replace(keep, &apart) + &condition);
            statements.extend(guard);
            last_kept = keep;
        }
        let with = with.replace(redact::MARK, MARK);
        statements.push(replace(&find, &with) + &condition);
    }
    // A text in this form is not a list; see below.
    statements.push(replace(r"^([\[{])", &format!("{APART}${{1}}")));
    statements
}

/// Undoes what [`statements`] put in.
fn rejoin() -> String {
    replace(APART, "")
}

/// Lists and maps with a secret in them, as JSON.
fn list() -> String {
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

/// Tests hints that several rules share only once, before the first of these rules, which saves most of a clean span's cost.
fn hinted(hints: &[&str], asked: &mut Vec<String>, statements: &mut Vec<String>) -> String {
    if hints.is_empty() {
        return String::new();
    }
    let condition = condition(hints);
    let known = asked.iter().position(|before| *before == condition);
    let index = known.unwrap_or_else(|| {
        let index = asked.len();
        statements.push(format!(r#"set(cache["hint{index}"], true){condition}"#));
        asked.push(condition);
        index
    });
    format!(r#" where cache["hint{index}"] == true"#)
}

fn condition(hints: &[&str]) -> String {
    let is_there =
        |hint: &&str| format!(r#"IsMatch(cache["all"], {})"#, quoted(&regex::escape(hint)));
    let any: Vec<String> = hints.iter().map(is_there).collect();
    // Without the text the hints are unknown, so everything runs.
    format!(r#" where cache["all"] == nil or {}"#, any.join(" or "))
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

const END: &str = "# End of what crates/redact writes.";

/// Replaces the lines between the comment that begins with `begin` and the end by the items, as YAML; the collector reads
/// `$$` as `$`.
fn filled(text: &str, begin: &str, items: &[String]) -> String {
    let (before, rest) = text.split_once(begin).expect(begin);
    let (comment, rest) = rest.split_once('\n').expect("the comment's end");
    let (old, after) = rest.split_once(END).expect(END);
    let indent = old.rsplit('\n').next().unwrap_or_default();
    let item = |text: &String| {
        format!(
            "{indent}- '{}'\n",
            text.replace('\'', "''").replace('$', "$$")
        )
    };
    let new: String = items.iter().map(item).collect();
    format!("{before}{begin}{comment}\n{new}{indent}{END}{after}")
}

#[test]
fn the_collector_runs_the_same_rules() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/collector/collector.yaml");
    let text = std::fs::read_to_string(&path).expect("collector.yaml");
    let wanted = filled(&text, "# Secrets in texts:", &statements());
    let wanted = filled(&wanted, "# Secrets in lists:", &[list()]);
    // Go's engine tries every position of a key unless the pattern begins at its start, which takes a third of the time.
    let key = format!("^(?s:.*){}", rules::secret_key());
    let wanted = filled(&wanted, "# Keys that tell:", &[key]);
    let wanted = filled(&wanted, "# Parts again:", &[rejoin()]);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &wanted).expect("to write collector.yaml");
    } else {
        let way_out = "UPDATE_DOCS=1 cargo test -p redact brings it up to date";
        assert!(text == wanted, "{}: {way_out}", path.display());
    }
}

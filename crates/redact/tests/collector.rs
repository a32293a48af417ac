//! The collector runs the rules of this crate: `deploy/collector/collector.yaml` holds them between comments.
//! `UPDATE_DOCS=1 cargo test -p redact` writes them there.

use std::path::Path;

use redact::{collector, rules};

const END: &str = "# End of what crates/redact writes.";

/// What stands between the comment that begins so and the end: the items, as YAML; the collector reads `$$` as `$`.
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
    let wanted = filled(&text, "# Secrets in texts:", &collector::statements());
    let wanted = filled(&wanted, "# Secrets in lists:", &[collector::list()]);
    let wanted = filled(&wanted, "# Keys that tell:", &[rules::secret_key()]);
    let wanted = filled(&wanted, "# Parts again:", &[collector::rejoin()]);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &wanted).expect("to write collector.yaml");
    } else {
        let way_out = "UPDATE_DOCS=1 cargo test -p redact brings it up to date";
        assert!(text == wanted, "{}: {way_out}", path.display());
    }
}

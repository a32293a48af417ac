//! Parses `# TYPE`, `# UNIT` and `# HELP`.

use redact::redact;

use super::{Cursor, Format, unescaped};
use crate::metadata::Described;
use crate::otlp::cut_copy;

/// The most lines about metrics that are read of one page.
const MAX_LINES: usize = 30_000;

/// The longest text that is kept.
const MAX_TEXT: usize = 1 << 10;

/// Types, as Prometheus knows them.
const KINDS: [&str; 7] = [
    "counter",
    "gauge",
    "histogram",
    "gaugehistogram",
    "summary",
    "info",
    "stateset",
];

/// Passes each metric and its metadata to the caller. It skips a line that it cannot read. Both formats require that the
/// lines about one metric stand together.
pub(crate) fn described(page: &str, format: Format, each: &mut dyn FnMut(String, Described)) {
    let mut current: Option<(String, Described)> = None;
    for (word, name, text) in page.lines().filter_map(comment).take(MAX_LINES) {
        let is_new = current.as_ref().is_none_or(|(known, _)| *known != name);
        if is_new {
            hand_out(current.take(), format, each);
        }
        let (_, described) = current.get_or_insert_with(|| (name, Described::default()));
        match word {
            "TYPE" => described.kind = kind(text.trim()),
            "UNIT" => described.unit = cut_copy(text.trim(), MAX_TEXT),
            _ => described.help = cut_copy(&unescaped(text), MAX_TEXT),
        }
    }
    hand_out(current, format, each);
}

/// The word, the metric's name, and what stands behind it.
fn comment(line: &str) -> Option<(&str, String, &str)> {
    let mut rest = Cursor(line.trim_start().strip_prefix('#')?, Format::Prometheus);
    rest.skip_blanks();
    let (word, after) = rest.0.split_once([' ', '\t'])?;
    if !["TYPE", "UNIT", "HELP"].contains(&word) {
        return None;
    }
    rest.0 = after;
    rest.skip_blanks();
    let name = match rest.0.starts_with('"') {
        true => redact(&rest.quoted().ok()?).into_owned(),
        false => rest.name(true).ok()?.to_owned(),
    };
    rest.skip_blanks();
    Some((word, name, rest.0))
}

/// Uses the name of the series: OpenMetrics writes the metadata without the suffix that a type adds to the name.
fn hand_out(
    found: Option<(String, Described)>,
    format: Format,
    each: &mut dyn FnMut(String, Described),
) {
    let Some((mut name, described)) = found else {
        return;
    };
    if format == Format::OpenMetrics {
        name.push_str(match described.kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        });
    }
    each(name, described);
}

fn kind(text: &str) -> &'static str {
    let known = KINDS.into_iter().find(|kind| *kind == text);
    known.unwrap_or("unknown")
}

/// Whether OpenMetrics allows what stands behind the `#` of a line: `HELP name text`, `TYPE name type` or `UNIT name unit`.
pub(super) fn check(comment: &str) -> Result<(), &'static str> {
    const FORM: &str =
        "only # HELP, # TYPE and # UNIT with a name and a text, and # EOF, may begin with #";
    let comment = comment.strip_prefix(' ').ok_or(FORM)?;
    let (keyword, rest) = comment.split_once(' ').ok_or(FORM)?;
    let mut rest = Cursor(rest, Format::OpenMetrics);
    let name = match rest.0.starts_with('"') {
        true => rest.quoted()?,
        false => rest.name(true)?.to_owned(),
    };
    if !rest.take(' ') {
        return Err(FORM);
    }
    let text = rest.0;
    match keyword {
        "HELP" => Ok(()),
        "TYPE" if text == "unknown" || KINDS.contains(&text) => Ok(()),
        "TYPE" => Err("the type is unknown to OpenMetrics"),
        "UNIT" if text.is_empty() || is_unit_of(&name, text) => Ok(()),
        "UNIT" => Err("the name does not end with its unit"),
        _ => Err(FORM),
    }
}

fn is_unit_of(name: &str, unit: &str) -> bool {
    name.strip_suffix(unit)
        .is_some_and(|before| before.ends_with('_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(page: &str, format: Format) -> Vec<(String, &'static str, String, String)> {
        let mut found = Vec::new();
        described(page, format, &mut |name, one| {
            found.push((name, one.kind, one.unit, one.help));
        });
        found
    }

    fn one(
        name: &str,
        kind: &'static str,
        unit: &str,
        help: &str,
    ) -> (String, &'static str, String, String) {
        (name.to_owned(), kind, unit.to_owned(), help.to_owned())
    }

    #[test]
    fn both_formats_name_a_counter_as_its_series() {
        let text = "# HELP a_total How\\\\ many\\n\\\"a\\\".\n# TYPE a_total counter\na_total 1\n#TYPE up gauge\nup 1\n";
        let of_text = [
            one("a_total", "counter", "", "How\\ many\n\"a\"."),
            one("up", "gauge", "", ""),
        ];
        assert_eq!(read(text, Format::Prometheus), of_text);
        let open = "# TYPE a_seconds counter\n# UNIT a_seconds seconds\n# HELP a_seconds Time.\na_seconds_total 1\n\
                    # TYPE build info\n# TYPE h histogram\n# HELP h 'tis\n# EOF\n";
        let of_open = [
            one("a_seconds_total", "counter", "seconds", "Time."),
            one("build_info", "info", "", ""),
            one("h", "histogram", "", "'tis"),
        ];
        assert_eq!(read(open, Format::OpenMetrics), of_open);
    }

    #[test]
    fn nonsense_is_left_out_and_what_is_long_or_secret_does_not_stay() {
        let long = format!("# HELP long {}", "é".repeat(100_000));
        let page = format!(
            "# TYPE\n# TYPE 1a gauge\n# HELP \"a\n# note TYPE b gauge\n# TYPE \"net.http\" flag\n# HELP mail of ada@example.com\n{long}"
        );
        let found = read(&page, Format::Prometheus);
        let names: Vec<&str> = found.iter().map(|one| one.0.as_str()).collect();
        assert_eq!(names, ["net.http", "mail", "long"]);
        assert_eq!(found[0].1, "unknown");
        assert!(!found[1].3.contains("ada@example.com"), "{}", found[1].3);
        assert!(found[2].3.len() < 1_100, "{}", found[2].3.len());
    }
}

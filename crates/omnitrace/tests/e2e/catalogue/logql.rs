//! Label names in LogQL. The vendor's grammar (`just test-logql`) and the console (`stack_expressions`) judge the rest; this finds
//! the names, in the part of the language that the dashboards use.

use std::sync::LazyLock;

use regex::Regex;

use super::known::{Known, Labels};

static STRING: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#""(?:[^"\\]|\\.)*"|`[^`]*`"#).expect("a pattern"));
/// `label="…"`, `label!~"…"`, `label > 5`.
static MATCHER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"([A-Za-z_]\w*)\s*(?:=~|!~|!=|==|>=|<=|=|>|<)").expect("a pattern")
});
static GROUPING: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\b(by|without)\s*\(([^)]*)\)").expect("a pattern"));
/// `| json`: a stage that makes labels of its own.
static STAGE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\|\s*([A-Za-z_]\w*)\s*(?:$|[^\s=!<>\w]|\s[^=!<>])").expect("a pattern")
});

/// Labels of the result, or the first name that does not exist.
pub fn labels_of(known: &Known, text: &str) -> Result<Labels, String> {
    let bare = STRING.replace_all(text, "\"\"");
    if !bare.contains('{') {
        return Err("no stream selector".to_owned());
    }
    if let Some(stage) = STAGE.captures(&bare) {
        return Err(format!(
            "the stage {:?} makes labels that are in no list",
            &stage[1]
        ));
    }
    let grouped: Vec<&str> = GROUPING
        .captures_iter(&bare)
        .flat_map(|found| found.extract::<2>().1[1].split(','))
        .map(str::trim)
        .collect();
    let matched = MATCHER
        .captures_iter(&bare)
        .map(|found| found.extract::<1>().1[0]);
    for label in matched.chain(grouped.iter().copied()) {
        if !known.log_labels.contains(label) {
            return Err(format!(
                "label {label:?} is not in log_labels of dashboards/third-party.toml"
            ));
        }
    }
    Ok(match grouped.is_empty() {
        true => known.log_labels.clone(),
        false => grouped.into_iter().map(str::to_owned).collect(),
    })
}

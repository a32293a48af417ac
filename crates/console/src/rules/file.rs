//! A file of rules in Prometheus's format, checked.

use std::collections::{BTreeMap, BTreeSet};

use promql::Expression;
use serde::Deserialize;
use slo::duration;

use super::template::Template;

/// The rules that ship.
pub(super) const SHIPPED: (&str, &str) = (
    "alerts/rules/demo.yml",
    include_str!("../../../../alerts/rules/demo.yml"),
);

/// The largest file.
pub(super) const MAX_FILE: u64 = 4 << 20;

/// The maximum number of rules, because each is evaluated once per interval.
const MAX_RULES: usize = 2_000;

/// The interval of a group without one, which is the default of Prometheus's `evaluation_interval`.
const INTERVAL_MS: i64 = 60_000;

/// Rules that are evaluated together, one after the other.
#[derive(Debug)]
pub(super) struct Group {
    pub name: String,
    pub interval_ms: i64,
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Debug)]
pub(super) struct Rule {
    /// The name of the metric or the alert.
    pub name: String,
    pub query: String,
    pub expression: Expression,
    /// The use of the result.
    pub kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// Stored as a metric, with additional labels.
    Record(BTreeMap<String, String>),
    Alert(Alerting),
}

/// Each series of the result is an alert.
#[derive(Debug)]
pub(super) struct Alerting {
    /// The alert is pending for this long.
    pub for_ms: i64,
    /// The alert fires for this long after its condition has ended.
    pub keep_firing_for_ms: i64,
    pub labels: Vec<(String, Template)>,
    pub annotations: Vec<(String, Template)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    groups: Vec<RawGroup>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGroup {
    name: String,
    interval: Option<String>,
    #[serde(default)]
    rules: Vec<RawRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    record: Option<String>,
    alert: Option<String>,
    expr: String,
    #[serde(rename = "for")]
    lasts: Option<String>,
    keep_firing_for: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// Reads the text of a file.
///
/// # Errors
/// The first thing that is wrong or not covered: line, or group and rule.
pub(super) fn parse(text: &str) -> Result<Vec<Group>, String> {
    let file: RawFile = serde_saphyr::from_str(text).map_err(|why| why.to_string())?;
    let count: usize = file.groups.iter().map(|group| group.rules.len()).sum();
    if count > MAX_RULES {
        return Err(format!("{count} rules are more than {MAX_RULES}"));
    }
    let mut names = BTreeSet::new();
    let mut groups = Vec::new();
    for raw in file.groups {
        if raw.name.is_empty() || !names.insert(raw.name.clone()) {
            return Err(format!(
                "group {:?}: a name that is empty or not the only one of its kind",
                raw.name
            ));
        }
        groups.push(group(raw)?);
    }
    Ok(groups)
}

fn group(raw: RawGroup) -> Result<Group, String> {
    let named = |why: String| format!("group {:?}: {why}", raw.name);
    let interval = raw.interval.as_deref().map(|text| length("interval", text));
    let interval_ms = interval.transpose().map_err(&named)?;
    let mut rules = Vec::new();
    for (number, raw) in raw.rules.into_iter().enumerate() {
        let name = raw.alert.clone().or(raw.record.clone()).unwrap_or_default();
        let rule = rule(raw).map_err(|why| format!("rule {} {name:?}: {why}", number + 1));
        rules.push(rule.map_err(&named)?);
    }
    let interval_ms = interval_ms.unwrap_or(INTERVAL_MS);
    if interval_ms < 1_000 {
        return Err(named("`interval` is shorter than 1s".to_owned()));
    }
    Ok(Group {
        name: raw.name,
        interval_ms,
        rules,
    })
}

fn rule(raw: RawRule) -> Result<Rule, String> {
    let expression = promql::parse(&raw.expr).map_err(|why| format!("`expr`: {why}"))?;
    let names = raw.labels.keys();
    if let Some(name) = names
        .chain(raw.annotations.keys())
        .find(|name| !is_name(name))
    {
        return Err(format!("{name:?} is no name of a label"));
    }
    let (name, kind) = match (raw.record, raw.alert) {
        (Some(name), None) => {
            let is_alerting = raw.lasts.is_some() || raw.keep_firing_for.is_some();
            if is_alerting || !raw.annotations.is_empty() {
                return Err("`for`, `keep_firing_for` and `annotations` are for alerts".to_owned());
            }
            if !is_name(&name.replace(':', "_")) {
                return Err("`record` is no name of a metric".to_owned());
            }
            (name, Kind::Record(raw.labels))
        }
        (None, Some(name)) if !name.is_empty() => {
            let time = |key, text: Option<String>| text.map_or(Ok(0), |text| length(key, &text));
            let alerting = Alerting {
                for_ms: time("for", raw.lasts)?,
                keep_firing_for_ms: time("keep_firing_for", raw.keep_firing_for)?,
                labels: templates(raw.labels)?,
                annotations: templates(raw.annotations)?,
            };
            (name, Kind::Alert(alerting))
        }
        _ => return Err("expected either `record` or `alert`, with a name".to_owned()),
    };
    Ok(Rule {
        name,
        query: raw.expr,
        expression,
        kind,
    })
}

fn templates(texts: BTreeMap<String, String>) -> Result<Vec<(String, Template)>, String> {
    let parsed = texts.into_iter().map(|(name, text)| {
        let template = Template::parse(&text).map_err(|why| format!("`{name}`: {why}"))?;
        Ok((name, template))
    });
    parsed.collect()
}

/// A length of time in milliseconds.
fn length(key: &str, text: &str) -> Result<i64, String> {
    let nanoseconds = duration::parse_long(text).map_err(|why| format!("`{key}`: {why}"))?;
    Ok(i64::try_from(nanoseconds / 1_000_000).unwrap_or(i64::MAX))
}

fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_that_ship_are_covered() {
        let groups = parse(SHIPPED.1).unwrap_or_else(|why| panic!("{why}"));
        let alerts = |group: &Group| {
            let is_alert = |rule: &&Rule| matches!(rule.kind, Kind::Alert(_));
            group.rules.iter().filter(is_alert).count()
        };
        let rules: usize = groups.iter().map(|group| group.rules.len()).sum();
        assert_eq!(
            (groups[0].name.as_str(), groups[0].interval_ms),
            ("slo", 5_000)
        );
        assert!(rules > 70 && groups.iter().map(alerts).sum::<usize>() > 20);
    }

    #[test]
    fn a_bad_file_is_explained() {
        let rule = |text: &str| format!("groups: [{{name: g, rules: [{{{text}}}]}}]");
        for (text, named) in [
            ("groups: 5", "line 1"),
            ("groups:\n  - name: g\n    rulez: []", "rulez"),
            ("groups: [{name: g}, {name: g}]", "\"g\""),
            (
                "groups: [{name: g, interval: soon}]",
                "group \"g\": `interval`",
            ),
            ("groups: [{name: g, interval: 10ms}]", "shorter than 1s"),
            (
                &rule("record: a, expr: 'sum('"),
                "group \"g\": rule 1 \"a\": `expr`: not PromQL",
            ),
            (
                &rule("record: a, expr: 'histogram_avg(x)'"),
                "histogram_avg",
            ),
            (&rule("record: a-b, expr: x"), "no name of a metric"),
            (
                &rule("record: a, alert: b, expr: x"),
                "either `record` or `alert`",
            ),
            (&rule("expr: x"), "either `record` or `alert`"),
            (&rule("record: a, expr: x, for: 5s"), "for alerts"),
            (&rule("alert: a, expr: x, for: ever"), "`for`"),
            (&rule("alert: a, expr: x, limit: 5"), "limit"),
            (&rule("alert: a, expr: x, labels: {a-b: c}"), "\"a-b\""),
            (
                &rule("alert: a, expr: x, annotations: {summary: '{{ reReplaceAll 1 }}'}"),
                "rule 1 \"a\": `summary`: the function reReplaceAll is not covered",
            ),
        ] {
            let why = parse(text).expect_err(text);
            assert!(why.contains(named), "{text}: {why}");
        }
    }
}

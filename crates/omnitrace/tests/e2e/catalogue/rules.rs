//! `alerts/rules/*.yml`: the rules' expressions, and those inside the texts of notifications.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::dashboards::{Dashboard, Expression, Language};
use crate::harness::{list, repository};

/// A recording rule.
pub struct Recorded {
    pub name: String,
    pub expression: String,
    pub labels: Vec<String>,
}

/// What a template asks Prometheus: in backticks, `%q` for a label's value, or quoted after `query`.
static QUERY: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"`([^`]+)`|query "([^"]+)""#).expect("a pattern"));

/// Every rule with the file that it is from. No file is an error: the check would be void.
fn rules() -> Vec<(String, Value)> {
    let directory = repository("alerts/rules");
    let mut rules = Vec::new();
    for entry in std::fs::read_dir(&directory).expect("alerts/rules") {
        let path = entry.expect("an entry").path();
        let file = format!("alerts/rules/{}", path.file_name().unwrap().display());
        let text = std::fs::read_to_string(&path).expect("a file of rules");
        let parsed: Value =
            serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
        let groups = list(&parsed["groups"]);
        assert!(!groups.is_empty(), "{file} has no group");
        for rule in groups.iter().flat_map(|group| list(&group["rules"])) {
            rules.push((file.clone(), rule));
        }
    }
    assert!(!rules.is_empty(), "no rule in {}", directory.display());
    rules
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Every recording rule of every profile.
pub fn recorded() -> Vec<Recorded> {
    let keys = |value: &Value| -> Vec<String> {
        let map = value.as_object();
        map.map(|labels| labels.keys().cloned().collect())
            .unwrap_or_default()
    };
    rules()
        .iter()
        .filter(|(_, rule)| rule["record"].is_string())
        .map(|(_, rule)| Recorded {
            name: text(&rule["record"]),
            expression: text(&rule["expr"]),
            labels: keys(&rule["labels"]),
        })
        .collect()
}

/// Every expression of every rule.
pub fn rule_expressions() -> Vec<Expression> {
    let mut found = Vec::new();
    for (file, rule) in rules() {
        let name = text(&rule["record"]) + &text(&rule["alert"]);
        let mut add = |place: &str, text: &str| {
            found.push(Expression::new(
                format!("{file}: {name}{place}"),
                Language::PromQl,
                &text.replace("%q", "\"x\""),
            ));
        };
        add("", &text(&rule["expr"]));
        for (key, annotation) in rule["annotations"].as_object().into_iter().flatten() {
            let annotation = text(annotation);
            for query in QUERY.captures_iter(&annotation) {
                let query = query.get(1).or(query.get(2)).expect("one of the two");
                add(&format!(", {key}"), query.as_str());
            }
        }
    }
    found
}

#[test]
fn every_alert_leads_to_a_dashboard_that_exists() {
    let dashboards = Dashboard::all();
    let mut seen = 0;
    for (file, rule) in rules() {
        let Some(alert) = rule["alert"].as_str() else {
            continue;
        };
        let url = text(&rule["annotations"]["dashboard_url"]);
        let uid = url.split("/d/").nth(1).unwrap_or_default();
        let uid = uid.split(['?', '/']).next().unwrap_or_default();
        assert!(
            dashboards.iter().any(|dashboard| dashboard.uid() == uid),
            "{file}: {alert} leads to {url:?}, there is no dashboard {uid:?}"
        );
        seen += 1;
    }
    assert!(seen > 0, "no alert in alerts/rules");
}

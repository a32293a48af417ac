//! Whatever this project asks of Prometheus is something that `crates/promql` evaluates.

use ::promql::{Error, Limits, Select, Selected, Source, Steps};
use serde_json::Value;

use super::dashboards::ANY;
use super::{Dashboard, Language, rule_expressions, source_expressions};
use crate::harness::{Captured, repository};

struct Empty;

impl Source for Empty {
    fn select(&self, _: &Select<'_>) -> Result<Vec<Selected>, Error> {
        Ok(Vec::new())
    }
}

/// An instant query and a range query, of which the source has nothing.
fn evaluate(text: &str) -> Result<(), Error> {
    let expression = ::promql::parse(text)?;
    let limits = Limits::default();
    ::promql::instant(&expression, &Empty, 0, &limits)?;
    let steps = Steps {
        start_ms: 0,
        end_ms: 60_000,
        step_ms: 15_000,
    };
    ::promql::range(&expression, &Empty, steps, &limits).map(drop)
}

/// Asserts that each is evaluated, and that there are as many as expected at least.
#[track_caller]
pub fn assert_evaluated(texts: impl IntoIterator<Item = String>, least: usize) {
    let texts: Vec<String> = texts.into_iter().collect();
    let refused = texts.iter().filter_map(|text| {
        let why = evaluate(text).err()?;
        Some(format!("{text}\n    {why}"))
    });
    assert_eq!(refused.collect::<Vec<_>>(), Vec::<String>::new());
    assert!(texts.len() >= least, "only {}: {texts:#?}", texts.len());
}

/// What was asked at Prometheus's API for queries.
pub fn asked(requests: &[Captured]) -> Vec<String> {
    let queries = requests
        .iter()
        .filter(|request| {
            request.target.starts_with("/api/v1/query?")
                || request.target.starts_with("/api/v1/query_range?")
        })
        .filter_map(|request| {
            let url = url::Url::parse(&format!("http://x{}", request.target)).expect("a URL");
            let query = url.query_pairs().find(|(name, _)| name == "query");
            query.map(|(_, query)| query.into_owned())
        });
    queries.collect()
}

#[test]
fn every_expression_of_dashboards_rules_and_data_sources_is_evaluated() {
    let mut expressions = rule_expressions();
    expressions.extend(source_expressions());
    expressions.extend(Dashboard::all().iter().flat_map(Dashboard::expressions));
    let in_promql = expressions
        .iter()
        .filter(|expression| expression.language == Language::PromQl);
    assert_evaluated(in_promql.map(|expression| expression.runnable(ANY)), 200);
}

#[test]
fn every_expression_of_the_tests_of_rules_is_evaluated() {
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(repository("alerts/tests")).expect("alerts/tests") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("a test");
        let parsed: Value = serde_saphyr::from_str(&text).expect("YAML");
        expressions_in(&parsed, &mut texts);
    }
    assert_evaluated(texts, 20);
}

/// Every text of a field `expr`, however deep.
pub fn expressions_in(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| expressions_in(item, found)),
        Value::Object(fields) => {
            found.extend(
                fields
                    .get("expr")
                    .and_then(Value::as_str)
                    .map(str::to_owned),
            );
            fields
                .values()
                .for_each(|value| expressions_in(value, found));
        }
        _ => {}
    }
}

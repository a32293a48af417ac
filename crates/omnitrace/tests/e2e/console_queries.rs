//! What the dashboards, the rules and the console's pages ask, asked of the console of `omnitrace up`.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::catalogue::{Dashboard, Expression, Language, rule_expressions};
use crate::harness::{Directory, Up, database, eventually, http, list, repository};
use crate::stack_expressions::has_been_through_an_alert;

/// What finds nothing here: metrics of programs that `up` does not start, what rules record, alerts, and what there is only in trouble or after a
/// while.
const ABSENT: [&str; 14] = [
    "alertmanager_",
    "grafana_",
    "jaeger",
    "loadtest_",
    "loki_",
    "otelcol_",
    "pg_",
    "prometheus_",
    "traces_",
    "release:",
    "slo:",
    "ALERTS",
    "fault_active",
    // Which release is new.
    "offset",
];

/// Asks by a form, as Grafana does.
async fn ask(console: &str, path: &str, parameters: &[(&str, &str)]) -> Value {
    let url = format!("{console}/api/v1/{path}");
    let form = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(parameters)
        .finish();
    let request = http()
        .post(url)
        .body(form)
        .header("content-type", "application/x-www-form-urlencoded");
    let answer = request.send().await.expect("an answer");
    answer.json().await.expect("JSON")
}

/// What an expression finds now and over the last minutes; the console must answer both.
async fn found(console: &str, text: &str) -> Vec<Value> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("a time after 1970").as_secs();
    let (start, end) = ((now - 300).to_string(), now.to_string());
    let range = [
        ("query", text),
        ("start", &start),
        ("end", &end),
        ("step", "15s"),
    ];
    let mut all = Vec::new();
    for (path, parameters) in [("query", &range[..1]), ("query_range", &range)] {
        let answer = ask(console, path, parameters).await;
        assert_eq!(answer["status"], "success", "{path} {text}: {answer}");
        all.extend(list(&answer["data"]["result"]));
    }
    all
}

/// Each text once, and whether it must find something.
fn expressions() -> BTreeMap<String, bool> {
    let rules = rule_expressions().into_iter();
    let rules = rules
        .filter(|expression| expression.place.starts_with("alerts/rules/demo.yml"))
        .map(|expression| (expression.text, false));
    let is_present = |expression: &Expression| {
        !expression.linked && !ABSENT.iter().any(|name| expression.text.contains(name))
    };
    let dashboards = Dashboard::all();
    let of_dashboards = dashboards.iter().flat_map(|dashboard| {
        let service = dashboard.service();
        let all = dashboard.expressions().into_iter();
        all.filter(|expression| expression.language == Language::PromQl)
            .map(move |expression| (expression.runnable(&service), is_present(&expression)))
    });
    rules.chain(of_dashboards).chain(of_pages()).collect()
}

/// Those of the console's pages, which stand in backticks, and for whom they are asked: data calls a service and a database.
fn of_pages() -> Vec<(String, bool)> {
    let file = repository("crates/console/src/web/queries.js");
    let text = std::fs::read_to_string(file).expect("the queries");
    let expression = regex::Regex::new(": `([^`]+)`,").expect("a pattern");
    let all = expression.captures_iter(&text).map(|found| {
        let text = found[1].replace("$service", "\"data\"");
        let text = text.replace("$window", "1m");
        let trouble = ["outcome=\"error\"", "error_type!=", "slo:", "ALERTS"];
        let is_present = !trouble.iter().any(|word| text.contains(word));
        (text, is_present)
    });
    let all: Vec<_> = all.collect();
    let written = text.lines().filter(|line| line.contains("`,")).count();
    assert!(
        all.len() > 40 && all.len() == written,
        "{} of {written}",
        all.len()
    );
    all
}

#[tokio::test]
async fn every_expression_of_rules_dashboards_and_pages_is_answered_by_the_console() {
    let mut up = Up::start_with(Directory::new(), &database().await, |command| {
        command.args(["--load", "20"])
    })
    .await;
    let ready = up.ready().await;
    let console = ready["console_url"].as_str().expect("a URL").to_owned();
    let herald = up.started("herald").await["url"].clone();
    let herald = herald.as_str().expect("a URL");
    has_been_through_an_alert(herald.trim_start_matches("http://")).await;
    let expressions = expressions();
    let (present, others): (Vec<_>, Vec<_>) = expressions.iter().partition(|(_, must)| **must);
    assert!(
        present.len() > 40 && others.len() > 200,
        "{} and {}",
        present.len(),
        others.len()
    );
    for (text, _) in present {
        eventually(text, async || found(&console, text).await.pop()).await;
    }
    for (text, _) in others {
        found(&console, text).await;
    }
    up.stop().await;
}

//! What the dashboards and the rules ask, asked of the console of `omnitrace up`.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::catalogue::{Dashboard, Expression, Language, rule_expressions};
use crate::harness::{Directory, Up, database, eventually, http, list};

/// What must find something on a stack that runs for a while with some load, by dashboard: panels about parts that do not run here find nothing.
const FOUND: [(&str, usize); 3] = [("overview.json", 5), ("service.json", 10), ("slo.json", 1)];

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
        ("step", "5s"),
    ];
    let mut all = Vec::new();
    for (path, parameters) in [("query", &range[..1]), ("query_range", &range)] {
        let answer = ask(console, path, parameters).await;
        assert_eq!(answer["status"], "success", "{path} {text}: {answer}");
        all.extend(list(&answer["data"]["result"]));
    }
    all
}

fn expressions() -> Vec<(String, Expression)> {
    let of_rules = rule_expressions().into_iter();
    let rules = of_rules.map(|expression| ("gateway".to_owned(), expression));
    let of_dashboards = Dashboard::all().into_iter().flat_map(|dashboard| {
        let service = dashboard.service();
        let all = dashboard.expressions().into_iter();
        all.map(move |expression| (service.clone(), expression))
    });
    let all = rules.chain(of_dashboards);
    all.filter(|(_, expression)| expression.language == Language::PromQl)
        .collect()
}

#[tokio::test]
async fn every_expression_of_rules_and_dashboards_is_answered_by_the_console() {
    let mut up = Up::start_with(Directory::new(), &database().await, |command| {
        command.args(["--load", "20"])
    })
    .await;
    let ready = up.ready().await;
    let console = ready["console_url"].as_str().expect("a URL").to_owned();
    eventually("a rate of requests", async || {
        let rate = "sum(rate(http_server_request_duration_seconds_count[20s])) > 1";
        let answer = ask(&console, "query", &[("query", rate)]).await;
        list(&answer["data"]["result"]).pop()
    })
    .await;

    let expressions = expressions();
    assert!(expressions.len() > 300, "only {}", expressions.len());
    let mut places = BTreeSet::new();
    for (service, expression) in &expressions {
        let text = expression.runnable(service);
        let any = !found(&console, &text).await.is_empty();
        println!("{any} {} {text}", expression.place);
        if any {
            places.insert(expression.place.clone());
        }
    }
    for (file, least) in FOUND {
        let count = places.iter().filter(|place| place.contains(file)).count();
        assert!(count >= least, "{file}: {count} in {places:#?}");
    }
    up.stop().await;
}

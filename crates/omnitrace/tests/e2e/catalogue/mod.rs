//! Every expression of the dashboards, the rules and the data sources uses names that exist, and the dashboards are
//! whole. Needs no program: whether the expressions also find something is shown by `stack_expressions`.

pub mod dashboards;
pub mod evaluated;
mod known;
mod logql;
mod promql;
mod rules;
mod sources;
mod structure;

pub use dashboards::{Dashboard, Expression, Language};
pub use known::Known;
pub use promql::names_of;
pub use rules::rule_expressions;
pub use sources::expressions as source_expressions;

/// What is wrong with an expression; `Ok` has the labels of its result.
pub fn check(known: &Known, expression: &Expression) -> Result<known::Labels, String> {
    let text = expression.runnable(dashboards::ANY);
    let result = match expression.language {
        Language::PromQl => promql::labels_of(known, &text),
        Language::LogQl => logql::labels_of(known, &text),
    };
    result.map_err(|why| format!("{}: {why}\n    {}", expression.place, expression.text))
}

fn offenders(known: &Known, expressions: &[Expression]) -> Vec<String> {
    expressions
        .iter()
        .filter_map(|expression| {
            let labels = match check(known, expression) {
                Ok(labels) => labels,
                Err(why) => return Some(why),
            };
            let shown = expression.shown_labels();
            let missing = shown.iter().find(|label| !labels.contains(*label))?;
            Some(format!(
                "{}: shows the label {missing:?}, the result has {labels:?}",
                expression.place
            ))
        })
        .collect()
}

#[test]
fn every_expression_of_the_dashboards_uses_known_names() {
    let known = Known::read();
    for dashboard in Dashboard::all() {
        let expressions = dashboard.expressions();
        assert!(!expressions.is_empty(), "{}", dashboard.file);
        let wrong = offenders(&known, &expressions);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

#[test]
fn every_expression_of_the_rules_uses_known_names() {
    let expressions = rule_expressions();
    assert!(!expressions.is_empty(), "no expression in alerts/rules");
    let wrong = offenders(&Known::read(), &expressions);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_expression_of_the_data_sources_uses_known_names() {
    let expressions = sources::expressions();
    assert!(expressions.len() >= 2, "trace to logs, trace to metrics");
    let wrong = offenders(&Known::read(), &expressions);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A list that grows and never shrinks would one day allow what nobody has.
#[test]
fn every_third_party_metric_is_used() {
    let mut texts: Vec<Expression> = Dashboard::all()
        .iter()
        .flat_map(Dashboard::expressions)
        .collect();
    texts.extend(rule_expressions());
    let known = Known::read();
    let used: std::collections::BTreeSet<String> = texts
        .iter()
        .filter(|expression| expression.language == Language::PromQl)
        .flat_map(|expression| promql::names_of(&known, &expression.runnable(dashboards::ANY)))
        .collect();
    let unused: Vec<&String> = known
        .third_party()
        .filter(|name| !used.contains(*name))
        .collect();
    assert!(
        unused.is_empty(),
        "dashboards/third-party.toml lists what nothing uses: {unused:?}"
    );
}

#[test]
fn a_wrong_name_or_label_is_found() {
    let known = Known::read();
    let wrong = [
        (
            "http_server_request_duration_second_count",
            "no owner declares",
        ),
        ("http_server_request_duration_seconds", "no owner declares"),
        ("up{jobs=\"services\"}", "label \"jobs\""),
        (
            "sum by (route) (http_server_request_duration_seconds_count)",
            "label \"route\"",
        ),
        (
            "sum by (le) (http_server_request_duration_seconds_count)",
            "label \"le\"",
        ),
        ("sum by (job) (sum by (instance) (up))", "label \"job\""),
        (
            "up * on (service_name) build_info",
            "label \"service_name\"",
        ),
        (
            "up * on (job) group_left (version, colour) build_info",
            "label \"colour\"",
        ),
        (
            "label_replace(up, \"x\", \"$1\", \"source\", \"(.*)\")",
            "label \"source\"",
        ),
        ("{__name__=~\"otelcol_nothing.*\"}", "no owner declares"),
        ("{colour=\"red\"}", "no owner declares"),
        ("sum by (job (up)", "not PromQL"),
    ];
    for (text, why) in wrong {
        let error = promql::labels_of(&known, text).expect_err(text);
        assert!(error.contains(why), "{text}: {error}");
    }
    for (text, why) in [
        ("{service=\"data\"}", "label \"service\""),
        (
            "{service_name=\"data\"} | traceid=\"x\"",
            "label \"traceid\"",
        ),
        (
            "sum by (service) (rate({service_name=\"data\"}[1m]))",
            "label \"service\"",
        ),
        ("{service_name=\"data\"} | json", "stage"),
        ("rate(service_name[1m])", "no stream selector"),
    ] {
        let error = logql::labels_of(&known, text).expect_err(text);
        assert!(error.contains(why), "{text}: {error}");
    }
}

//! Pieces of PromQL.

use crate::objective::{Indicator, Names, Objective, Scope};
use crate::{REQUESTS, Time};

/// What an indicator is kept apart by.
pub(crate) const BY: &str = "service_name, http_route";

/// A label value inside double quotes.
pub(crate) fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A regular expression that matches exactly these values, inside double quotes.
pub(crate) fn any_of<'a>(values: impl IntoIterator<Item = &'a str>) -> String {
    let escaped: Vec<String> = values.into_iter().map(escaped).collect();
    quoted(&escaped.join("|"))
}

fn escaped(value: &str) -> String {
    let mut text = String::new();
    for c in value.chars() {
        if "\\.+*?()|[]{}^$".contains(c) {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

/// Matchers of a scope, without braces.
pub(crate) fn matchers(scope: &Scope) -> String {
    let mut matchers = Vec::new();
    match &scope.services {
        Names::Only(name) => matchers.push(format!("service_name={}", quoted(name))),
        Names::AllBut(others) if others.is_empty() => {}
        Names::AllBut(others) => {
            let others = any_of(others.iter().map(String::as_str));
            matchers.push(format!("service_name!~{others}"));
        }
    }
    matchers.push(match &scope.routes {
        Names::Only(name) => format!("http_route={}", quoted(name)),
        Names::AllBut(others) if others.is_empty() => "http_route!=\"\"".to_owned(),
        Names::AllBut(others) => {
            let others = std::iter::once("").chain(others.iter().map(String::as_str));
            format!("http_route!~{}", any_of(others))
        }
    });
    matchers.join(",")
}

/// Values of `le` that mean this bound: Prometheus 3 writes `1.0`, Prometheus 2 what the service wrote.
pub(crate) fn le(seconds: f64) -> String {
    match seconds.fract() == 0.0 {
        true => format!("le=~\"{seconds}(\\\\.0)?\""),
        false => format!("le=\"{seconds}\""),
    }
}

/// Sum of `rate` or `increase` of the requests that an objective is about.
pub(crate) fn all(objective: &Objective, function: &str, window: Time) -> String {
    let outcome = match objective.indicator {
        Indicator::Availability => "outcome=~\"ok|error\"",
        Indicator::Latency { .. } => "outcome=\"ok\"",
    };
    sum(objective, function, "_count", outcome, window)
}

/// The same, of those that were bad.
pub(crate) fn bad(objective: &Objective, function: &str, window: Time) -> String {
    match objective.indicator {
        Indicator::Availability => sum(objective, function, "_count", "outcome=\"error\"", window),
        Indicator::Latency { seconds } => {
            let within = format!("outcome=\"ok\",{}", le(seconds));
            format!(
                "(\n{}\n  -\n{}\n)",
                indented(&all(objective, function, window)),
                indented(&sum(objective, function, "_bucket", &within, window))
            )
        }
    }
}

fn sum(objective: &Objective, function: &str, part: &str, more: &str, window: Time) -> String {
    let scope = matchers(&objective.scope);
    format!("sum by ({BY}) ({function}({REQUESTS}{part}{{{scope},{more}}}[{window}]))")
}

/// Two spaces before every line.
pub(crate) fn indented(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("  {line}")).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_matched_exactly() {
        let scope = Scope {
            services: Names::AllBut(vec!["a.b".into()]),
            routes: Names::AllBut(vec!["/x/{id}".into()]),
        };
        assert_eq!(
            matchers(&scope),
            r#"service_name!~"a\\.b",http_route!~"|/x/\\{id\\}""#
        );
        assert_eq!(le(0.25), "le=\"0.25\"");
        assert_eq!(le(1.0), r#"le=~"1(\\.0)?""#);
    }
}

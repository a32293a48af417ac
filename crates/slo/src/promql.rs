//! Pieces of PromQL.

use crate::objective::{Names, Scope};

/// What an indicator is kept apart by.
pub(crate) const BY: &str = "service_name, http_route";

/// A text inside double quotes, as PromQL and Go have it: whatever is in it, it cannot end the string.
pub fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            character if character.is_ascii_control() => {
                out.push_str(&format!("\\x{:02x}", u32::from(character)));
            }
            character => out.push(character),
        }
    }
    out.push('"');
    out
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
    }
}

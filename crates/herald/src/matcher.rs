//! The matchers of a silence, as in Alertmanager.

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::payload::{Labels, Payload};

/// The maximum length of a name or a value, in characters.
const MAX_TEXT: usize = 1000;

/// The maximum memory of a compiled expression, and the same again for matching, in bytes.
const MAX_REGEX: usize = 64 << 10;

/// No label has these values. An expression that matches one of them, or nothing at all, matches anything.
const ANYTHING: [&str; 3] = ["", "unlikely7value", "/~ unlikely é"];

/// A matcher as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Text {
    name: String,
    value: String,
    #[serde(default)]
    is_regex: bool,
    #[serde(default = "yes")]
    is_equal: bool,
}

fn yes() -> bool {
    true
}

/// A matcher that can be used.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Text", into = "Text")]
pub(crate) struct Matcher {
    text: Text,
    regex: Option<Regex>,
}

impl TryFrom<Text> for Matcher {
    /// What is allowed.
    type Error = String;

    fn try_from(text: Text) -> Result<Self, String> {
        if text.name.is_empty()
            || [&text.name, &text.value]
                .iter()
                .any(|t| t.chars().count() > MAX_TEXT)
        {
            return Err(format!(
                "allowed: a name of 1 to {MAX_TEXT} characters, and a value of as many"
            ));
        }
        let regex = match text.is_regex {
            true => Some(compiled(&text.value)?),
            false => None,
        };
        Ok(Self { text, regex })
    }
}

impl From<Matcher> for Text {
    fn from(matcher: Matcher) -> Self {
        matcher.text
    }
}

/// The whole value has to match, as in Alertmanager.
fn compiled(pattern: &str) -> Result<Regex, String> {
    // Compiles the pattern alone first: `a)|(b` is invalid.
    let build = |pattern: &str| {
        RegexBuilder::new(pattern)
            .size_limit(MAX_REGEX)
            .dfa_size_limit(MAX_REGEX)
            .build()
    };
    build(pattern)
        .and_then(|_| build(&format!("^(?s:{pattern})$")))
        .map_err(|_| {
            format!("allowed: a regular expression that takes {MAX_REGEX} bytes at most; write [0-9] for \\d and [a-z0-9_] for \\w")
        })
}

impl Matcher {
    /// A label that is absent has an empty value.
    fn takes(&self, value: &str) -> bool {
        let same = match &self.regex {
            Some(regex) => regex.is_match(value),
            None => self.text.value == value,
        };
        same == self.text.is_equal
    }

    /// Returns `false` in doubt.
    fn takes_label_of(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.text.name).map_or("", String::as_str);
        bounded::is_as_sent(labels, &self.text.name) && self.takes(value)
    }

    /// Whether it leaves most alerts alone.
    pub(crate) fn chooses(&self) -> bool {
        !ANYTHING.iter().any(|value| self.takes(value))
    }
}

/// Whether every alert of a group that fires is meant by one of these lists. Of alerts that were left out only what all of the
/// group share is known.
pub(crate) fn cover(silences: &[&[Matcher]], payload: &Payload) -> bool {
    let one_takes = |labels: &Labels| silences.iter().any(|matchers| take(matchers, labels));
    silences
        .iter()
        .any(|matchers| take_group(matchers, payload))
        || (payload.truncated_alerts == 0 && payload.firing().all(|alert| one_takes(&alert.labels)))
}

/// Whether a list means the alert that leads its group.
pub(crate) fn concern(matchers: &[Matcher], payload: &Payload) -> bool {
    take_group(matchers, payload) || take(matchers, &payload.lead().labels)
}

fn take(matchers: &[Matcher], labels: &Labels) -> bool {
    matchers
        .iter()
        .all(|matcher| matcher.takes_label_of(labels))
}

/// Matches the labels that all alerts of the group share.
fn take_group(matchers: &[Matcher], payload: &Payload) -> bool {
    let shared = |matcher: &Matcher| payload.common_labels.contains_key(&matcher.text.name);
    matchers.iter().all(shared) && take(matchers, &payload.common_labels)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::payload::tests::{example, read};

    fn matcher(name: &str, value: &str, is_regex: bool, is_equal: bool) -> Result<Matcher, String> {
        let (name, value) = (name.to_owned(), value.to_owned());
        Matcher::try_from(Text {
            name,
            value,
            is_regex,
            is_equal,
        })
    }

    #[test]
    fn the_whole_value_has_to_match() {
        for (value, pattern, takes) in [
            ("gateway", "gate", false),
            ("gateway", "gate.*", true),
            ("gateway", "data|gateway", true),
            ("gateways", "data|gateway", false),
            ("a\nb", "a.b", true),
            ("", "x?", true),
        ] {
            let matcher = matcher("service", pattern, true, true).unwrap();
            assert_eq!(matcher.takes(value), takes, "{value:?} {pattern}");
        }
    }

    #[test]
    fn usual_expressions_are_small_enough() {
        for pattern in [
            "[0-9]+",
            "\\d+",
            "\\w+",
            "(?i)latency.*",
            "/api/(data|orders)(/[^/]+)?",
        ] {
            assert!(matcher("route", pattern, true, true).is_ok(), "{pattern}");
        }
        for pattern in ["(", "a)|(b", "(?:\\w{50}){50}", "(?x) a # "] {
            assert!(matcher("route", pattern, true, true).is_err(), "{pattern}");
        }
    }

    #[test]
    fn a_group_is_covered_by_several_silences_and_by_what_its_alerts_share() {
        let mut payload = example();
        let mut other = payload["alerts"][0].clone();
        other["labels"]["route"] = "/api/orders".into();
        payload["alerts"].as_array_mut().unwrap().push(other);
        let route = |value: &str| [matcher("route", value, false, true).unwrap()];
        let (data, orders) = (route("/api/data"), route("/api/orders"));
        let both = read(&payload).unwrap();
        assert!(!cover(&[&data], &both) && cover(&[&data, &orders], &both));
        let shared = [matcher("service", "gateway", false, true).unwrap()];
        let absent = [matcher("cluster", "x", false, false).unwrap()];
        assert!(cover(&[&shared], &both) && cover(&[&absent], &both));
        payload["truncatedAlerts"] = json!(1);
        let cut = read(&payload).unwrap();
        assert!(cover(&[&shared], &cut), "all of them share it");
        assert!(!cover(&[&data, &orders], &cut) && !cover(&[&absent], &cut));
        assert!(!cover(&[], &both));
    }

    #[test]
    fn what_was_left_out_of_an_alert_covers_nothing() {
        let not = |name: &str, value: &str| [matcher(name, value, false, false).unwrap()];
        let mut payload = example();
        let mut covered = |name: &str, value: &str, by: &[Matcher]| {
            payload["alerts"][0]["labels"][name] = value.into();
            cover(&[by], &read(&payload).unwrap())
        };
        let test = not("zone", "prod");
        assert!(covered("zone", "test", &test) && !covered("zone", "prod", &test));
        let ends = [matcher("long", ".*prod", true, false).unwrap()];
        assert!(covered("long", "test", &ends));
        let long = "x".repeat(3000) + "prod";
        assert!(!covered("long", &long, &ends), "its end was cut off");
        for index in 0..70 {
            covered(&format!("a{index}"), "", &test);
        }
        assert!(!covered("zone", "prod", &test), "it was dropped");
        assert!(covered("zone", "prod", &not("team", "x")), "it is not");
    }
}

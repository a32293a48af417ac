use regex::{Regex, RegexBuilder};

use crate::{Error, Labels};

/// Bytes that the compiled regular expressions of one expression may take together.
const REGEX_SIZE: usize = 4 << 20;

/// One condition of a selector: `name="value"`, `!=`, `=~` or `!~`.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// The label; `__name__` for the metric.
    pub name: String,
    /// The test of its value; a missing label has the empty value.
    pub test: Test,
    /// `!=` and `!~`.
    pub negated: bool,
}

/// A test of a label's value.
#[derive(Clone, Debug)]
pub enum Test {
    /// Equality.
    Text(String),
    /// The whole value matches the regular expression.
    Regex(Regex),
}

impl Matcher {
    /// `name="value"`.
    pub fn is(name: &str, value: &str) -> Self {
        Self {
            name: name.to_owned(),
            test: Test::Text(value.to_owned()),
            negated: false,
        }
    }

    /// Whether a label's value fulfils the condition.
    pub fn matches(&self, value: &str) -> bool {
        let same = match &self.test {
            Test::Text(text) => text == value,
            Test::Regex(regex) => regex.is_match(value),
        };
        same != self.negated
    }

    /// Whether a series fulfils the condition.
    pub fn matches_labels(&self, labels: &Labels) -> bool {
        self.matches(labels.get(&self.name))
    }
}

/// A regular expression that must match a whole value; `sharers` of them divide the memory for compiled ones.
pub(crate) fn anchored(text: &str, sharers: usize) -> Result<Regex, Error> {
    let ascii = ascii_classes(text);
    // Compiles the pattern alone first: `)(` would fit into the parentheses around it.
    compiled(&ascii, text, sharers)?;
    compiled(&format!("^(?s:{ascii})$"), text, sharers)
}

/// Whether the parser, which has no bound of its own, may compile a regular expression.
pub(crate) fn check(text: &str, sharers: usize) -> Result<(), Error> {
    compiled(&format!("^(?:{text})$"), text, sharers).map(drop)
}

fn compiled(pattern: &str, written: &str, sharers: usize) -> Result<Regex, Error> {
    let size = REGEX_SIZE / sharers.max(1);
    let mut regex = RegexBuilder::new(pattern);
    let regex = regex.size_limit(size).dfa_size_limit(size).build();
    regex.map_err(|why| {
        Error::Syntax(format!(
            "the regular expression {written:?} cannot be used: {why}"
        ))
    })
}

/// A regular expression in which classes of letters are ASCII's, as in RE2; those of Unicode are large.
pub fn ascii_classes(pattern: &str) -> String {
    let mut ascii = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        let escaped = if c == '\\' { chars.next() } else { None };
        ascii.push_str(match escaped {
            Some('d') => "[0-9]",
            Some('D') => "[^0-9]",
            Some('s') => r"[\t\n\f\r ]",
            Some('S') => r"[^\t\n\f\r ]",
            Some('w') => "[0-9A-Za-z_]",
            Some('W') => "[^0-9A-Za-z_]",
            other => {
                ascii.push(c);
                ascii.extend(other);
                continue;
            }
        });
    }
    ascii
}

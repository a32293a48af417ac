use regex::{Regex, RegexBuilder};

use crate::{Error, Labels};

/// Bytes that the compiled regular expressions of one expression may take together.
const REGEX_SIZE: usize = 4 << 20;

/// One condition of a selector: `name="value"`, `!=`, `=~` or `!~`.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// The label; `__name__` for the metric.
    pub name: String,
    /// What its value must be; a missing label has the empty value.
    pub test: Test,
    /// `!=` and `!~`.
    pub negated: bool,
}

/// What a label's value is compared with.
#[derive(Clone, Debug)]
pub enum Test {
    /// The same text.
    Text(String),
    /// The whole value matches the regular expression.
    Regex(Regex),
}

impl Matcher {
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

/// A regular expression for the whole of a value; `sharers` of them divide the room for compiled ones.
pub(crate) fn anchored(text: &str, sharers: usize) -> Result<Regex, Error> {
    let size = REGEX_SIZE / sharers.max(1);
    let built = |pattern: &str| {
        let mut regex = RegexBuilder::new(pattern);
        regex.size_limit(size).dfa_size_limit(size).build()
    };
    // By itself first: `)(` would fit into the brackets around it.
    let regex = built(text).and_then(|_| built(&format!("^(?s:{text})$")));
    regex.map_err(|why| {
        Error::Syntax(format!(
            "the regular expression {text:?} cannot be used: {why}"
        ))
    })
}

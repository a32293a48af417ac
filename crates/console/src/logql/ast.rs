//! An expression, ready to be evaluated: regular expressions are compiled, durations are nanoseconds.

use std::cmp::Ordering;

use regex::Regex;

/// A whole expression.
#[derive(Debug)]
pub(crate) enum Query {
    /// Lines.
    Logs(LogQuery),
    /// Numbers of lines.
    Metric(Metric),
    /// `vector(1)+vector(1)`, by which Grafana sees whether anybody answers.
    Constant(f64),
}

/// `{…} | …`.
#[derive(Debug)]
pub(crate) struct LogQuery {
    /// The selector of streams; never empty.
    pub selector: Vec<Matcher>,
    /// The stages that each line passes through.
    pub stages: Vec<Stage>,
}

/// `count_over_time(… [5m])`, summed or not.
#[derive(Debug)]
pub(crate) struct Metric {
    /// Which lines.
    pub logs: LogQuery,
    /// The function of the lines.
    pub function: Function,
    /// Nanoseconds that each number looks back.
    pub range_ns: u64,
    /// The labels by which the numbers are summed; `None` keeps each set of labels separate.
    pub sum_by: Option<Vec<String>>,
}

/// A function of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    /// The number itself.
    CountOverTime,
    /// Lines per second.
    Rate,
    /// Bytes of the lines.
    BytesOverTime,
    /// Bytes of the lines per second.
    BytesRate,
}

/// `label="…"` in a selector.
#[derive(Debug)]
pub(crate) struct Matcher {
    /// The label; a missing one is empty.
    pub label: String,
    /// The test of its value.
    pub test: TextTest,
}

/// `=`, `!=`, `=~`, `!~` with their text.
#[derive(Debug)]
pub(crate) struct TextTest {
    /// Whether it must not be so.
    pub negated: bool,
    /// The pattern.
    pub pattern: Pattern,
}

/// The pattern that a text is compared with.
#[derive(Debug)]
pub(crate) enum Pattern {
    /// This text.
    Text(String),
    /// This regular expression, anchored where LogQL requires it.
    Regex(Regex),
}

impl TextTest {
    /// Whether the whole value of a label matches.
    pub fn is(&self, value: &str) -> bool {
        let found = match &self.pattern {
            Pattern::Text(text) => text == value,
            Pattern::Regex(regex) => regex.is_match(value),
        };
        found != self.negated
    }

    /// Whether a line contains a match.
    pub fn is_in(&self, line: &str) -> bool {
        let found = match &self.pattern {
            Pattern::Text(text) => line.contains(text.as_str()),
            Pattern::Regex(regex) => regex.is_match(line),
        };
        found != self.negated
    }
}

/// One step of a pipeline.
#[derive(Debug)]
pub(crate) enum Stage {
    /// `|= "…"` and the like.
    Line(TextTest),
    /// `| label="…"` and the like.
    Label(Condition),
    /// `| json`.
    Json,
    /// `| drop a, b`.
    Drop(Vec<String>),
}

/// A condition on the labels of a line.
#[derive(Debug)]
pub(crate) enum Condition {
    /// A label's text.
    Text(Matcher),
    /// A label's number.
    Number(NumberTest),
    /// Several conditions, evaluated from left to right, as Loki's documentation says: `and` does not bind more strongly
    /// than `or`.
    Chain(Box<Condition>, Vec<(LogicalOperator, Condition)>),
}

/// How two conditions are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogicalOperator {
    /// Both conditions hold.
    And,
    /// At least one condition holds.
    Or,
}

/// `label > 5`, `label <= 1.5s`.
#[derive(Debug)]
pub(crate) struct NumberTest {
    /// The label.
    pub label: String,
    /// How it compares.
    pub comparison: Comparison,
    /// The right side; nanoseconds if it is a duration.
    pub value: f64,
    /// Whether the label holds a duration (`1.5s`), not a number.
    pub is_duration: bool,
}

/// `==`, `!=`, `<`, `<=`, `>`, `>=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// `==` or `=`.
    Equal,
    /// `!=`.
    NotEqual,
    /// `<`.
    Less,
    /// `<=`.
    AtMost,
    /// `>`.
    Greater,
    /// `>=`.
    AtLeast,
}

impl Comparison {
    /// Whether the comparison of `left` with `right` holds. No comparison with NaN does.
    pub fn holds(self, left: f64, right: f64) -> bool {
        let order = left.partial_cmp(&right);
        match self {
            Self::Equal => order == Some(Ordering::Equal),
            Self::NotEqual => order != Some(Ordering::Equal),
            Self::Less => order == Some(Ordering::Less),
            Self::AtMost => order.is_some_and(Ordering::is_le),
            Self::Greater => order == Some(Ordering::Greater),
            Self::AtLeast => order.is_some_and(Ordering::is_ge),
        }
    }
}

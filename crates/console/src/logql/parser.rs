//! Turns tokens into an expression: selectors and the functions of them; `stages` reads pipelines.

use regex::{Regex, RegexBuilder};

use super::ast::{Function, LogQuery, Matcher, Metric, Pattern, Query, Stage, TextTest};
use super::cursor::{Parser, Room};
use super::lexer::Token;
use super::refusal::Refusal;

/// The maximum memory of a compiled regular expression, and the same again for its searches, in bytes. Most expressions need
/// little, and are charged for no more.
const REGEX_SIZES: [usize; 2] = [64 << 10, 256 << 10];

/// Functions of the language that are not answered.
const OTHER_FUNCTIONS: [&str; 24] = [
    "absent_over_time",
    "approx_topk",
    "avg",
    "avg_over_time",
    "bottomk",
    "count",
    "first_over_time",
    "label_replace",
    "last_over_time",
    "max",
    "max_over_time",
    "min",
    "min_over_time",
    "quantile_over_time",
    "rate_counter",
    "sort",
    "sort_desc",
    "stddev",
    "stddev_over_time",
    "stdvar",
    "stdvar_over_time",
    "sum_over_time",
    "topk",
    "variants",
];

/// Signs between two metrics.
const OPERATORS: [&str; 12] = [
    "+", "-", "*", "/", "%", "^", "==", "!=", ">", "<", ">=", "<=",
];

/// Reads an expression.
pub(crate) fn parse(text: &str, room: Room<'_>) -> Result<Query, Refusal> {
    let mut parser = Parser::new(text, room)?;
    let query = parser.expression()?;
    parser.end()?;
    Ok(query)
}

/// Reads a selector alone.
pub(crate) fn parse_selector(text: &str, room: Room<'_>) -> Result<Vec<Matcher>, Refusal> {
    let mut parser = Parser::new(text, room)?;
    let selector = parser.selector()?;
    parser.end()?;
    Ok(selector)
}

impl Parser<'_> {
    fn expression(&mut self) -> Result<Query, Refusal> {
        let query = self.operand()?;
        if matches!(query, Query::Logs(_)) {
            return Ok(query);
        }
        match (query, self.peek().clone()) {
            (Query::Constant(left), Token::Operator("+")) => {
                self.part()?;
                self.advance();
                match self.expression()? {
                    Query::Constant(right) => Ok(Query::Constant(left + right)),
                    _ => Err(self.unsupported(0, "\"+\" between anything but vector(…)")),
                }
            }
            (_, Token::Operator(sign)) if OPERATORS.contains(&sign) => {
                Err(self.unsupported(0, format!("the operator \"{sign}\" between metrics")))
            }
            (_, Token::Word(word)) if ["and", "or", "unless"].contains(&word.as_str()) => {
                Err(self.unsupported(0, format!("the operator \"{word}\" between metrics")))
            }
            (query, _) => Ok(query),
        }
    }

    fn operand(&mut self) -> Result<Query, Refusal> {
        match self.peek().clone() {
            Token::Operator("{") => Ok(Query::Logs(self.logs(None)?)),
            Token::Operator("(") => self.nested(Self::expression),
            Token::Number(_) => Err(self.unsupported(0, "a number that is not in vector(…)")),
            Token::Word(word) => self.call(&word.to_ascii_lowercase()),
            _ => {
                Err(self.unexpected("a selector such as {service_name=\"gateway\"} or a function"))
            }
        }
    }

    fn call(&mut self, function: &str) -> Result<Query, Refusal> {
        match function {
            "sum" => self.sum(),
            "count_over_time" => self.over_time(Function::CountOverTime),
            "rate" => self.over_time(Function::Rate),
            "bytes_over_time" => self.over_time(Function::BytesOverTime),
            "bytes_rate" => self.over_time(Function::BytesRate),
            "vector" => self.vector(),
            _ if OTHER_FUNCTIONS.contains(&function) => {
                Err(self.unsupported(0, format!("the function \"{function}\"")))
            }
            _ => Err(self.unexpected("a function")),
        }
    }

    fn vector(&mut self) -> Result<Query, Refusal> {
        self.advance();
        self.nested(|inner| match *inner.peek() {
            Token::Number(number) => {
                inner.advance();
                Ok(Query::Constant(number))
            }
            _ => Err(inner.unexpected("a number")),
        })
    }

    /// `sum by (a) (…)`, `sum (…) by (a)`, `sum (…)`.
    fn sum(&mut self) -> Result<Query, Refusal> {
        self.advance();
        let before = self.grouping()?;
        let inner = self.nested(Self::expression)?;
        let after = match before {
            None => self.grouping()?,
            Some(_) => None,
        };
        let labels = before.or(after).unwrap_or_default();
        match inner {
            Query::Metric(metric) if metric.sum_by.is_none() => Ok(Query::Metric(Metric {
                sum_by: Some(labels),
                ..metric
            })),
            Query::Metric(_) => Err(self.unsupported(1, "a sum of a sum")),
            Query::Constant(_) => Err(self.unsupported(1, "a sum of vector(…)")),
            Query::Logs(_) => Err(self
                .wrong_before("lines cannot be added up: count them with count_over_time or rate")),
        }
    }

    fn grouping(&mut self) -> Result<Option<Vec<String>>, Refusal> {
        let word = match self.peek() {
            Token::Word(word) => word.to_ascii_lowercase(),
            _ => return Ok(None),
        };
        match word.as_str() {
            "by" => {
                self.advance();
                self.nested(Self::labels).map(Some)
            }
            "without" => Err(self.unsupported(0, "\"without\"; name the labels with \"by\"")),
            _ => Ok(None),
        }
    }

    /// `a, b`; may be empty.
    fn labels(&mut self) -> Result<Vec<String>, Refusal> {
        if *self.peek() == Token::Operator(")") {
            return Ok(Vec::new());
        }
        let mut labels = vec![self.label()?];
        while self.accept(",") {
            self.part()?;
            labels.push(self.label()?);
        }
        Ok(labels)
    }

    fn over_time(&mut self, function: Function) -> Result<Query, Refusal> {
        self.advance();
        self.nested(|inner| {
            let mut range = None;
            let logs = inner.logs(Some(&mut range))?;
            let range_ns = range.ok_or_else(|| inner.unexpected("a range such as [5m]"))?;
            if matches!(inner.peek(), Token::Word(word) if word.eq_ignore_ascii_case("offset")) {
                return Err(inner.unsupported(0, "\"offset\""));
            }
            Ok(Query::Metric(Metric {
                logs,
                function,
                range_ns,
                sum_by: None,
            }))
        })
    }

    /// A selector and its pipeline. The range, where one is allowed, stands before or after the pipeline.
    fn logs(&mut self, mut range: Option<&mut Option<u64>>) -> Result<LogQuery, Refusal> {
        let selector = self.selector()?;
        self.range(&mut range)?;
        let stages = self.stages()?;
        self.range(&mut range)?;
        if let Some(Stage::Json) = stages.last()
            && matches!(self.peek(), Token::Word(_))
        {
            return Err(self.unsupported(0, "\"json\" with expressions"));
        }
        Ok(LogQuery { selector, stages })
    }

    fn range(&mut self, range: &mut Option<&mut Option<u64>>) -> Result<(), Refusal> {
        let Some(range) = range.as_mut().filter(|range| range.is_none()) else {
            return Ok(());
        };
        if !self.accept("[") {
            return Ok(());
        }
        let is_negative = self.accept("-");
        let Token::Duration(nanoseconds) = *self.peek() else {
            return Err(self.unexpected("a duration such as 5m"));
        };
        if is_negative || nanoseconds == 0 {
            return Err(self.unsupported(0, "a range must be longer than nothing"));
        }
        self.advance();
        **range = Some(nanoseconds);
        self.expect("]")
    }

    fn selector(&mut self) -> Result<Vec<Matcher>, Refusal> {
        self.expect("{")?;
        let mut matchers = vec![self.matcher()?];
        while self.accept(",") {
            matchers.push(self.matcher()?);
        }
        self.expect("}")?;
        // Loki has this rule too. Otherwise a query could search the whole store by mistake.
        if matchers.iter().all(|matcher| matcher.test.is("")) {
            return Err(self.unsupported(
                1,
                "a selector needs a matcher that no empty value passes; {label=~\".+\"} is one, {label=~\".*\"} is none",
            ));
        }
        Ok(matchers)
    }

    fn matcher(&mut self) -> Result<Matcher, Refusal> {
        self.part()?;
        let label = self.label()?;
        let sign = self.expect_any(&["=", "!=", "=~", "!~"])?;
        let text = self.quoted()?;
        let test = self.label_test(sign, text)?;
        Ok(Matcher { label, test })
    }

    /// The test of a label's value. A regular expression must match the whole value, including its line breaks.
    pub fn label_test(&mut self, sign: &str, text: String) -> Result<TextTest, Refusal> {
        let pattern = match sign.ends_with('~') {
            true => Pattern::Regex(self.regex(&text, &format!("^(?s:{text})$"))?),
            false => Pattern::Text(text),
        };
        Ok(TextTest {
            negated: sign.starts_with('!'),
            pattern,
        })
    }

    /// Compiles a regular expression; error messages quote `written`.
    pub fn regex(&mut self, written: &str, full: &str) -> Result<Regex, Refusal> {
        // First compiles the text alone, because `)(` would fit into the parentheses around it.
        let regex = self
            .compiled(written)
            .and_then(|regex| match written == full {
                true => Ok(regex),
                false => self.compiled(full),
            });
        regex.map_err(|why| match why {
            CannotCompile::NoRoom(why) => why,
            CannotCompile::Regex(why) => {
                let why = format!("the regular expression {written:?} cannot be used: {why}");
                self.unsupported(1, why)
            }
        })
    }

    fn compiled(&mut self, pattern: &str) -> Result<Regex, CannotCompile> {
        let pattern = promql::ascii_classes(pattern);
        let mut outcome = Err(regex::Error::CompiledTooBig(0));
        for size in REGEX_SIZES {
            if !matches!(outcome, Err(regex::Error::CompiledTooBig(_))) {
                break;
            }
            (self.room)(2 * size).map_err(CannotCompile::NoRoom)?;
            let mut regex = RegexBuilder::new(&pattern);
            outcome = regex.size_limit(size).dfa_size_limit(size).build();
        }
        outcome.map_err(CannotCompile::Regex)
    }
}

enum CannotCompile {
    NoRoom(Refusal),
    Regex(regex::Error),
}

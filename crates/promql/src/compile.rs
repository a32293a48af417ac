//! Compiles the parser's tree into a plan. It rejects unsupported constructs before any series is read.

use std::time::{Duration, SystemTime};

use promql_parser::label::{METRIC_NAME, MatchOp, Matchers};
use promql_parser::parser::value::ValueType;
use promql_parser::parser::{
    AtModifier, Call, Expr, MatrixSelector, Offset, SubqueryExpr, VectorSelector,
};

use crate::functions::{self, Kind};
use crate::matcher::{Matcher, Test, anchored};
use crate::plan::{AtTime, Node, OverWindow, Selector, Shift, WindowSource, Windows};
use crate::relabel;
use crate::{Detail, Error, Labels, aggregate, binary};

/// Expressions inside expressions.
const MAX_DEPTH: usize = 100;
/// Prometheus's longest duration: 64 bits of nanoseconds.
const MAX_MS: u128 = i64::MAX as u128 / 1_000_000;

pub(crate) struct Compiler {
    /// The number of regular expressions in the text; they share the memory.
    pub regexes: usize,
    pub leaves: usize,
    pub depth: usize,
}

impl Compiler {
    pub fn node(&mut self, expr: &Expr) -> Result<Node, Error> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Error::TooLarge(format!(
                "more than {MAX_DEPTH} expressions inside each other"
            )));
        }
        let node = self.shallow(expr);
        self.depth -= 1;
        node
    }

    fn shallow(&mut self, expr: &Expr) -> Result<Node, Error> {
        match expr {
            Expr::Paren(paren) => self.node(&paren.expr),
            Expr::NumberLiteral(number) => Ok(Node::Number(number.val)),
            Expr::StringLiteral(text) => Ok(Node::Text(text.val.clone())),
            Expr::VectorSelector(selector) => self.selector(selector, false).map(Node::Selector),
            Expr::MatrixSelector(matrix) => self.matrix(matrix).map(Node::Windows),
            Expr::Subquery(subquery) => self.subquery(subquery).map(Node::Windows),
            Expr::Unary(unary) => Ok(Node::Each(|value| -value, self.boxed(&unary.expr)?)),
            Expr::Binary(parsed) => binary::compile(self, parsed),
            Expr::Aggregate(parsed) => aggregate::compile(self, parsed),
            Expr::Call(call) => self.call(call),
            Expr::Extension(extension) => Err(Error::NotCovered(extension.expr.name().to_owned())),
        }
    }

    fn boxed(&mut self, expr: &Expr) -> Result<Box<Node>, Error> {
        self.node(expr).map(Box::new)
    }

    fn leaf(&mut self) -> usize {
        self.leaves += 1;
        self.leaves
    }

    fn selector(&mut self, parsed: &VectorSelector, times: bool) -> Result<Selector, Error> {
        Ok(Selector {
            id: self.leaf(),
            matchers: matchers(parsed.name.as_deref(), &parsed.matchers, self.regexes)?,
            shift: shift(parsed.offset.as_ref(), parsed.at.as_ref())?,
            times,
        })
    }

    fn matrix(&mut self, parsed: &MatrixSelector) -> Result<Windows, Error> {
        let selector = self.selector(&parsed.vs, false)?;
        Ok(Windows {
            id: selector.id,
            of: WindowSource::Selector(selector.matchers),
            shift: selector.shift,
            range_ms: milliseconds(parsed.range)?,
        })
    }

    fn subquery(&mut self, parsed: &SubqueryExpr) -> Result<Windows, Error> {
        let step = parsed.step.map(milliseconds).transpose()?;
        Ok(Windows {
            id: self.leaf(),
            of: WindowSource::Subquery(self.boxed(&parsed.expr)?, step),
            shift: shift(parsed.offset.as_ref(), parsed.at.as_ref())?,
            range_ms: milliseconds(parsed.range)?,
        })
    }

    fn call(&mut self, call: &Call) -> Result<Node, Error> {
        let name = call.func.name;
        let arguments: Vec<&Expr> = call
            .args
            .args
            .iter()
            .map(|argument| unwrapped(argument))
            .collect();
        match (name, &arguments[..]) {
            ("timestamp", [Expr::VectorSelector(of)]) => {
                self.selector(of, true).map(Node::Selector)
            }
            ("absent", [of]) => Ok(Node::Absent(labels_of(of)?, self.boxed(of)?)),
            ("absent_over_time", [of]) => {
                let present =
                    self.over_window(functions::is_there, Detail::Outline, "", &arguments)?;
                Ok(Node::Absent(labels_of(of)?, Box::new(present)))
            }
            ("label_replace" | "label_join", [of, texts @ ..]) => {
                let texts = texts
                    .iter()
                    .map(|text| literal(text))
                    .collect::<Result<Vec<_>, _>>()?;
                let rule = relabel::compile(name, &texts, self.regexes)?;
                Ok(Node::Relabel(Box::new(rule), self.boxed(of)?))
            }
            _ => match functions::find(name) {
                None => Err(Error::NotCovered(format!("the function `{name}`"))),
                Some(Kind::WindowFunction(function)) => {
                    self.over_window(function, Detail::All, name, &arguments)
                }
                Some(Kind::OfOutline(function)) => {
                    self.over_window(function, Detail::Outline, name, &arguments)
                }
                Some(Kind::Each(function)) => self.each(function, &arguments),
                Some(Kind::General(function)) => Ok(Node::Call(function, self.nodes(&arguments)?)),
            },
        }
    }

    /// Date functions without an argument use the time of the evaluation.
    fn each(&mut self, function: fn(f64) -> f64, arguments: &[&Expr]) -> Result<Node, Error> {
        let of = match arguments {
            [] => Node::Call(functions::time_as_vector, Vec::new()),
            [of, ..] => self.node(of)?,
        };
        Ok(Node::Each(function, Box::new(of)))
    }

    fn nodes(&mut self, arguments: &[&Expr]) -> Result<Vec<Node>, Error> {
        arguments
            .iter()
            .map(|argument| self.node(argument))
            .collect()
    }

    fn over_window(
        &mut self,
        function: functions::WindowFunction,
        detail: Detail,
        name: &str,
        arguments: &[&Expr],
    ) -> Result<Node, Error> {
        let mut windows = None;
        let mut numbers = Vec::new();
        for argument in arguments {
            match self.node(argument)? {
                Node::Windows(found) => windows = Some(found),
                number => numbers.push(number),
            }
        }
        let windows =
            windows.ok_or_else(|| Error::Syntax(format!("{name} needs a range vector")))?;
        Ok(Node::OverWindow(Box::new(OverWindow {
            function,
            detail,
            windows,
            numbers,
            keeps_name: matches!(name, "last_over_time" | "first_over_time"),
        })))
    }
}

pub(crate) fn unwrapped(mut expr: &Expr) -> &Expr {
    while let Expr::Paren(paren) = expr {
        expr = &paren.expr;
    }
    expr
}

pub(crate) fn literal(expr: &Expr) -> Result<&str, Error> {
    match unwrapped(expr) {
        Expr::StringLiteral(text) => Ok(&text.val),
        other => Err(Error::Syntax(format!("{other} is no string literal"))),
    }
}

pub(crate) fn is_scalar(expr: &Expr) -> bool {
    expr.value_type() == ValueType::Scalar
}

pub(crate) fn matchers(
    name: Option<&str>,
    parsed: &Matchers,
    regexes: usize,
) -> Result<Vec<Matcher>, Error> {
    if !parsed.or_matchers.is_empty() {
        return Err(Error::NotCovered("`or` between label matchers".to_owned()));
    }
    let name = name.map(|name| Matcher {
        name: METRIC_NAME.to_owned(),
        test: Test::Text(name.to_owned()),
        negated: false,
    });
    let others = parsed.matchers.iter().map(|parsed| {
        let is_regex = matches!(parsed.op, MatchOp::Re(_) | MatchOp::NotRe(_));
        Ok(Matcher {
            name: parsed.name.clone(),
            test: match is_regex {
                true => Test::Regex(anchored(&parsed.value, regexes)?),
                false => Test::Text(parsed.value.clone()),
            },
            negated: matches!(parsed.op, MatchOp::NotEqual | MatchOp::NotRe(_)),
        })
    });
    name.map(Ok).into_iter().chain(others).collect()
}

/// The labels that a series of the selector would have: its equality matchers, each name once.
fn labels_of(expr: &Expr) -> Result<Labels, Error> {
    let selector = match expr {
        Expr::VectorSelector(selector) => selector,
        Expr::MatrixSelector(matrix) => &matrix.vs,
        _ => return Ok(Labels::default()),
    };
    let mut labels = Labels::default();
    let mut seen: Vec<&str> = Vec::new();
    for matcher in selector
        .matchers
        .matchers
        .iter()
        .filter(|known| known.name != METRIC_NAME)
    {
        let is_new = matches!(matcher.op, MatchOp::Equal) && !seen.contains(&&*matcher.name);
        labels = labels.with(&matcher.name, if is_new { &matcher.value } else { "" });
        if is_new {
            seen.push(&matcher.name);
        }
    }
    Ok(labels)
}

fn shift(offset: Option<&Offset>, at: Option<&AtModifier>) -> Result<Shift, Error> {
    let offset_ms = match offset {
        None => 0,
        Some(Offset::Pos(duration)) => milliseconds(*duration)?,
        Some(Offset::Neg(duration)) => -milliseconds(*duration)?,
    };
    let at = at.map(|at| match at {
        AtModifier::Start => Ok(AtTime::Start),
        AtModifier::End => Ok(AtTime::End),
        AtModifier::At(time) => match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => milliseconds(after).map(AtTime::Time),
            Err(before) => milliseconds(before.duration()).map(|ms| AtTime::Time(-ms)),
        },
    });
    Ok(Shift {
        offset_ms,
        at: at.transpose()?,
    })
}

fn milliseconds(duration: Duration) -> Result<i64, Error> {
    match duration.as_millis() {
        ms if ms <= MAX_MS => Ok(ms as i64),
        _ => Err(Error::Syntax(format!(
            "{duration:?} is longer than 292 years"
        ))),
    }
}

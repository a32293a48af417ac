//! The operations of the crate: parse, instant, range.

use std::collections::BTreeMap;

use promql_parser::parser::Expr;

use crate::binary::check_distinct;
use crate::collected::Collected;
use crate::compile::{Compiler, matchers};
use crate::held::Query;
use crate::line::Line;
use crate::pass::{Element, Pass, StepValue, same_labels};
use crate::plan::{Node, Windows};
use crate::{Detail, Error, Labels, Limits, Matcher, Sample, Series, Source, Steps, Value, text};

/// An expression that can be evaluated: it has only supported constructs.
#[derive(Clone, Debug)]
pub struct Expression {
    pub(crate) root: Node,
}

/// Reads an expression. Errors are [`Error::Syntax`], [`Error::NotCovered`], [`Error::TooLarge`], and [`Error::Evaluation`] for what
/// Prometheus finds out only when it evaluates.
pub fn parse(text: &str) -> Result<Expression, Error> {
    let (parsed, regexes) = text::parsed(text)?;
    let root = Compiler {
        regexes,
        leaves: 0,
        depth: 0,
    }
    .node(&parsed)?;
    Ok(Expression { root })
}

/// Reads a selector without a range, such as the API's `match[]`.
pub fn selector(text: &str) -> Result<Vec<Matcher>, Error> {
    match text::parsed(text)? {
        (Expr::VectorSelector(found), regexes) if found.offset.is_none() && found.at.is_none() => {
            matchers(found.name.as_deref(), &found.matchers, regexes)
        }
        (other, _) => Err(Error::Syntax(format!("{other} is no selector"))),
    }
}

/// The value at one time, in milliseconds since 1970.
pub fn instant(
    expression: &Expression,
    source: &dyn Source,
    at_ms: i64,
    limits: &Limits<'_>,
) -> Result<Value, Error> {
    let steps = Steps::only(at_ms);
    let query = Query::new(source, limits, steps);
    let pass = Pass::new(&query, steps);
    if let Node::Windows(windows) = &expression.root {
        return matrix(&pass, windows, windows.shift.apply(at_ms, &steps));
    }
    match pass.value_at(&expression.root, at_ms)? {
        StepValue::Scalar(value) => Ok(Value::Scalar(value)),
        StepValue::Text(text) => Ok(Value::String(text)),
        StepValue::Vector(elements) => {
            let elements: Vec<Element> = elements.into_iter().map(named).collect();
            check_distinct(&elements)?;
            let sample = |element: Element| {
                (
                    element.labels,
                    Sample {
                        at_ms,
                        value: element.value,
                    },
                )
            };
            Ok(Value::Vector(elements.into_iter().map(sample).collect()))
        }
    }
}

/// The values at every step; always [`Value::Matrix`].
pub fn range(
    expression: &Expression,
    source: &dyn Source,
    steps: Steps,
    limits: &Limits<'_>,
) -> Result<Value, Error> {
    if matches!(expression.root, Node::Windows(_) | Node::Text(_)) {
        let why = "a range query is about numbers or instant vectors, not about a range vector or a string";
        return Err(Error::Syntax(why.to_owned()));
    }
    steps.count(limits.max_points, "a range query")?;
    let query = Query::new(source, limits, steps);
    let pass = Pass::new(&query, steps);
    let mut collected = Collected::new(&pass);
    for at_ms in steps.times() {
        collected.step(&pass, &expression.root, at_ms, named)?;
    }
    let series = |line: Line| Series {
        labels: line.labels,
        samples: line.samples,
    };
    let mut matrix: Vec<Series> = collected.lines.into_iter().map(series).collect();
    matrix.sort_by(|left, right| left.labels.cmp(&right.labels));
    Ok(Value::Matrix(matrix))
}

/// Now the name goes, if something took it away.
fn named(element: Element) -> Element {
    match element.drop_name {
        true => Element {
            labels: element.labels.without_name(),
            ..element
        },
        false => element,
    }
}

/// A range vector by itself: its samples.
fn matrix(pass: &Pass<'_>, windows: &Windows, until_ms: i64) -> Result<Value, Error> {
    let mut series: BTreeMap<Labels, Vec<Sample>> = BTreeMap::new();
    for line in pass.lines(windows, Detail::All)?.iter() {
        let labels = if line.drop_name {
            line.labels.without_name()
        } else {
            line.labels.clone()
        };
        let samples = line.within(until_ms.saturating_sub(windows.range_ms), until_ms);
        if !samples.is_empty() {
            series.entry(labels).or_default().extend(samples);
        }
    }
    for (labels, samples) in &mut series {
        samples.sort_by_key(|sample| sample.at_ms);
        if samples
            .windows(2)
            .any(|pair| pair[0].at_ms == pair[1].at_ms)
        {
            return Err(same_labels(labels));
        }
    }
    let series = series
        .into_iter()
        .map(|(labels, samples)| Series { labels, samples });
    Ok(Value::Matrix(series.collect()))
}

//! Aggregations: `sum by (…) (…)` and its kind.

use promql_parser::parser::{AggregateExpr, LabelModifier};

use crate::compile::{Compiler, literal};
use crate::numbers::{mean, order, plain, quantile, sum, variance};
use crate::pass::{Element, Pass, StepValue, grouped};
use crate::plan::Node;
use crate::{Error, Labels, NAME};

#[derive(Clone, Debug)]
pub(crate) struct Aggregate {
    pub of: Node,
    pub parameter: Option<Node>,
    kind: Kind,
    without: bool,
    labels: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// One value per group.
    Value(fn(&mut dyn Iterator<Item = f64>) -> f64),
    Quantile,
    /// One series per value: the parameter is the label that gets it.
    CountValues,
    /// Some of the samples themselves.
    Largest,
    Smallest,
    First,
}

const KINDS: &[(&str, Kind)] = &[
    ("sum", Kind::Value(|values| sum(values))),
    ("avg", Kind::Value(|values| mean(values))),
    ("count", Kind::Value(|values| values.count() as f64)),
    ("group", Kind::Value(|_| 1.0)),
    ("min", Kind::Value(|values| least(values))),
    (
        "max",
        Kind::Value(|values| -least(&mut values.map(|value| -value))),
    ),
    ("stdvar", Kind::Value(|values| variance(values))),
    ("stddev", Kind::Value(|values| variance(values).sqrt())),
    ("quantile", Kind::Quantile),
    ("count_values", Kind::CountValues),
    ("topk", Kind::Largest),
    ("bottomk", Kind::Smallest),
    ("limitk", Kind::First),
];

/// NaN only if there is nothing else.
pub(crate) fn least(values: &mut dyn Iterator<Item = f64>) -> f64 {
    values.fold(f64::NAN, f64::min)
}

pub(crate) fn compile(compiler: &mut Compiler, parsed: &AggregateExpr) -> Result<Node, Error> {
    let name = parsed.op.to_string();
    let known = KINDS.iter().find(|(known, _)| *known == name);
    let (_, kind) = known.ok_or_else(|| Error::NotCovered(format!("the aggregation `{name}`")))?;
    let mut labels = match &parsed.modifier {
        Some(modifier) => modifier.labels().labels.clone(),
        None => Vec::new(),
    };
    let without = matches!(parsed.modifier, Some(LabelModifier::Exclude(_)));
    let needs = matches!(kind, Kind::Value(_));
    let parameter = match (&parsed.param, needs) {
        (None, true) => None,
        (Some(parameter), false) => Some(parameter),
        _ => {
            return Err(Error::Syntax(format!(
                "{name} with a wrong number of arguments"
            )));
        }
    };
    if let (Kind::CountValues, Some(label)) = (kind, parameter) {
        let label = literal(label)?;
        if label.is_empty() {
            return Err(Error::Evaluation("invalid label name \"\"".to_owned()));
        }
        if !without {
            labels.push(label.to_owned());
        }
    }
    Ok(Node::Aggregate(Box::new(Aggregate {
        of: compiler.node(&parsed.expr)?,
        parameter: parameter
            .map(|parameter| compiler.node(parameter))
            .transpose()?,
        kind: *kind,
        without,
        labels,
    })))
}

impl Aggregate {
    pub fn apply(
        &self,
        elements: Vec<Element>,
        parameter: Option<StepValue>,
        pass: &Pass<'_>,
    ) -> Result<Vec<Element>, Error> {
        let number = parameter.as_ref().map_or(f64::NAN, StepValue::number);
        match (self.kind, &parameter) {
            (Kind::Value(function), _) => {
                Ok(self.values(elements, |values| function(&mut values.into_iter())))
            }
            (Kind::Quantile, _) => Ok(self.values(elements, |values| quantile(number, values))),
            (Kind::CountValues, Some(StepValue::Text(label))) => Ok(self
                .values(counted(elements, label, pass)?, |values| {
                    values.len() as f64
                })),
            _ => {
                let count = how_many(number)?;
                Ok(self
                    .groups(elements)
                    .into_iter()
                    .flat_map(|(_, group)| self.chosen(group, count))
                    .collect())
            }
        }
    }

    fn groups(&self, elements: Vec<Element>) -> Vec<(Labels, Vec<Element>)> {
        let labelled = |element: Element| (self.group(&element.labels), element);
        grouped(elements.into_iter().map(labelled))
    }

    fn group(&self, labels: &Labels) -> Labels {
        labels.only(|name| {
            let listed = self.labels.iter().any(|known| known == name);
            listed != self.without && !(self.without && name == NAME)
        })
    }

    fn values(&self, elements: Vec<Element>, function: impl Fn(Vec<f64>) -> f64) -> Vec<Element> {
        let aggregated = |(labels, group): (Labels, Vec<Element>)| Element {
            labels,
            drop_name: group.iter().any(|element| element.drop_name),
            value: function(group.iter().map(|element| element.value).collect()),
        };
        self.groups(elements).into_iter().map(aggregated).collect()
    }

    fn chosen(&self, mut group: Vec<Element>, count: usize) -> Vec<Element> {
        match self.kind {
            Kind::Largest => group.sort_by(|left, right| order(left.value, right.value, true)),
            Kind::Smallest => group.sort_by(|left, right| order(left.value, right.value, false)),
            _ => {}
        }
        group.truncate(count);
        group
    }
}

fn counted(
    mut elements: Vec<Element>,
    label: &str,
    pass: &Pass<'_>,
) -> Result<Vec<Element>, Error> {
    for element in &mut elements {
        let value = plain(element.value);
        pass.make(label, &value)?;
        element.labels = element.labels.with(label, &value);
        element.drop_name = false;
    }
    Ok(elements)
}

fn how_many(number: f64) -> Result<usize, Error> {
    match number {
        _ if number.is_nan() => Err(Error::Evaluation("Parameter value is NaN".to_owned())),
        _ if number >= i64::MAX as f64 => Err(Error::Evaluation(format!(
            "Scalar value {number} overflows int64"
        ))),
        _ if number <= i64::MIN as f64 => Err(Error::Evaluation(format!(
            "Scalar value {number} underflows int64"
        ))),
        // Casts saturate: a negative number becomes zero.
        _ => Ok(number as usize),
    }
}

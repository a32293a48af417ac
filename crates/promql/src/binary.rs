//! Operators between two expressions, and which samples they bring together.

use std::collections::{HashMap, HashSet};

use promql_parser::parser::{BinModifier, BinaryExpr, LabelModifier, VectorMatchCardinality};

use crate::compile::{Compiler, is_scalar};
use crate::labels::METADATA;
use crate::pass::{Element, Pass, StepValue, same_labels};
use crate::plan::Node;
use crate::{Error, Labels, NAME};

#[derive(Clone, Debug)]
pub(crate) struct Binary {
    pub left: Node,
    pub right: Node,
    operator: Operator,
    bool: bool,
    matching: Matching,
}

#[derive(Clone, Copy, Debug)]
enum Operator {
    /// The result is a new value, so the metric's name no longer describes it.
    Arithmetic(fn(f64, f64) -> f64),
    /// Keeps or drops samples, or gives 0 and 1 with `bool`.
    Comparison(fn(&f64, &f64) -> bool),
    And,
    Or,
    Unless,
}

const OPERATORS: &[(&str, Operator)] = &[
    ("+", Operator::Arithmetic(|left, right| left + right)),
    ("-", Operator::Arithmetic(|left, right| left - right)),
    ("*", Operator::Arithmetic(|left, right| left * right)),
    ("/", Operator::Arithmetic(|left, right| left / right)),
    ("%", Operator::Arithmetic(|left, right| left % right)),
    ("^", Operator::Arithmetic(f64::powf)),
    ("atan2", Operator::Arithmetic(f64::atan2)),
    ("==", Operator::Comparison(f64::eq)),
    ("!=", Operator::Comparison(f64::ne)),
    (">", Operator::Comparison(f64::gt)),
    ("<", Operator::Comparison(f64::lt)),
    (">=", Operator::Comparison(f64::ge)),
    ("<=", Operator::Comparison(f64::le)),
    ("and", Operator::And),
    ("or", Operator::Or),
    ("unless", Operator::Unless),
];

/// Which labels two samples must have in common, and how many may match one.
#[derive(Clone, Debug)]
struct Matching {
    on: bool,
    labels: Vec<String>,
    many: GroupSide,
}

#[derive(Clone, Debug, PartialEq)]
enum GroupSide {
    None,
    /// `group_left`, with the labels taken from the right side.
    Left(Vec<String>),
    Right(Vec<String>),
}

pub(crate) fn compile(compiler: &mut Compiler, parsed: &BinaryExpr) -> Result<Node, Error> {
    let name = parsed.op.to_string();
    let known = OPERATORS.iter().find(|(known, _)| *known == name);
    let (_, operator) = known.ok_or_else(|| Error::NotCovered(format!("the operator `{name}`")))?;
    let modifier = parsed.modifier.clone().unwrap_or_default();
    let is_set = matches!(operator, Operator::And | Operator::Or | Operator::Unless);
    if is_set && (is_scalar(&parsed.lhs) || is_scalar(&parsed.rhs)) {
        return Err(Error::Syntax(format!("{name} between scalars")));
    }
    Ok(Node::Binary(Box::new(Binary {
        left: compiler.node(&parsed.lhs)?,
        right: compiler.node(&parsed.rhs)?,
        operator: *operator,
        bool: modifier.return_bool,
        matching: matching(&modifier)?,
    })))
}

fn matching(modifier: &BinModifier) -> Result<Matching, Error> {
    if modifier.fill_values.lhs.is_some() || modifier.fill_values.rhs.is_some() {
        return Err(Error::NotCovered("the modifier `fill`".to_owned()));
    }
    let labels = modifier.matching.as_ref().map(LabelModifier::labels);
    Ok(Matching {
        on: modifier.is_matching_on(),
        labels: labels.map(|names| names.labels.clone()).unwrap_or_default(),
        many: match &modifier.card {
            VectorMatchCardinality::ManyToOne(names) => GroupSide::Left(names.labels.clone()),
            VectorMatchCardinality::OneToMany(names) => GroupSide::Right(names.labels.clone()),
            VectorMatchCardinality::OneToOne | VectorMatchCardinality::ManyToMany => {
                GroupSide::None
            }
        },
    })
}

impl Binary {
    pub fn apply(
        &self,
        left: StepValue,
        right: StepValue,
        pass: &Pass<'_>,
    ) -> Result<StepValue, Error> {
        match (left, right) {
            (StepValue::Scalar(left), StepValue::Scalar(right)) => {
                Ok(StepValue::Scalar(self.of_scalars(left, right)))
            }
            (StepValue::Vector(left), StepValue::Scalar(right)) => Ok(StepValue::Vector(
                self.with_scalar(left, |left| (left, right)),
            )),
            (StepValue::Scalar(left), StepValue::Vector(right)) => Ok(StepValue::Vector(
                self.with_scalar(right, |right| (left, right)),
            )),
            (StepValue::Vector(left), StepValue::Vector(right)) => match self.operator {
                Operator::Or => Ok(StepValue::Vector(self.matching.or(left, right))),
                Operator::And => Ok(StepValue::Vector(
                    self.matching.filtered(left, &right, true),
                )),
                Operator::Unless => Ok(StepValue::Vector(
                    self.matching.filtered(left, &right, false),
                )),
                _ => self.joined(left, right, pass).map(StepValue::Vector),
            },
            _ => Err(Error::Syntax("an operator between texts".to_owned())),
        }
    }

    fn of_scalars(&self, left: f64, right: f64) -> f64 {
        match self.operator {
            Operator::Arithmetic(function) => function(left, right),
            Operator::Comparison(holds) => f64::from(u8::from(holds(&left, &right))),
            _ => f64::NAN,
        }
    }

    /// The value of two samples; `None` if a comparison drops them. A comparison keeps the value `kept`.
    fn value(&self, left: f64, right: f64, kept: f64) -> Option<f64> {
        match self.operator {
            Operator::Comparison(holds) if !self.bool => holds(&left, &right).then_some(kept),
            _ => Some(self.of_scalars(left, right)),
        }
    }

    fn drops_name(&self) -> bool {
        self.bool || matches!(self.operator, Operator::Arithmetic(_))
    }

    fn with_scalar(
        &self,
        mut elements: Vec<Element>,
        sides: impl Fn(f64) -> (f64, f64),
    ) -> Vec<Element> {
        elements.retain_mut(|element| {
            let (left, right) = sides(element.value);
            let value = self.value(left, right, element.value);
            element.value = value.unwrap_or_default();
            element.drop_name |= self.drops_name();
            value.is_some()
        });
        elements
    }

    /// Brings samples together. One side, the right one unless `group_right` is said, has at most one of each kind.
    fn joined(
        &self,
        left: Vec<Element>,
        right: Vec<Element>,
        pass: &Pass<'_>,
    ) -> Result<Vec<Element>, Error> {
        if left.is_empty() || right.is_empty() {
            return Ok(Vec::new());
        }
        let swapped = matches!(self.matching.many, GroupSide::Right(_));
        let (many, one) = if swapped {
            (right, left)
        } else {
            (left, right)
        };
        let ones = self.matching.unique(one, swapped)?;
        let mut seen = HashSet::new();
        let mut result = Vec::with_capacity(many.len());
        for element in many {
            let key = self.matching.key(&element.labels);
            let Some(other) = ones.get(&key) else {
                continue;
            };
            let labels = self.labels(&element.labels, &other.labels, pass)?;
            self.check_unique(&mut seen, key, &labels)?;
            let (left, right) = if swapped {
                (other.value, element.value)
            } else {
                (element.value, other.value)
            };
            if let Some(value) = self.value(left, right, left) {
                let drop_name = self.bool || element.drop_name;
                result.push(Element {
                    labels,
                    value,
                    drop_name,
                });
            }
        }
        Ok(result)
    }

    fn check_unique(
        &self,
        seen: &mut HashSet<(Labels, Labels)>,
        key: Labels,
        labels: &Labels,
    ) -> Result<(), Error> {
        let (of_result, why) = match self.matching.many {
            GroupSide::None => (
                Labels::default(),
                "many-to-one matching must be explicit (group_left/group_right)",
            ),
            _ => (labels.clone(), "grouping labels must ensure unique matches"),
        };
        match seen.insert((key, of_result)) {
            true => Ok(()),
            false => Err(Error::Evaluation(format!(
                "multiple matches for labels: {why}: {labels}"
            ))),
        }
    }

    /// Labels of what two samples give.
    fn labels(&self, many: &Labels, one: &Labels, pass: &Pass<'_>) -> Result<Labels, Error> {
        let nameless = matches!(self.operator, Operator::Arithmetic(_));
        let matching = &self.matching;
        let kept = many.only(|name| {
            let listed = matching.labels.iter().any(|known| known == name);
            let has_place = matching.many != GroupSide::None || listed == matching.on;
            has_place && !(nameless && METADATA.contains(&name))
        });
        let (GroupSide::Left(taken) | GroupSide::Right(taken)) = &matching.many else {
            return Ok(kept);
        };
        taken.iter().try_fold(kept, |labels, name| {
            let value = one.get(name);
            pass.make(name, value)?;
            Ok(labels.with(name, value))
        })
    }
}

impl Matching {
    /// The labels that two samples must share to match.
    fn key(&self, labels: &Labels) -> Labels {
        labels.only(|name| {
            let listed = self.labels.iter().any(|known| known == name);
            listed == self.on && (self.on || name != NAME)
        })
    }

    fn keys(&self, elements: &[Element]) -> HashSet<Labels> {
        elements
            .iter()
            .map(|element| self.key(&element.labels))
            .collect()
    }

    fn filtered(&self, mut left: Vec<Element>, right: &[Element], there: bool) -> Vec<Element> {
        let keys = self.keys(right);
        left.retain(|element| keys.contains(&self.key(&element.labels)) == there);
        left
    }

    fn or(&self, mut left: Vec<Element>, right: Vec<Element>) -> Vec<Element> {
        let keys = self.keys(&left);
        let others = right
            .into_iter()
            .filter(|element| !keys.contains(&self.key(&element.labels)));
        left.extend(others);
        left
    }

    fn unique(&self, one: Vec<Element>, left: bool) -> Result<HashMap<Labels, Element>, Error> {
        let side = if left { "left" } else { "right" };
        let mut ones: HashMap<Labels, Element> = HashMap::with_capacity(one.len());
        for element in one {
            let key = self.key(&element.labels);
            if let Some(other) = ones.get(&key) {
                return Err(Error::Evaluation(format!(
                    "found duplicate series for the match group {key} on the {side} hand-side of the operation: [{}, {}]; \
                     many-to-many matching not allowed: matching labels must be unique on one side",
                    other.labels, element.labels
                )));
            }
            ones.insert(key, element);
        }
        Ok(ones)
    }
}

/// Whether a vector has the same labels twice.
pub(crate) fn check_distinct(elements: &[Element]) -> Result<(), Error> {
    let mut seen = HashSet::with_capacity(elements.len());
    match elements
        .iter()
        .find(|element| !seen.insert(&element.labels))
    {
        Some(twice) => Err(same_labels(&twice.labels)),
        None => Ok(()),
    }
}

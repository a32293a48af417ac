//! Runs a file and says of each case whether it is right.

use std::collections::BTreeMap;

use promql::{Error, Labels, Limits, Sample, Value};

use super::notation::Item;
use super::store::Store;
use super::{Command, Eval};

/// Relative difference that Prometheus's own runner allows.
const EPSILON: f64 = 1e-6;

#[derive(Default)]
pub struct Report {
    pub cases: usize,
    pub right: usize,
    /// Line, expression and what was wrong.
    pub wrong: Vec<String>,
    /// How many cases need a construct.
    pub not_covered: BTreeMap<String, usize>,
}

impl Report {
    pub fn add(&mut self, other: &Report) {
        self.cases += other.cases;
        self.right += other.right;
        self.wrong.extend(other.wrong.iter().cloned());
        for (construct, count) in &other.not_covered {
            *self.not_covered.entry(construct.clone()).or_default() += count;
        }
    }

    /// `native histograms 3, the function `info` 1`.
    pub fn constructs(&self) -> String {
        let counted: Vec<String> = self
            .not_covered
            .iter()
            .map(|(what, count)| format!("{what} {count}"))
            .collect();
        counted.join(", ")
    }
}

pub fn run(text: &str) -> Result<Report, String> {
    let mut report = Report::default();
    let mut store = Store::default();
    for command in super::parse(text)? {
        match command {
            Command::Clear => store = Store::default(),
            Command::Load {
                step_ms,
                with_native,
                lines,
            } => store.load(step_ms, with_native, &lines)?,
            Command::Eval(eval) => judge(&mut report, &eval, &store),
        }
    }
    Ok(report)
}

fn judge(report: &mut Report, eval: &Eval, store: &Store) {
    report.cases += 1;
    let outcome = evaluate(eval, store);
    let expects_native = eval
        .series
        .iter()
        .any(|(_, items)| items.contains(&Item::NativeHistogram));
    let verdict = match outcome {
        Err(Error::NotCovered(construct)) => Err(construct),
        _ if expects_native => Err("native histograms".to_owned()),
        Err(_) if eval.fails => Ok(None),
        Err(why) => Ok(Some(why.to_string())),
        Ok(_) if eval.fails => Ok(Some("it did not fail".to_owned())),
        Ok(value) => Ok(difference(eval, &value)),
    };
    match verdict {
        Err(construct) => *report.not_covered.entry(construct).or_default() += 1,
        Ok(None) => report.right += 1,
        Ok(Some(why)) => report
            .wrong
            .push(format!("line {}: {}: {why}", eval.line, eval.expression)),
    }
}

fn evaluate(eval: &Eval, store: &Store) -> Result<Value, Error> {
    let expression = promql::parse(&eval.expression)?;
    let limits = Limits::default();
    match eval.is_range {
        true => promql::range(&expression, store, eval.steps, &limits),
        false => promql::instant(&expression, store, eval.steps.end_ms, &limits),
    }
}

/// What is not as expected.
fn difference(eval: &Eval, value: &Value) -> Option<String> {
    match (value, &eval.string, eval.scalar) {
        (Value::String(found), Some(expected), _) if found == expected => None,
        (Value::Scalar(found), None, Some(expected)) if almost(*found, expected) => None,
        (Value::Vector(found), None, None) => vectors(eval, found),
        (Value::Matrix(found), None, None) => {
            let found = found
                .iter()
                .map(|series| (&series.labels, series.samples.clone()));
            matrices(eval, found.collect())
        }
        _ => Some(format!("{value:?}")),
    }
}

fn vectors(eval: &Eval, found: &[(Labels, Sample)]) -> Option<String> {
    for (position, (labels, sample)) in found.iter().enumerate() {
        let expected = eval
            .series
            .iter()
            .position(|(expected, _)| expected == labels);
        let Some(expected) = expected else {
            return Some(format!("{labels} {} is not expected", sample.value));
        };
        if eval.ordered && expected != position {
            return Some(format!("{labels} is number {position}, not {expected}"));
        }
        match eval.series[expected].1.first() {
            Some(Item::Value(value)) if almost(*value, sample.value) => {}
            other => return Some(format!("{labels} {} instead of {other:?}", sample.value)),
        }
    }
    missing(eval, found.len())
}

fn matrices(eval: &Eval, found: BTreeMap<&Labels, Vec<Sample>>) -> Option<String> {
    for (labels, samples) in &found {
        let Some((_, items)) = eval.series.iter().find(|(expected, _)| expected == *labels) else {
            return Some(format!("{labels} {samples:?} is not expected"));
        };
        let points = items
            .iter()
            .enumerate()
            .filter_map(|(index, item)| match item {
                Item::Value(value) => Some((
                    eval.steps.start_ms + index as i64 * eval.steps.step_ms,
                    *value,
                )),
                _ => None,
            });
        let expected: Vec<(i64, f64)> = points.collect();
        let same = |((at_ms, value), sample): (&(i64, f64), &Sample)| {
            *at_ms == sample.at_ms && almost(*value, sample.value)
        };
        if expected.len() != samples.len() || !expected.iter().zip(samples).all(same) {
            return Some(format!("{labels} {samples:?} instead of {expected:?}"));
        }
    }
    missing(eval, found.len())
}

fn missing(eval: &Eval, found: usize) -> Option<String> {
    (found < eval.series.len()).then(|| format!("{found} series instead of {}", eval.series.len()))
}

fn almost(left: f64, right: f64) -> bool {
    if left == right || (left.is_nan() && right.is_nan()) {
        return true;
    }
    let size = left.abs() + right.abs();
    match left == 0.0 || right == 0.0 || size < f64::MIN_POSITIVE {
        true => (left - right).abs() < EPSILON * f64::MIN_POSITIVE,
        false => (left - right).abs() / size.min(f64::MAX) < EPSILON,
    }
}

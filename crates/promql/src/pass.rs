//! Evaluates a tree at each of some times. What the leaves read is read once for all of them.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use crate::collected::Collected;
use crate::functions::Window;
use crate::held::{Query, SAMPLE, bytes_of};
use crate::line::Line;
use crate::plan::{Node, OverWindow, Selector, Shift, WindowSource, Windows};
use crate::{Detail, Error, Labels, Matcher, Select, Steps, is_stale};

/// One element of an instant vector.
#[derive(Clone, Debug)]
pub(crate) struct Element {
    pub labels: Labels,
    pub value: f64,
    /// The name is removed at the end of the query, so that `on`, `by` and `label_replace` can still use it. Prometheus
    /// calls that delayed name removal; its tests expect it.
    pub drop_name: bool,
}

impl Element {
    pub fn new(labels: Labels, value: f64) -> Self {
        Self {
            labels,
            value,
            drop_name: false,
        }
    }
}

/// The value of an expression at one time.
#[derive(Clone, Debug)]
pub(crate) enum StepValue {
    Scalar(f64),
    Text(String),
    Vector(Vec<Element>),
}

impl StepValue {
    pub fn into_vector(self) -> Vec<Element> {
        match self {
            StepValue::Vector(elements) => elements,
            StepValue::Scalar(value) => vec![Element::new(Labels::default(), value)],
            StepValue::Text(_) => Vec::new(),
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            StepValue::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn number(&self) -> f64 {
        match self {
            StepValue::Scalar(value) => *value,
            _ => f64::NAN,
        }
    }
}

pub(crate) struct Pass<'a> {
    query: &'a Query<'a>,
    steps: Steps,
    leaves: RefCell<HashMap<usize, Rc<Vec<Line>>>>,
    taken: Cell<usize>,
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.query
            .held
            .set(self.query.held.get() - self.taken.get());
    }
}

impl<'a> Pass<'a> {
    pub fn new(query: &'a Query<'a>, steps: Steps) -> Self {
        Self {
            query,
            steps,
            leaves: RefCell::default(),
            taken: Cell::default(),
        }
    }

    /// Reserves memory for samples until the pass ends.
    pub fn hold(&self, samples: usize) -> Result<(), Error> {
        let most = self.query.limits.max_samples;
        if samples > self.query.room() {
            return Err(Error::TooLarge(format!("more than {most} samples at once")));
        }
        self.query.held.set(self.query.held.get() + samples);
        self.taken.set(self.taken.get() + samples);
        Ok(())
    }

    /// Reserves memory for the labels of a series until the pass ends, if the expression may have made them. The source
    /// holds the others anyway.
    pub fn hold_labels(&self, labels: &Labels) -> Result<(), Error> {
        if !self.query.makes.get() {
            return Ok(());
        }
        let bytes = labels.iter().map(|(name, value)| bytes_of(name, value));
        let samples = bytes.sum::<usize>().div_ceil(SAMPLE);
        self.hold(samples)
            .map_err(|_| self.query.labels_too_large())
    }

    /// Reserves memory for a new label, until the step ends.
    pub fn make(&self, name: &str, value: &str) -> Result<(), Error> {
        let query = self.query;
        query.goes_on()?;
        let samples = bytes_of(name, value).div_ceil(SAMPLE);
        if samples > query.room() {
            return Err(query.labels_too_large());
        }
        query.made.set(query.made.get() + samples);
        query.makes.set(true);
        Ok(())
    }

    /// Runs a step. It frees the step's new labels at the end, except those that are held.
    pub fn step(&self, run: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
        let before = self.query.made.get();
        run()?;
        self.query.made.set(before);
        Ok(())
    }

    pub fn value_at(&self, node: &Node, at_ms: i64) -> Result<StepValue, Error> {
        self.query.goes_on()?;
        let out = self.out(node, at_ms)?;
        let most = self.query.limits.max_series;
        match &out {
            StepValue::Vector(elements) if elements.len() > most => {
                Err(Error::TooLarge(format!("more than {most} series at once")))
            }
            _ => Ok(out),
        }
    }

    fn out(&self, node: &Node, at_ms: i64) -> Result<StepValue, Error> {
        match node {
            Node::Number(value) => Ok(StepValue::Scalar(*value)),
            Node::Text(text) => Ok(StepValue::Text(text.clone())),
            Node::Selector(selector) => self.selected(selector, at_ms).map(StepValue::Vector),
            Node::Windows(_) => Err(Error::Syntax(
                "a range vector without a function".to_owned(),
            )),
            Node::OverWindow(call) => self.over_window(call, at_ms).map(StepValue::Vector),
            Node::Each(function, of) => Ok(map_values(self.value_at(of, at_ms)?, *function)),
            Node::Call(function, arguments) => {
                let values = arguments
                    .iter()
                    .map(|argument| self.value_at(argument, at_ms));
                function(values.collect::<Result<_, _>>()?, at_ms)
            }
            Node::Absent(labels, of) => match self.value_at(of, at_ms)?.into_vector().is_empty() {
                true => Ok(StepValue::Vector(vec![Element::new(labels.clone(), 1.0)])),
                false => Ok(StepValue::Vector(Vec::new())),
            },
            Node::Relabel(rule, of) => rule
                .apply(self.value_at(of, at_ms)?.into_vector(), self)
                .map(StepValue::Vector),
            Node::Binary(binary) => binary.apply(
                self.value_at(&binary.left, at_ms)?,
                self.value_at(&binary.right, at_ms)?,
                self,
            ),
            Node::Aggregate(aggregate) => {
                let parameter = aggregate
                    .parameter
                    .as_ref()
                    .map(|node| self.value_at(node, at_ms))
                    .transpose()?;
                let of = self.value_at(&aggregate.of, at_ms)?.into_vector();
                aggregate.apply(of, parameter, self).map(StepValue::Vector)
            }
        }
    }

    fn selected(&self, selector: &Selector, at_ms: i64) -> Result<Vec<Element>, Error> {
        let back_ms = self.query.limits.look_back_ms;
        let lines = self.leaf(selector.id, || {
            let detail = Detail::Last.if_one(self.is_one());
            self.read(&selector.matchers, &selector.shift, back_ms, detail)
        })?;
        let until_ms = selector.shift.apply(at_ms, &self.query.whole);
        let last = |line: &Line| {
            let sample = *line
                .within(until_ms.saturating_sub(back_ms), until_ms)
                .last()?;
            let value = if selector.times {
                sample.at_ms as f64 / 1000.0
            } else {
                sample.value
            };
            let found = Element {
                labels: line.labels.clone(),
                value,
                drop_name: selector.times,
            };
            (!is_stale(sample.value)).then_some(found)
        };
        Ok(lines.iter().filter_map(last).collect())
    }

    fn over_window(&self, call: &OverWindow, at_ms: i64) -> Result<Vec<Element>, Error> {
        let numbers = call
            .numbers
            .iter()
            .map(|node| Ok(self.value_at(node, at_ms)?.number()));
        let numbers = numbers.collect::<Result<Vec<f64>, Error>>()?;
        let windows = &call.windows;
        let until_ms = windows.shift.apply(at_ms, &self.query.whole);
        let after_ms = until_ms.saturating_sub(windows.range_ms);
        let lines = self.lines(windows, call.detail.if_one(self.is_one()))?;
        let value = |line: &Line| {
            let samples = line.within(after_ms, until_ms);
            let window = Window {
                samples,
                count: samples.len() + line.left_out,
                after_ms,
                until_ms,
                at_ms,
            };
            let value = (!samples.is_empty()).then(|| (call.function)(&window, &numbers))??;
            let drop_name = line.drop_name || !call.keeps_name;
            Some(Element {
                labels: line.labels.clone(),
                value,
                drop_name,
            })
        };
        Ok(lines.iter().filter_map(value).collect())
    }

    /// The lines of a range vector, for all steps of the pass.
    pub fn lines(&self, windows: &Windows, detail: Detail) -> Result<Rc<Vec<Line>>, Error> {
        self.leaf(windows.id, || match &windows.of {
            WindowSource::Selector(matchers) => {
                let mut lines = self.read(matchers, &windows.shift, windows.range_ms, detail)?;
                for line in &mut lines {
                    line.samples.retain(|sample| !is_stale(sample.value));
                }
                Ok(lines)
            }
            WindowSource::Subquery(node, step_ms) => {
                let step_ms = step_ms.unwrap_or(self.query.limits.subquery_step_ms).max(1);
                self.subquery(node, &windows.shift, windows.range_ms, step_ms)
            }
        })
    }

    fn leaf(
        &self,
        id: usize,
        load: impl FnOnce() -> Result<Vec<Line>, Error>,
    ) -> Result<Rc<Vec<Line>>, Error> {
        if let Some(lines) = self.leaves.borrow().get(&id) {
            return Ok(Rc::clone(lines));
        }
        let lines = Rc::new(load()?);
        self.leaves.borrow_mut().insert(id, Rc::clone(&lines));
        Ok(lines)
    }

    fn is_one(&self) -> bool {
        self.steps.start_ms == self.steps.last_ms()
    }

    /// The times that the first and the last step read.
    fn ends(&self, shift: &Shift) -> (i64, i64) {
        let end = |at_ms| shift.apply(at_ms, &self.query.whole);
        (end(self.steps.start_ms), end(self.steps.last_ms()))
    }

    fn read(
        &self,
        matchers: &[Matcher],
        shift: &Shift,
        back_ms: i64,
        detail: Detail,
    ) -> Result<Vec<Line>, Error> {
        let (first_ms, until_ms) = self.ends(shift);
        let limits = self.query.limits;
        let found = self.query.source.select(&Select {
            matchers,
            after_ms: first_ms.saturating_sub(back_ms),
            until_ms,
            detail,
            max_samples: self.query.room(),
            max_series: limits.max_series,
        })?;
        if found.len() > limits.max_series {
            return Err(Error::TooLarge(format!(
                "more than {} series at once",
                limits.max_series
            )));
        }
        let mut lines = Vec::with_capacity(found.len());
        for series in found {
            self.hold(series.samples.len())?;
            lines.push(Line::from(series));
        }
        Ok(lines)
    }

    fn subquery(
        &self,
        node: &Node,
        shift: &Shift,
        range_ms: i64,
        step_ms: i64,
    ) -> Result<Vec<Line>, Error> {
        let (first_ms, last_ms) = self.ends(shift);
        let steps = Steps::of_subquery(first_ms, last_ms, range_ms, step_ms);
        steps.count(self.query.limits.max_samples, "a subquery")?;
        let inner = Pass::new(self.query, steps);
        let mut collected = Collected::new(self);
        for at_ms in steps.times() {
            collected.step(&inner, node, at_ms, |element| element)?;
        }
        Ok(collected.lines)
    }
}

fn map_values(out: StepValue, function: fn(f64) -> f64) -> StepValue {
    match out {
        StepValue::Vector(mut elements) => {
            for element in &mut elements {
                element.value = function(element.value);
                element.drop_name = true;
            }
            StepValue::Vector(elements)
        }
        other => StepValue::Scalar(function(other.number())),
    }
}

/// Groups of items with the same labels, in the order in which the labels first appear.
pub(crate) fn grouped<T>(items: impl Iterator<Item = (Labels, T)>) -> Vec<(Labels, Vec<T>)> {
    let mut known = HashMap::new();
    let mut groups: Vec<(Labels, Vec<T>)> = Vec::new();
    for (labels, item) in items {
        let index = *known.entry(labels.clone()).or_insert(groups.len());
        match groups.get_mut(index) {
            Some((_, group)) => group.push(item),
            None => groups.push((labels, vec![item])),
        }
    }
    groups
}

pub(crate) fn same_labels(labels: &Labels) -> Error {
    Error::Evaluation(format!(
        "vector cannot contain metrics with the same labelset: {labels} is there twice"
    ))
}

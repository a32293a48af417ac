//! `count_over_time`, `rate` and the same for bytes: the number of lines in the range before each step.

use std::collections::BTreeMap;

use super::ast::{Function, Metric};
use super::pipeline::{ERROR, Line};
use super::refusal::{Kind, Refusal};
use super::scan::Scan;
use super::streams;
use crate::store::Store;

/// Loki's limits.
const MAX_STEPS: u64 = 11_000;
const MAX_SERIES: usize = 500;

/// The size of a point in an answer.
const POINT_BYTES: usize = 40;

/// The times of the results, in nanoseconds; at least one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Steps {
    start: u64,
    step: u64,
    count: u64,
}

impl Steps {
    /// A single one.
    pub fn once(at: u64) -> Self {
        Self {
            start: at,
            step: 1,
            count: 1,
        }
    }

    /// From `start` to `end`.
    pub fn new(start: u64, end: u64, step: u64) -> Result<Self, Refusal> {
        let more = end.saturating_sub(start) / step;
        if more >= MAX_STEPS {
            let why = format!(
                "exceeded maximum resolution of {MAX_STEPS} points per series: ask for a longer step"
            );
            return Err(Refusal::new(Kind::TooMuch, why));
        }
        Ok(Self {
            start,
            step,
            count: more + 1,
        })
    }

    fn last(self) -> u64 {
        self.start
            .saturating_add(self.step.saturating_mul(self.count - 1))
    }

    /// The steps whose `range` contains `time`: from `time` to just before `time + range`. `None` if there is none.
    fn that_see(self, time: u64, range: u64) -> Option<(usize, usize)> {
        let first = time.saturating_sub(self.start).div_ceil(self.step);
        let last_ns = time.saturating_add(range - 1).checked_sub(self.start)?;
        let last = (last_ns / self.step).min(self.count - 1);
        (first <= last).then_some((first as usize, last as usize))
    }
}

/// The numbers of one set of labels.
#[derive(Debug)]
pub(crate) struct Series {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Nanoseconds since the epoch, and the number. A step without lines has no point.
    pub points: Vec<(u64, f64)>,
}

/// The numbers that a query asks for, sorted by their labels.
pub(crate) fn counts(
    store: &Store,
    scan: &mut Scan,
    metric: &Metric,
    steps: Steps,
) -> Result<Vec<Series>, Refusal> {
    let mut changes: BTreeMap<BTreeMap<String, String>, Vec<i64>> = BTreeMap::new();
    let from = steps.start.saturating_sub(metric.range_ns - 1);
    let until = steps.last().saturating_add(1);
    scan.each(store, from..until, |scan, record| {
        let Some((first, last)) = steps.that_see(record.time_ns, metric.range_ns) else {
            return Ok(());
        };
        let Some(line) = Line::through(&metric.logs, &record) else {
            return Ok(());
        };
        no_error(&line)?;
        let labels = labels(metric, &line);
        if !changes.contains_key(&labels) {
            scan.takes(streams::size_of(&labels))?;
            scan.gathers_labels(&labels)?;
            scan.gathers((steps.count as usize + 1) * size_of::<i64>())?;
            room_for_series(changes.len())?;
        }
        let changes = changes
            .entry(labels)
            .or_insert_with(|| vec![0; steps.count as usize + 1]);
        let weight = match metric.function {
            Function::CountOverTime | Function::Rate => 1,
            Function::BytesOverTime | Function::BytesRate => record.body.len() as i64,
        };
        changes[first] += weight;
        changes[last + 1] -= weight;
        Ok(())
    })?;
    let series = changes.into_iter();
    series
        .map(|(labels, changes)| {
            let points = points(metric, steps, &changes);
            scan.takes(points.len() * POINT_BYTES)?;
            scan.gathers(points.len() * size_of::<(u64, f64)>())?;
            Ok(Series { labels, points })
        })
        .collect()
}

fn labels(metric: &Metric, line: &Line<'_>) -> BTreeMap<String, String> {
    let Some(by) = &metric.sum_by else {
        return line.labels();
    };
    let value = |name: &String| Some((name.clone(), line.label(name)?.into_owned()));
    by.iter().filter_map(value).collect()
}

/// A line that could not be read would be a wrong number.
fn no_error(line: &Line<'_>) -> Result<(), Refusal> {
    match line.label(ERROR) {
        None => Ok(()),
        Some(error) => {
            let why = format!(
                "a line has the error {error:?}: leave such lines out with | {ERROR}=\"\", or drop the label"
            );
            Err(Refusal::new(Kind::Unsupported, why))
        }
    }
}

fn room_for_series(series: usize) -> Result<(), Refusal> {
    if series < MAX_SERIES {
        return Ok(());
    }
    let why = format!("more than {MAX_SERIES} series: add up with \"sum by\", or select less");
    Err(Refusal::new(Kind::TooMuch, why))
}

/// Adds the changes up, so that a line costs the same however many steps see it.
fn points(metric: &Metric, steps: Steps, changes: &[i64]) -> Vec<(u64, f64)> {
    let seconds = metric.range_ns as f64 / 1e9;
    let mut sum = 0;
    let mut points = Vec::new();
    for (place, change) in (0..steps.count).zip(changes) {
        sum += change;
        if sum > 0 {
            let number = match metric.function {
                Function::CountOverTime | Function::BytesOverTime => sum as f64,
                Function::Rate | Function::BytesRate => sum as f64 / seconds,
            };
            points.push((steps.start + place * steps.step, number));
        }
    }
    points
}

//! Reads the series of one query, within its limits.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use promql::{
    Detail, Error, Expression, Labels, Limits, Matcher, Sample, Select, Selected, Source, Steps,
    Value,
};

use super::answer::Failure;
use super::params::MAX_POINTS;
use crate::answer::Page;
use crate::samples::{Exemplar, milliseconds};
use crate::series::{Known, LabelSet, SeriesStore};
use crate::store::cost;

/// The most samples that one question reads, whatever the memory.
const MAX_SAMPLES: usize = 2_000_000;

/// The most series of one selector.
const MAX_SERIES: usize = 20_000;

/// The results of one query may use one of this many bytes of the memory for answers.
const SHARE: usize = 8;

/// One query. It charges its memory to the page on which the answer will be written, and takes turns with other answers.
pub(super) struct Reading {
    store: SeriesStore,
    page: RefCell<Page>,
    started: Instant,
    max_time: Duration,
    /// Why it was stopped.
    stopped: Cell<Option<Failure>>,
}

/// Requests behind the samples of each series.
pub(super) type Exemplars = BTreeMap<LabelSet, Vec<Exemplar>>;

impl Reading {
    pub fn new(store: SeriesStore, page: Page, max_time: Duration) -> Self {
        Self {
            store,
            page: RefCell::new(page),
            started: Instant::now(),
            max_time,
            stopped: Cell::default(),
        }
    }

    /// The page, to write on.
    pub fn into_page(self) -> Page {
        self.page.into_inner()
    }

    /// The value of an expression at one time.
    pub fn instant(
        &self,
        expression: &Expression,
        at_ms: i64,
        look_back_ms: Option<i64>,
    ) -> Result<Value, Failure> {
        let steps = Steps {
            start_ms: at_ms,
            end_ms: at_ms,
            step_ms: 1,
        };
        let max_samples = self.reserve(expression, steps, look_back_ms)?;
        self.evaluated(max_samples, look_back_ms, |limits| {
            promql::instant(expression, self, at_ms, limits)
        })
    }

    /// Its values over time.
    pub fn range(
        &self,
        expression: &Expression,
        steps: Steps,
        look_back_ms: Option<i64>,
    ) -> Result<Value, Failure> {
        let max_samples = self.reserve(expression, steps, look_back_ms)?;
        self.evaluated(max_samples, look_back_ms, |limits| {
            promql::range(expression, self, steps, limits)
        })
    }

    /// Reserves memory for the samples that an expression reads, and for its results. Returns the maximum number of samples
    /// of both.
    fn reserve(
        &self,
        expression: &Expression,
        steps: Steps,
        look_back_ms: Option<i64>,
    ) -> Result<usize, Failure> {
        let look_back_ms = look_back_ms.unwrap_or(Limits::default().look_back_ms);
        let mut samples = 0;
        for read in expression.reads(steps, look_back_ms) {
            let time_ms = read.after_ms.saturating_add(1)..=read.until_ms;
            let sizes = self.store.sizes(read.matchers, time_ms, read.detail);
            self.each(sizes, |(_, most)| {
                samples += most;
                match samples > MAX_SAMPLES {
                    true => Err(Failure::too_much(MAX_SAMPLES, MAX_SERIES)),
                    false => self.gathers(most * size_of::<Sample>()),
                }
            })?;
        }
        let mut page = self.page.borrow_mut();
        let computed = page.limit() / SHARE;
        page.holds(computed)?;
        // Lists that grow have room for twice as much.
        Ok(samples + computed / size_of::<Sample>() / 2)
    }

    fn evaluated(
        &self,
        max_samples: usize,
        look_back_ms: Option<i64>,
        evaluate: impl FnOnce(&Limits<'_>) -> Result<Value, Error>,
    ) -> Result<Value, Failure> {
        let default = Limits::default();
        let goes_on = || self.goes_on().map_err(|why| self.stopped.set(Some(why)));
        let limits = Limits {
            max_samples,
            max_series: MAX_SERIES,
            max_points: MAX_POINTS + 1,
            look_back_ms: look_back_ms.unwrap_or(default.look_back_ms),
            stop: &|| goes_on().is_err(),
            ..default
        };
        let stopped = |why| {
            let stopped = self.stopped.take();
            stopped.unwrap_or_else(|| Failure::evaluated(why))
        };
        evaluate(&limits).map_err(stopped)
    }

    /// Gives other answers a turn, and fails when the query's time is over.
    fn goes_on(&self) -> Result<(), Failure> {
        let mut page = self.page.borrow_mut();
        page.pass()?;
        match self.started.elapsed().saturating_sub(page.waited()) < self.max_time {
            true => Ok(()),
            false => Err(Failure::late(self.max_time)),
        }
    }

    /// Reserves memory until the answer is written.
    pub fn gathers(&self, bytes: usize) -> Result<(), Failure> {
        Ok(self.page.borrow_mut().gathers(bytes)?)
    }

    /// Visits the labels of series with samples in a span of time.
    pub fn labels(
        &self,
        matchers: &[Matcher],
        time_ms: RangeInclusive<i64>,
        mut visit: impl FnMut(LabelSet) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let sizes = self.store.sizes(matchers, time_ms, Detail::Last);
        self.each(sizes, |(labels, _)| visit(labels))
    }

    /// Visits what the store gives a few at a time.
    fn each<T>(
        &self,
        batches: impl Iterator<Item = Vec<T>>,
        mut visit: impl FnMut(T) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        for batch in batches {
            self.goes_on()?;
            batch.into_iter().try_for_each(&mut visit)?;
        }
        Ok(())
    }

    /// Requests behind the series that an expression reads, in a span of time.
    pub fn exemplars(
        &self,
        expression: &Expression,
        time_ms: &RangeInclusive<i64>,
    ) -> Result<Exemplars, Failure> {
        let is_in_time = |exemplar: &Exemplar| {
            let at_us = exemplar.timestamp_us.unwrap_or_default();
            time_ms.contains(&milliseconds(at_us))
        };
        let any = Steps {
            start_ms: *time_ms.start(),
            end_ms: *time_ms.end(),
            step_ms: 1,
        };
        let mut all = Exemplars::new();
        for read in expression.reads(any, 0) {
            let batches = self.store.exemplars(read.matchers);
            self.each(batches, |(labels, mut exemplars)| {
                exemplars.retain(is_in_time);
                if !exemplars.is_empty() && !all.contains_key(&labels) {
                    let entry = cost::slot(size_of::<(LabelSet, Vec<Exemplar>)>());
                    self.gathers(labels.cost() + entry + size_of_val(&*exemplars))?;
                    all.insert(labels, exemplars);
                }
                Ok(())
            })?;
        }
        Ok(all)
    }

    fn selected(&self, wanted: &Select<'_>) -> Result<Vec<Selected>, Failure> {
        let time_ms = wanted.after_ms.saturating_add(1)..=wanted.until_ms;
        let (mut found, mut left) = (Vec::new(), wanted.max_samples);
        let all = self.store.known(wanted.matchers, time_ms, wanted.detail);
        self.each(all, |known| {
            let (samples, left_out) = samples(&known, wanted.detail, left.saturating_add(1));
            if samples.len() > left || found.len() >= wanted.max_series {
                return Err(Failure::too_much(wanted.max_samples, wanted.max_series));
            }
            left -= samples.len();
            if !samples.is_empty() {
                // The answer contains its labels, too.
                self.gathers(2 * labels_cost(&known.labels))?;
                let labels = Labels::new(known.labels.iter());
                found.push(Selected {
                    labels,
                    samples,
                    left_out,
                });
            }
            Ok(())
        })?;
        Ok(found)
    }
}

/// The requested samples, at most `most` of them, and the number of the others.
fn samples(known: &Known, detail: Detail, most: usize) -> (Vec<Sample>, usize) {
    match detail {
        Detail::Outline => known.outline().into_parts(),
        Detail::Last => (known.samples().last().into_iter().collect(), 0),
        Detail::All => {
            let mut samples = Vec::with_capacity(known.max_samples().min(most));
            samples.extend(known.samples().take(most));
            (samples, 0)
        }
    }
}

/// A series without its samples, as the evaluation has it.
fn labels_cost(labels: &LabelSet) -> usize {
    const PAIR: usize = 4 * size_of::<usize>();
    const REFERENCES: usize = 16;
    let text = |text: &str| cost::block(REFERENCES + text.len());
    let pairs = labels.iter();
    let texts: usize = pairs
        .map(|(name, value)| PAIR + text(name) + text(value))
        .sum();
    cost::slot(size_of::<Selected>()) + texts
}

impl Source for Reading {
    fn select(&self, wanted: &Select<'_>) -> Result<Vec<Selected>, Error> {
        self.selected(wanted).map_err(|why| {
            self.stopped.set(Some(why));
            Error::Stopped
        })
    }
}

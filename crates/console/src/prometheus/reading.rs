//! What one question reads, and what it may take.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use promql::{
    Error, Expression, Labels, Limits, Matcher, Sample, Select, Series, Source, Steps, Value,
};

use super::answer::Failure;
use super::params::MAX_POINTS;
use crate::answer::Page;
use crate::samples::Exemplar;
use crate::series::{Known, LabelSet, SeriesStore};
use crate::store::cost;

/// The most samples that one question holds, whatever the memory.
const MAX_SAMPLES: usize = 2_000_000;

/// The most series of one selector.
const MAX_SERIES: usize = 20_000;

/// One in so many bytes that answers may take is for the samples of one question.
const SHARE: usize = 4;

/// One question. Its memory is charged to the page on which the answer will be written, and it goes on in turns with other answers.
pub(super) struct Reading {
    store: SeriesStore,
    page: RefCell<Page>,
    started: Instant,
    max_time: Duration,
    max_samples: usize,
    /// Points of each series that an answer may have.
    points: Cell<usize>,
    /// Why it was stopped.
    stopped: Cell<Option<Failure>>,
}

/// Requests behind the samples of each series.
pub(super) type Exemplars = BTreeMap<LabelSet, Vec<Exemplar>>;

impl Reading {
    pub fn new(store: SeriesStore, page: Page, max_time: Duration) -> Self {
        let max_samples = page.most() / SHARE / size_of::<Sample>();
        Self {
            store,
            page: RefCell::new(page),
            started: Instant::now(),
            max_time,
            max_samples: max_samples.min(MAX_SAMPLES),
            points: Cell::new(1),
            stopped: Cell::default(),
        }
    }

    /// The page, to write on.
    pub fn into_page(self) -> Page {
        self.page.into_inner()
    }

    /// Reads an expression. What its subqueries will hold cannot be told from what they read, so it is charged beforehand.
    pub fn parse(&self, text: &str) -> Result<Expression, Failure> {
        let expression = promql::parse(text).map_err(Failure::unread)?;
        let has_subquery = text.split('[').skip(1).any(|after| {
            let inside = after.split(']').next().unwrap_or_default();
            inside.contains(':')
        });
        if has_subquery {
            self.gathers(self.max_samples * size_of::<Sample>())?;
        }
        Ok(expression)
    }

    /// The value of an expression at one time.
    pub fn instant(
        &self,
        expression: &Expression,
        at_ms: i64,
        look_back_ms: Option<i64>,
    ) -> Result<Value, Failure> {
        self.evaluated(look_back_ms, |limits| {
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
        let points = (steps.end_ms - steps.start_ms) / steps.step_ms + 1;
        self.points
            .set(usize::try_from(points).unwrap_or(MAX_POINTS));
        self.evaluated(look_back_ms, |limits| {
            promql::range(expression, self, steps, limits)
        })
    }

    fn evaluated(
        &self,
        look_back_ms: Option<i64>,
        evaluate: impl FnOnce(&Limits<'_>) -> Result<Value, Error>,
    ) -> Result<Value, Failure> {
        let default = Limits::default();
        let limits = Limits {
            max_samples: self.max_samples,
            max_series: MAX_SERIES,
            max_points: MAX_POINTS + 1,
            look_back_ms: look_back_ms.unwrap_or(default.look_back_ms),
            stop: &|| {
                self.goes_on()
                    .map_err(|why| self.stopped.set(Some(why)))
                    .is_err()
            },
            ..default
        };
        let stopped = |why| {
            self.stopped
                .take()
                .unwrap_or_else(|| Failure::evaluated(why))
        };
        evaluate(&limits).map_err(stopped)
    }

    /// Lets others have their turn, and ends when the time is over.
    fn goes_on(&self) -> Result<(), Failure> {
        let mut page = self.page.borrow_mut();
        page.pass()?;
        match self.started.elapsed().saturating_sub(page.waited()) < self.max_time {
            true => Ok(()),
            false => Err(Failure::late(self.max_time)),
        }
    }

    /// Takes memory until the answer is written.
    pub fn gathers(&self, bytes: usize) -> Result<(), Failure> {
        Ok(self.page.borrow_mut().gathers(bytes)?)
    }

    /// Visits what is known of series in a span of time.
    pub fn each(
        &self,
        matchers: &[Matcher],
        time_ms: RangeInclusive<i64>,
        mut visit: impl FnMut(Known) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        for batch in self.store.known(matchers, time_ms) {
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
            i64::try_from(at_us / 1_000).is_ok_and(|at_ms| time_ms.contains(&at_ms))
        };
        let mut all = Exemplars::new();
        for read in expression.reads() {
            for (labels, mut exemplars) in self.store.exemplars(read.matchers).flatten() {
                self.goes_on()?;
                exemplars.retain(is_in_time);
                if !exemplars.is_empty() && !all.contains_key(&labels) {
                    let entry = cost::slot(size_of::<(LabelSet, Vec<Exemplar>)>());
                    self.gathers(labels.cost() + entry + size_of_val(&*exemplars))?;
                    all.insert(labels, exemplars);
                }
            }
        }
        Ok(all)
    }

    /// A series for the evaluation. What it takes, and its part of the answer, is charged.
    fn series(&self, known: &Known) -> Result<Series, Failure> {
        const PAIR: usize = 4 * size_of::<usize>();
        const REFERENCES: usize = 16;
        let text = |text: &str| cost::block(REFERENCES + text.len());
        let pairs = known.labels.iter();
        let labels: usize = pairs
            .map(|(name, value)| PAIR + text(name) + text(value))
            .sum();
        let samples = known.most() + self.points.get();
        self.gathers(2 * size_of::<Series>() + labels + samples * size_of::<Sample>())?;
        let mut samples = Vec::with_capacity(known.most());
        samples.extend(
            known
                .samples()
                .map(|(at_ms, value)| Sample { at_ms, value }),
        );
        Ok(Series {
            labels: Labels::new(known.labels.iter()),
            samples,
        })
    }

    fn selected(&self, wanted: &Select<'_>) -> Result<Vec<Series>, Failure> {
        let time_ms = wanted.after_ms.saturating_add(1)..=wanted.until_ms;
        let (mut found, mut samples) = (Vec::new(), 0);
        self.each(wanted.matchers, time_ms, |known| {
            let series = self.series(&known)?;
            samples += series.samples.len();
            if samples > wanted.max_samples || found.len() >= wanted.max_series {
                return Err(Failure::too_much(wanted));
            }
            if !series.samples.is_empty() {
                found.push(series);
            }
            Ok(())
        })?;
        Ok(found)
    }
}

impl Source for Reading {
    fn select(&self, wanted: &Select<'_>) -> Result<Vec<Series>, Error> {
        self.selected(wanted).map_err(|why| {
            self.stopped.set(Some(why));
            Error::Stopped
        })
    }
}

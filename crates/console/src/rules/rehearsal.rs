//! Rules at times that a test chooses, to be compared with Prometheus.

use anyhow::Result;

use super::alert::{Alert, State};
use super::group::{Running, Time};
use super::{Data, Rules};
use crate::answer::Answers;
use crate::budget::Budget;
use crate::samples::Sample;
use crate::series::SeriesStore;

/// Enough memory for all samples, so that none is evicted.
const MEMORY: u64 = 4 << 30;

/// The rules of a text, over samples that are given to it.
#[derive(Debug)]
pub struct Rehearsal {
    rules: Rules,
    data: Data,
}

/// Names and texts.
pub type Pairs = Vec<(String, String)>;

/// Labels and a value.
pub type LabelledValue = (Pairs, f64);

impl Rehearsal {
    /// Loads the rules of a text; without a text, the bundled ones.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn new(text: Option<&str>) -> Result<Self> {
        let rules = match text {
            Some(text) => Rules::parse("rules", text),
            None => Rules::load(None),
        };
        let budget = Budget::new(MEMORY);
        let data = Data {
            series: SeriesStore::new(budget.series()),
            answers: Answers::new(budget),
        };
        let rules = rules?;
        Ok(Self { rules, data })
    }

    /// Adds samples of a time to what a source has said.
    pub fn add(&self, source: &str, metric: &str, given: LabelledValue, at_ms: i64) {
        let (labels, value) = given;
        let sample = Sample {
            name: metric.to_owned(),
            labels,
            value,
            timestamp_us: None,
            exemplar: None,
            begins: true,
        };
        let now_us = at_ms.unsigned_abs() * 1_000;
        let series = &self.data.series;
        series.scraped(source, &Vec::new(), vec![sample], now_us);
    }

    /// The source has gone: its series end.
    pub fn end(&self, source: &str, at_ms: i64) {
        self.data
            .series
            .went_down(source, at_ms.unsigned_abs() * 1_000);
    }

    /// Evaluates all groups for one time, in the order of the file. Not to be called on a thread of an asynchronous runtime, but within one.
    ///
    /// # Errors
    /// A rule cannot be evaluated; names it.
    pub fn evaluate(&mut self, at_ms: i64) -> Result<()> {
        for group in &mut self.rules.groups {
            let report = group.evaluate(&self.data, at_ms, 0);
            let rules = report.group.rules.iter().zip(&report.rules);
            for (rule, found) in rules {
                if let Some(why) = &found.error {
                    anyhow::bail!("{}: {why}", rule.name);
                }
            }
        }
        Ok(())
    }

    /// The alerts that have been firing since the last evaluation: labels and annotations.
    pub fn firing(&self) -> Vec<(Pairs, Pairs)> {
        let alerts = self.rules.groups.iter().flat_map(Running::alerts);
        let firing = alerts.filter(|alert| alert.state == State::Firing);
        let owned = |alert: &Alert| (pairs(&alert.labels), alert.annotations.to_vec());
        firing.map(owned).collect()
    }

    /// What an expression gives, by labels; the same threads may call it.
    ///
    /// # Errors
    /// It cannot be evaluated.
    pub fn ask(&self, expression: &str, at_ms: i64) -> Result<Vec<LabelledValue>> {
        let found = self
            .data
            .query(expression, Time::new(at_ms))
            .map_err(anyhow::Error::msg)?;
        let plain = |(labels, value)| (pairs(&labels), value);
        Ok(found.into_iter().map(plain).collect())
    }
}

fn pairs(labels: &promql::Labels) -> Pairs {
    let labels = labels.iter();
    labels
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

//! Evaluates the rules of a group, one after the other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use promql::{Labels, NAME, Value};
use serde_json::json;
use slo::routing::WATCHDOG;

use super::alert::{Alert, Alerts, State};
use super::file::{Alerting, Group, Kind, Rule};
use super::template::{QuerySample, Template};
use crate::answer::Answers;
use crate::log;
use crate::prometheus::{self, MAX_TIME};
use crate::samples::Sample;
use crate::series::{Lost, SeriesStore};

/// The maximum number of alerts per rule, because each has texts.
const MAX_ALERTS: usize = 500;

/// A rule that has not been evaluated for so many intervals says nothing any more about whether rules are.
const LATE: i64 = 4;

/// The data that rules read, and the store for recorded series.
#[derive(Debug, Clone)]
pub(crate) struct Data {
    pub answers: Answers,
    pub series: SeriesStore,
}

impl Data {
    /// The series that an expression gives.
    fn ask(&self, expression: &promql::Expression, time: Time) -> Result<Vec<QuerySample>, String> {
        let left = time.left()?;
        let page = self.answers.begin();
        match prometheus::evaluated(expression, &self.series, page, (time.at_ms, left))? {
            Value::Scalar(value) => Ok(vec![(Labels::default(), value)]),
            Value::Vector(found) => {
                let found = found.into_iter();
                Ok(found
                    .map(|(labels, sample)| (labels, sample.value))
                    .collect())
            }
            Value::String(_) | Value::Matrix(_) => {
                Err("the result is neither a number nor an instant vector".to_owned())
            }
        }
    }

    /// Does the same for a query of a template.
    pub(super) fn query(&self, text: &str, time: Time) -> Result<Vec<QuerySample>, String> {
        let expression = promql::parse(text).map_err(|why| why.to_string())?;
        self.ask(&expression, time)
    }
}

/// The time that a rule is evaluated for, and how long it may take, with all the questions of its templates.
#[derive(Debug, Clone, Copy)]
pub(super) struct Time {
    at_ms: i64,
    until: Instant,
}

impl Time {
    /// Starts now.
    pub fn new(at_ms: i64) -> Self {
        let until = Instant::now() + MAX_TIME;
        Self { at_ms, until }
    }

    fn left(self) -> Result<Duration, String> {
        let left = self.until.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => Err(format!("the rule has taken more than {MAX_TIME:?}")),
            false => Ok(left),
        }
    }
}

/// A group, and what its last evaluation gave.
#[derive(Debug)]
pub(super) struct Running {
    pub group: Arc<Group>,
    alerts: Vec<Alerts>,
    reports: Vec<RuleReport>,
    counts: Counts,
    is_late: bool,
}

/// The counts of a group.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    /// Evaluations of rules.
    pub evaluations: u64,
    /// Evaluations of rules that failed.
    pub failures: u64,
    /// Evaluations of the group.
    pub iterations: u64,
    /// Evaluations of the group that were due and did not happen.
    pub missed: u64,
}

/// The result of a rule's last evaluation.
#[derive(Debug, Clone, Default)]
pub(super) struct RuleReport {
    pub at_ms: Option<i64>,
    pub took: Duration,
    pub error: Option<String>,
    pub alerts: Vec<Alert>,
}

/// The result of a group's last evaluation.
#[derive(Debug, Clone)]
pub(crate) struct GroupReport {
    pub(super) group: Arc<Group>,
    pub at_ms: Option<i64>,
    pub took: Duration,
    pub(super) rules: Vec<RuleReport>,
    pub counts: Counts,
}

impl GroupReport {
    pub fn name(&self) -> &str {
        &self.group.name
    }

    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.group.interval_ms.unsigned_abs())
    }

    /// Whether both have the same alerts in the same states.
    pub(super) fn has_alerts_of(&self, other: &Self) -> bool {
        self.states().eq(other.states())
    }

    fn states(&self) -> impl Iterator<Item = (&Labels, State)> {
        let alerts = self.rules.iter().flat_map(|rule| &rule.alerts);
        alerts.map(|alert| (&alert.labels, alert.state))
    }

    /// Alerts to be told about. The one that says that alerting is alive ends when its rule fails, or has not been evaluated for long.
    pub(super) fn alerts_to_notify(&self, now_ms: i64) -> impl Iterator<Item = &Alert> + Clone {
        let oldest_ms = now_ms - LATE * self.group.interval_ms;
        let alerts = self.rules.iter().flat_map(move |rule| {
            let is_late = rule.at_ms.is_none_or(|at_ms| at_ms < oldest_ms);
            let is_dead = is_late || rule.error.is_some();
            rule.alerts.iter().map(move |alert| (alert, is_dead))
        });
        let is_watchdog = |alert: &Alert| alert.labels.get("alertname") == WATCHDOG;
        alerts
            .filter_map(move |(alert, is_dead)| (!is_dead || !is_watchdog(alert)).then_some(alert))
    }
}

impl Running {
    /// Nothing has been evaluated yet.
    pub fn new(group: Group) -> Self {
        let count = group.rules.len();
        Self {
            group: Arc::new(group),
            alerts: (0..count).map(|_| Alerts::default()).collect(),
            reports: vec![RuleReport::default(); count],
            counts: Counts::default(),
            is_late: false,
        }
    }

    /// Evaluates all rules for one time, after so many for which it should have.
    pub fn evaluate(&mut self, data: &Data, at_ms: i64, missed: u64) -> GroupReport {
        let group = self.group.clone();
        self.begins(missed);
        let started = Instant::now();
        for (index, rule) in group.rules.iter().enumerate() {
            let began = Instant::now();
            let alerts = &mut self.alerts[index];
            let source = format!("rule {} {index}", group.name);
            let error = one(rule, alerts, &source, data, at_ms).err();
            self.counts.evaluations += 1;
            self.counts.failures += u64::from(error.is_some());
            say_change(&group, rule, &self.reports[index], error.as_deref());
            self.reports[index] = RuleReport {
                at_ms: Some(at_ms),
                took: began.elapsed(),
                error,
                alerts: alerts.0.values().cloned().collect(),
            };
        }
        GroupReport {
            at_ms: Some(at_ms),
            took: started.elapsed(),
            ..self.report()
        }
    }

    /// Counts an evaluation and the missed ones before it. Logs when misses begin and end.
    fn begins(&mut self, missed: u64) {
        self.counts.iterations += 1;
        self.counts.missed += missed;
        let is_late = missed > 0;
        if is_late == std::mem::replace(&mut self.is_late, is_late) {
            return;
        }
        let fields = json!({"group": self.group.name, "missed": missed});
        match is_late {
            true => log::warn("rules are evaluated too late: times are missed", fields),
            false => log::info("rules are evaluated in time again", fields),
        }
    }

    /// The clock has been set: shifts all times by this much.
    pub fn shift(&mut self, by_ms: i64) {
        let all = self.alerts.iter_mut();
        all.flat_map(|alerts| alerts.0.values_mut())
            .for_each(|alert| alert.shift(by_ms));
    }

    /// Rules and their alerts.
    pub fn by_rule(&self) -> impl Iterator<Item = (&Rule, &Alerts)> {
        self.group.rules.iter().zip(&self.alerts)
    }

    /// The alerts of the rule with this name and expression, after `after` others with the same.
    pub fn of_rule(&mut self, name: &str, query: &str, after: usize) -> Option<&mut Alerts> {
        let is_it = |(rule, _): &(&Rule, _)| rule.name == name && rule.query == query;
        let all = self.group.rules.iter().zip(&mut self.alerts);
        all.filter(is_it).nth(after).map(|(_, alerts)| alerts)
    }

    /// The alerts of all rules.
    pub fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.iter().flat_map(|alerts| alerts.0.values())
    }

    /// Reports the alerts of before, that have just been restored.
    pub fn restored(&mut self) -> GroupReport {
        for (report, alerts) in self.reports.iter_mut().zip(&self.alerts) {
            report.alerts = alerts.0.values().cloned().collect();
        }
        self.report()
    }

    /// The report before the first evaluation.
    pub fn report(&self) -> GroupReport {
        GroupReport {
            group: self.group.clone(),
            at_ms: None,
            took: Duration::ZERO,
            rules: self.reports.clone(),
            counts: self.counts,
        }
    }
}

/// Says that a rule begins to fail, and that it does no more.
fn say_change(group: &Group, rule: &Rule, before: &RuleReport, error: Option<&str>) {
    let fields = json!({"group": group.name, "rule": rule.name, "error": error});
    match (&before.error, error) {
        (None, Some(_)) => log::warn("a rule cannot be evaluated", fields),
        (Some(_), None) => log::info("a rule can be evaluated again", fields),
        _ => {}
    }
}

/// Evaluates a rule and records what it gives. What it gave before and does not give any more ends with a stale marker.
fn one(
    rule: &Rule,
    alerts: &mut Alerts,
    source: &str,
    data: &Data,
    at_ms: i64,
) -> Result<(), String> {
    let mut left_out = 0;
    let time = Time::new(at_ms);
    let mut found = data.ask(&rule.expression, time)?;
    let samples = match &rule.kind {
        Kind::Record(labels) => recorded(&rule.name, labels, found)?,
        Kind::Alert(alerting) => {
            left_out = found.len().saturating_sub(MAX_ALERTS);
            found.truncate(MAX_ALERTS);
            let found = active(&rule.name, alerting, found, data, time)?;
            let times = (alerting.for_ms, alerting.keep_firing_for_ms);
            alerts.update(found, at_ms, times);
            alerts.0.values().flat_map(alert_series).collect()
        }
    };
    let now_us = u64::try_from(at_ms.saturating_mul(1_000)).unwrap_or_default();
    let (_, lost) = data.series.replace(source, &Vec::new(), samples, now_us);
    match lost {
        _ if left_out > 0 => Err(format!(
            "{left_out} alerts are left out: a rule has {MAX_ALERTS} at most"
        )),
        Lost {
            no_room: 0,
            out_of_order: 0,
            ..
        } => Ok(()),
        Lost {
            no_room: 0,
            out_of_order,
            ..
        } => Err(format!(
            "{out_of_order} samples are not kept: another rule or sender says the same series"
        )),
        Lost { no_room, .. } => Err(format!("{no_room} series found no room (--memory)")),
    }
}

fn recorded(
    name: &str,
    labels: &BTreeMap<String, String>,
    found: Vec<QuerySample>,
) -> Result<Vec<Sample>, String> {
    let mut distinct = BTreeMap::new();
    for (of, value) in found {
        let named = of.with(NAME, name);
        let labels = labels
            .iter()
            .fold(named, |all, (name, value)| all.with(name, value));
        if distinct.insert(labels, value).is_some() {
            return Err("two series have the same labels once the rule's are set".to_owned());
        }
    }
    let samples = distinct.iter();
    Ok(samples
        .map(|(labels, value)| sample(labels, *value))
        .collect())
}

/// The alerts that a result stands for.
fn active(
    name: &str,
    alerting: &Alerting,
    found: Vec<QuerySample>,
    data: &Data,
    time: Time,
) -> Result<BTreeMap<Labels, Alert>, String> {
    let query = |text: &str| data.query(text, time);
    let mut active = BTreeMap::new();
    for (of, value) in found {
        let of = of.with(NAME, "");
        let filled = |(name, template): &(String, Template)| {
            (name.clone(), template.filled(&of, value, &query))
        };
        // An alert matters more than its texts. If its rule has taken too long, the texts say so.
        let in_time = |one: &(String, Template)| match time.left() {
            Ok(_) => filled(one),
            Err(why) => (one.0.clone(), Template::failed(&why)),
        };
        let set = alerting.labels.iter().map(filled);
        let labels = set.fold(of.clone(), |all, (name, value)| all.with(&name, &value));
        let labels = labels.with("alertname", name);
        let annotations = alerting.annotations.iter().map(in_time).collect();
        let alert = Alert::new(labels.clone(), annotations, value, time.at_ms);
        if active.insert(labels, alert).is_some() {
            return Err("two alerts have the same labels once the rule's are set".to_owned());
        }
    }
    Ok(active)
}

/// The two series that say that an alert is pending or fires.
fn alert_series(alert: &Alert) -> Vec<Sample> {
    if !alert.is_active() {
        return Vec::new();
    }
    let state = alert.labels.with(NAME, "ALERTS");
    let since = alert.labels.with(NAME, "ALERTS_FOR_STATE");
    vec![
        sample(&state.with("alertstate", alert.state.as_str()), 1.0),
        sample(&since, alert.active_ms.div_euclid(1_000) as f64),
    ]
}

fn sample(labels: &Labels, value: f64) -> Sample {
    let others = labels.iter().filter(|(name, _)| *name != NAME);
    Sample {
        name: labels.get(NAME).to_owned(),
        labels: others
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        value,
        timestamp_us: None,
        exemplar: None,
        begins: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use crate::rules::file;

    #[test]
    fn who_says_that_alerting_is_alive_is_silent_when_its_rule_is_not_evaluated() {
        let rule = "{alert: Watchdog, expr: vector(1)}, {alert: Other, expr: vector(1)}";
        let text = format!("groups: [{{name: g, interval: 5s, rules: [{rule}]}}]");
        let group = file::parse(&text).expect("rules").remove(0);
        let mut report = Running::new(group).report();
        for (rule, name) in report.rules.iter_mut().zip(["Watchdog", "Other"]) {
            let labels = Labels::new([("alertname", name)]);
            rule.alerts.push(Alert::new(labels, [].into(), 1.0, 0));
            rule.at_ms = Some(100_000);
        }
        let told = |report: &GroupReport, now_ms| report.alerts_to_notify(now_ms).count();
        assert_eq!((told(&report, 120_000), told(&report, 120_001)), (2, 1));
        report.rules[0].error = Some("no room".to_owned());
        assert_eq!(told(&report, 100_000), 1);
    }

    #[tokio::test]
    async fn a_rule_that_has_taken_its_time_asks_no_more() {
        let budget = Budget::new(64 << 20);
        let series = SeriesStore::new(1 << 20);
        let answers = Answers::new(budget);
        let data = Data { answers, series };
        let asked = tokio::task::spawn_blocking(move || {
            let until = Instant::now();
            let late = Time { at_ms: 0, until };
            [Time::new(0), late].map(|time| data.query("1", time))
        });
        let [in_time, late] = asked.await.expect("no panic");
        assert_eq!(in_time.expect("a number").len(), 1);
        assert!(late.is_err_and(|why| why.contains("10s")));
    }
}

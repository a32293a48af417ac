//! Groups alerts into notifications, as Alertmanager does with the configuration that `omnitrace alertmanager-config` renders.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use promql::Labels;
use slo::Severity;
use slo::routing::{self, ENVIRONMENT, INHIBITIONS, Inhibition, Route};

use super::super::alert::{Alert, State};

/// The maximum number of groups; each bundled rule makes one per service.
const MAX_GROUPS: usize = 2_000;

/// The longest pause between two attempts to reach a receiver.
const MAX_PAUSE_MS: i64 = 60_000;
const FIRST_PAUSE_MS: i64 = 1_000;

/// A notified alert from before a restart resolves when no rule has reported it for this long, as in Alertmanager
/// (`resolve_timeout`).
const UNSAID_MS: i64 = 5 * 60_000;

/// A route, and the labels that its alerts agree in.
pub(super) type Key = (&'static Route, Labels);

/// All groups.
#[derive(Debug, Default)]
pub(super) struct Groups {
    all: BTreeMap<Key, Group>,
    /// Alerts whose group found no memory.
    pub lost: u64,
    /// Notified alerts from before a restart that no rule has reported since, and until when they may stay.
    unsaid: BTreeSet<Labels>,
    unsaid_until_ms: i64,
    /// The time of the last update.
    updated_ms: i64,
}

#[derive(Debug)]
struct Group {
    /// Firing ones, and resolved ones that nobody has been told about.
    alerts: BTreeMap<Labels, Alert>,
    due_ms: i64,
    /// The alerts that the last notification named as firing.
    told: BTreeSet<Labels>,
    told_ms: Option<i64>,
    failures: u32,
}

/// Alerts to be told.
#[derive(Debug)]
pub(super) struct Notification {
    pub key: Key,
    pub alerts: Vec<Alert>,
}

impl Notification {
    /// Whether one of its alerts does.
    pub fn fires(&self) -> bool {
        self.alerts.iter().any(|alert| alert.state == State::Firing)
    }
}

impl Groups {
    /// Starts with the alerts that were notified before a restart, and the times: each fires until the rules say otherwise.
    pub fn remembering(told: impl Iterator<Item = (i64, Alert)>, now_ms: i64) -> Self {
        let mut groups = Self {
            unsaid_until_ms: now_ms + UNSAID_MS,
            ..Self::default()
        };
        for (told_ms, alert) in told {
            let key = key(&alert);
            let next_ms = told_ms + milliseconds(key.0.group_interval);
            let group = groups.all.entry(key);
            let group = group.or_insert_with(|| Group::due(next_ms));
            group.told_ms = Some(told_ms);
            group.told.insert(alert.labels.clone());
            groups.unsaid.insert(alert.labels.clone());
            group.alerts.insert(alert.labels.clone(), alert);
        }
        groups
    }

    /// The notified alerts and the times: a restart must not lose them.
    pub fn remembered(&self) -> Vec<(i64, Alert)> {
        let of = |group: &Group| {
            let told_ms = group.told_ms.unwrap_or_default();
            let told = group.told.iter().filter_map(|one| group.alerts.get(one));
            told.map(|alert| (told_ms, alert.clone()))
                .collect::<Vec<_>>()
        };
        self.all.values().flat_map(of).collect()
    }

    /// Takes over the result of the rules.
    pub fn update<'a>(&mut self, alerts: impl Iterator<Item = &'a Alert> + Clone, now_ms: i64) {
        self.lost = 0;
        self.follow_the_clock(now_ms);
        let said = alerts.clone().filter(|one| one.state != State::Pending);
        let said: BTreeSet<&Labels> = said.map(|alert| &alert.labels).collect();
        self.unsaid.retain(|labels| !said.contains(labels));
        if !self.unsaid.is_empty() && now_ms >= self.unsaid_until_ms {
            // An alert that is pending again may still fire.
            let known: BTreeSet<&Labels> = alerts.clone().map(|alert| &alert.labels).collect();
            self.unsaid.retain(|labels| known.contains(labels));
        }
        self.end_missed(&said, now_ms);
        let pages: BTreeSet<InhibitionKey<'_>> = alerts.clone().flat_map(inhibiting).collect();
        let is_inhibited = |alert: &Alert| inhibited_by(alert).any(|page| pages.contains(&page));
        for alert in alerts.filter(|alert| alert.state != State::Pending) {
            let key = key(alert);
            let is_full = self.all.len() >= MAX_GROUPS;
            match self.all.get_mut(&key) {
                Some(group) => group.take(alert, is_inhibited(alert)),
                None if alert.state == State::Resolved || is_inhibited(alert) => {}
                None if is_full => self.lost += 1,
                None => {
                    let wait_ms = milliseconds(key.0.group_wait);
                    let mut group = Group::due(now_ms + wait_ms);
                    group.take(alert, false);
                    self.all.insert(key, group);
                }
            }
        }
    }

    /// After the clock has been set back, keeps the remaining time of each due notification.
    fn follow_the_clock(&mut self, now_ms: i64) {
        let by_ms = now_ms - std::mem::replace(&mut self.updated_ms, now_ms);
        if by_ms >= 0 {
            return;
        }
        self.unsaid_until_ms += by_ms;
        for group in self.all.values_mut() {
            group.due_ms += by_ms;
            group.told_ms = group.told_ms.map(|told_ms| told_ms + by_ms);
        }
    }

    /// An alert that the rules no longer report has ended, even if no update has seen it end: a receiver may take longer
    /// than an alert takes to end and start again.
    fn end_missed(&mut self, said: &BTreeSet<&Labels>, now_ms: i64) {
        let unsaid = &self.unsaid;
        for group in self.all.values_mut() {
            let told = &group.told;
            group.alerts.retain(|labels, alert| {
                let is_known = said.contains(labels) || unsaid.contains(labels);
                if alert.state == State::Resolved || is_known {
                    return true;
                }
                (alert.state, alert.resolved_ms) = (State::Resolved, Some(now_ms));
                told.contains(labels)
            });
        }
    }

    /// The notifications that are due.
    pub fn due(&mut self, now_ms: i64) -> Vec<Notification> {
        let due = self
            .all
            .iter_mut()
            .filter(|(_, group)| group.due_ms <= now_ms);
        let mut notifications = Vec::new();
        for (key, group) in due {
            match group.has_news(key.0, now_ms) {
                true => notifications.push(Notification {
                    key: key.clone(),
                    alerts: group.alerts.values().cloned().collect(),
                }),
                false => group.due_ms = now_ms + milliseconds(key.0.group_interval),
            }
        }
        self.all.retain(|_, group| !group.alerts.is_empty());
        notifications
    }

    /// Records an attempt. A failed one is repeated later.
    pub fn record_attempt(&mut self, notification: &Notification, is_told: bool, now_ms: i64) {
        let Some(group) = self.all.get_mut(&notification.key) else {
            return;
        };
        if !is_told {
            let pause_ms = FIRST_PAUSE_MS << group.failures.min(6);
            group.failures += 1;
            group.due_ms = now_ms + pause_ms.min(MAX_PAUSE_MS);
            return;
        }
        group.failures = 0;
        group.told_ms = Some(now_ms);
        group.due_ms = now_ms + milliseconds(notification.key.0.group_interval);
        for alert in &notification.alerts {
            match alert.state {
                State::Resolved => {
                    group.told.remove(&alert.labels);
                    let is_same = |known: &mut Alert| known.resolved_ms == alert.resolved_ms;
                    if group.alerts.get_mut(&alert.labels).is_some_and(is_same) {
                        group.alerts.remove(&alert.labels);
                    }
                }
                _ => drop(group.told.insert(alert.labels.clone())),
            }
        }
    }
}

impl Group {
    fn due(due_ms: i64) -> Self {
        Self {
            alerts: BTreeMap::new(),
            due_ms,
            told: BTreeSet::new(),
            told_ms: None,
            failures: 0,
        }
    }

    /// Stores the alert. It drops one that has resolved, or that a page inhibits, without having been notified before.
    fn take(&mut self, alert: &Alert, is_inhibited: bool) {
        let is_known = self.alerts.contains_key(&alert.labels);
        match alert.state {
            State::Resolved if !is_known => {}
            State::Resolved if !self.told.contains(&alert.labels) => {
                self.alerts.remove(&alert.labels);
            }
            State::Firing if is_inhibited && !self.told.contains(&alert.labels) => {
                self.alerts.remove(&alert.labels);
            }
            _ => drop(self.alerts.insert(alert.labels.clone(), alert.clone())),
        }
    }

    /// Whether an alert has started or ended since the last notification, or the repeat interval is over.
    fn has_news(&self, route: &Route, now_ms: i64) -> bool {
        let mut alerts = self.alerts.values();
        let has_changed = alerts.any(|alert| {
            let is_told = self.told.contains(&alert.labels);
            match alert.state {
                State::Resolved => is_told,
                _ => !is_told,
            }
        });
        let repeat_ms = milliseconds(route.repeat_interval);
        let is_old = self
            .told_ms
            .is_some_and(|told_ms| now_ms - told_ms >= repeat_ms);
        has_changed || (is_old && !self.alerts.is_empty())
    }
}

fn key(alert: &Alert) -> Key {
    let route = route(alert);
    let shared = alert.labels.only(|name| route.group_by.contains(&name));
    (route, shared)
}

/// The route of the alert.
pub(super) fn route(alert: &Alert) -> &'static Route {
    let label = |name| alert.labels.get(name);
    routing::route(label("alertname"), label("severity"))
}

/// A key by which a page inhibits tickets: the index of the inhibition, and the labels that must be equal.
type InhibitionKey<'a> = (usize, Vec<&'a str>);

/// The keys of the tickets that this page inhibits.
fn inhibiting(alert: &Alert) -> impl Iterator<Item = InhibitionKey<'_>> {
    let is_page = alert.labels.get("severity") == Severity::Page.as_str();
    let fires = is_page && alert.state == State::Firing;
    let all = INHIBITIONS.iter().enumerate().filter(move |_| fires);
    all.filter_map(|(place, way)| about(alert, place, way))
}

/// The keys of the pages that would inhibit this ticket.
fn inhibited_by(alert: &Alert) -> impl Iterator<Item = InhibitionKey<'_>> {
    let is_ticket = alert.labels.get("severity") == Severity::Ticket.as_str();
    let slo = alert.labels.get("slo");
    let all = INHIBITIONS.iter().enumerate();
    let mine = all.filter(move |(_, way)| is_ticket && way.slo.is_none_or(|one| one == slo));
    mine.filter_map(|(place, way)| about(alert, place, way))
}

fn about<'a>(alert: &'a Alert, place: usize, way: &Inhibition) -> Option<InhibitionKey<'a>> {
    let mut values: Vec<&str> = way
        .equal
        .iter()
        .map(|name| alert.labels.get(name))
        .collect();
    let is_set = values.iter().all(|value| !value.is_empty());
    values.push(alert.labels.get(ENVIRONMENT));
    is_set.then_some((place, values))
}

fn milliseconds(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX / 1_000) * 1_000
}

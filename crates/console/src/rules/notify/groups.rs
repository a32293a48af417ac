//! Which alerts are told together, and when: as Alertmanager does with the configuration that `omnitrace alertmanager-config` renders.

use std::collections::{BTreeMap, BTreeSet};

use promql::Labels;
use slo::Severity;
use slo::routing::{self, INHIBITIONS, Inhibition, Route};

use super::super::alert::{Alert, State};

/// The most groups that are remembered; each of the rules that ship makes one per service.
const MAX_GROUPS: usize = 2_000;

/// After this long without a receiver it is asked no more often than once in so many milliseconds.
const MAX_PAUSE_MS: i64 = 60_000;
const FIRST_PAUSE_MS: i64 = 1_000;

/// A route, and the labels that its alerts agree in.
pub(super) type Key = (&'static Route, Labels);

/// All groups.
#[derive(Debug, Default)]
pub(super) struct Groups {
    all: BTreeMap<Key, Group>,
    /// Alerts for whose group there was no room.
    pub lost: u64,
}

#[derive(Debug)]
struct Group {
    /// Firing ones, and resolved ones that nobody has been told about.
    alerts: BTreeMap<Labels, Alert>,
    due_ms: i64,
    /// Of those that were told last: they fire.
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

impl Groups {
    /// Takes over what the rules found.
    pub fn update<'a>(&mut self, alerts: impl Iterator<Item = &'a Alert> + Clone, now_ms: i64) {
        let pages: BTreeSet<About<'_>> = alerts.clone().flat_map(inhibiting).collect();
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

    /// What is to be told now.
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

    /// Somebody has been told, or could not be: then it is tried again.
    pub fn told(&mut self, notification: &Notification, is_told: bool, now_ms: i64) {
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

    /// One that is resolved counts if it is known to fire; one that a page says too does not.
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

    /// An alert that is new or has ended; or all of it again after long.
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
    let label = |name| alert.labels.get(name);
    let route = routing::route(label("alertname"), label("severity"));
    let shared = alert.labels.only(|name| route.group_by.contains(&name));
    (route, shared)
}

/// One of the ways in which a page silences tickets, by its place, and in what both agree.
type About<'a> = (usize, Vec<&'a str>);

/// What a page silences tickets about.
fn inhibiting(alert: &Alert) -> impl Iterator<Item = About<'_>> {
    let is_page = alert.labels.get("severity") == Severity::Page.as_str();
    let fires = is_page && alert.state == State::Firing;
    let all = INHIBITIONS.iter().enumerate().filter(move |_| fires);
    all.filter_map(|(place, way)| about(alert, place, way))
}

/// What a page would have to be about to silence this.
fn inhibited_by(alert: &Alert) -> impl Iterator<Item = About<'_>> {
    let is_ticket = alert.labels.get("severity") == Severity::Ticket.as_str();
    let slo = alert.labels.get("slo");
    let all = INHIBITIONS.iter().enumerate();
    let mine = all.filter(move |(_, way)| is_ticket && way.slo.is_none_or(|one| one == slo));
    mine.filter_map(|(place, way)| about(alert, place, way))
}

fn about<'a>(alert: &'a Alert, place: usize, way: &Inhibition) -> Option<About<'a>> {
    let values: Vec<&str> = way
        .equal
        .iter()
        .map(|name| alert.labels.get(name))
        .collect();
    let is_set = values.iter().all(|value| !value.is_empty());
    is_set.then_some((place, values))
}

fn milliseconds(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX / 1_000) * 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(name: &str, severity: &str, route: &str) -> Alert {
        let labels = [
            ("alertname", name),
            ("severity", severity),
            ("service", "gateway"),
            ("slo", "availability"),
            ("team", "shop"),
            ("route", route),
        ];
        let mut alert = Alert::new(Labels::new(labels), [].into(), 1.0, 0);
        alert.state = State::Firing;
        alert
    }

    fn resolved(alert: &Alert, at_ms: i64) -> Alert {
        let mut alert = alert.clone();
        (alert.state, alert.resolved_ms) = (State::Resolved, Some(at_ms));
        alert
    }

    /// Receivers, with the number of alerts and how many of them are resolved.
    fn due(
        groups: &mut Groups,
        alerts: &[&Alert],
        now_ms: i64,
        is_told: bool,
    ) -> Vec<(&'static str, usize, usize)> {
        groups.update(alerts.iter().copied(), now_ms);
        let due = groups.due(now_ms);
        let counted = due.iter().map(|one| {
            groups.told(one, is_told, now_ms);
            let resolved = one
                .alerts
                .iter()
                .filter(|alert| alert.state == State::Resolved);
            (one.key.0.receiver, one.alerts.len(), resolved.count())
        });
        counted.collect()
    }

    #[test]
    fn a_page_is_told_after_5_s_again_when_it_changes_and_when_it_ends() {
        let mut groups = Groups::default();
        let (one, two) = (alert("A", "page", "/a"), alert("A", "page", "/b"));
        let mut go = |alerts: &[&Alert], now_ms| due(&mut groups, alerts, now_ms, true);
        assert_eq!(go(&[&one], 0), []);
        assert_eq!(go(&[&one], 4_999), []);
        assert_eq!(go(&[&one, &two], 5_000), [("page", 2, 0)]);
        assert_eq!(go(&[&one, &two], 65_000), [], "no news");
        assert_eq!(go(&[&resolved(&one, 70_000), &two], 70_000), []);
        assert_eq!(
            go(&[&resolved(&one, 70_000), &two], 125_000),
            [("page", 2, 1)]
        );
        assert_eq!(
            go(&[&resolved(&one, 70_000), &two], 185_000),
            [],
            "told once"
        );
        assert_eq!(go(&[&two], 3_725_001), [("page", 1, 0)], "after an hour");
        assert_eq!(
            go(&[&resolved(&two, 3_730_000)], 3_785_001),
            [("page", 1, 1)]
        );
        assert_eq!(go(&[], 9_999_999), []);
        assert!(groups.all.is_empty(), "{groups:?}");
    }

    #[test]
    fn what_ends_before_it_is_told_is_never_told() {
        let mut groups = Groups::default();
        let one = alert("A", "page", "/a");
        assert_eq!(due(&mut groups, &[&one], 0, true), []);
        assert_eq!(due(&mut groups, &[&resolved(&one, 4_000)], 5_000, true), []);
        assert!(groups.all.is_empty(), "{groups:?}");
    }

    #[test]
    fn nothing_is_lost_while_the_receiver_is_away() {
        let mut groups = Groups::default();
        let one = alert("A", "page", "/a");
        let mut at_ms = Vec::new();
        for now_ms in (0..240_000).step_by(1_000) {
            let told = due(&mut groups, &[&one], now_ms, false);
            at_ms.extend(told.iter().map(|_| now_ms / 1_000));
        }
        assert_eq!(
            at_ms,
            [5, 6, 8, 12, 20, 36, 68, 128, 188],
            "once a minute in the end"
        );
        assert_eq!(due(&mut groups, &[&one], 250_000, true), [("page", 1, 0)]);
        let end = resolved(&one, 251_000);
        for now_ms in [310_000, 311_000] {
            assert_eq!(due(&mut groups, &[&end], now_ms, false), [("page", 1, 1)]);
        }
        // The rule has forgotten it by now.
        assert_eq!(due(&mut groups, &[], 999_000, true), [("page", 1, 1)]);
    }

    #[test]
    fn a_page_silences_tickets_of_its_objective_and_the_watchdog_goes_its_own_way() {
        let mut groups = Groups::default();
        let watchdog = alert("Watchdog", "none", "none");
        let all = [
            alert("A", "page", "/a"),
            alert("B", "ticket", "/a"),
            alert("C", "ticket", "/b"),
            alert("D", "ticket", ""),
            watchdog,
        ];
        let all: Vec<&Alert> = all.iter().collect();
        let mut go = |now_ms| due(&mut groups, &all, now_ms, true);
        assert_eq!(go(0), [("watchdog", 1, 0)]);
        assert_eq!(
            go(30_000),
            [("page", 1, 0), ("ticket", 1, 0), ("ticket", 1, 0)]
        );
        assert_eq!(go(60_000), [("watchdog", 1, 0)], "every minute");
    }

    /// One that has another label.
    fn but(mut alert: Alert, name: &str, value: &str) -> Alert {
        alert.labels = alert.labels.with(name, value);
        alert
    }

    #[test]
    fn one_outage_is_one_page_and_silences_the_causes_in_its_service() {
        let mut groups = Groups::default();
        let cause = |name| but(alert(name, "ticket", "none"), "slo", "none");
        let all = [
            alert("AvailabilityBurnRate", "page", "/a"),
            alert("ProbeFailing", "page", "/a"),
            alert("ServiceDown", "page", "all"),
            but(alert("LatencyBurnRate", "page", "/a"), "slo", "latency"),
            cause("DependencyErrors"),
            cause("NotReady"),
            but(cause("PoolSaturated"), "service", "data"),
            but(cause("SlowQueries"), "service", "data"),
        ];
        let mut all: Vec<&Alert> = all.iter().collect();
        let mut go = |alerts: &[&Alert], now_ms| due(&mut groups, alerts, now_ms, true);
        assert_eq!(go(&all, 0), []);
        assert_eq!(
            go(&all, 5_000),
            [("page", 3, 0), ("page", 1, 0)],
            "of each objective"
        );
        assert_eq!(
            go(&all, 30_000),
            [("ticket", 1, 0), ("ticket", 1, 0)],
            "each of the other service, on its own"
        );
        // With the page's end the causes are told: nothing says them any more.
        all.drain(..4);
        go(&all, 40_000);
        assert_eq!(go(&all, 71_000), [("ticket", 1, 0), ("ticket", 1, 0)]);
    }
}

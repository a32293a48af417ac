//! Which receiver gets which notification, and when.

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
        groups.record_attempt(one, is_told, now_ms);
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

fn of(environment: &str, alert: &Alert) -> Alert {
    let environment = Labels::new([(ENVIRONMENT, environment)]);
    let labels = alert.labels.iter().chain(environment.iter());
    let mut of = alert.clone();
    of.labels = Labels::new(labels);
    of
}

#[test]
fn what_is_one_outage_in_two_environments_is_two_and_a_page_silences_its_own_only() {
    let mut groups = Groups::default();
    let (page, ticket) = (alert("A", "page", "/a"), alert("A", "ticket", "/a"));
    let (one, two) = (of("staging", &page), of("production", &page));
    let tickets = [of("staging", &ticket), of("elsewhere", &ticket)];
    let alerts = [&one, &two, &page, &tickets[0], &tickets[1], &ticket];
    assert_eq!(due(&mut groups, &alerts, 0, true), []);
    let told = due(&mut groups, &alerts, 5_000, true);
    assert_eq!(told, [("page", 1, 0); 3]);
    let told = due(&mut groups, &alerts, 30_000, true);
    assert_eq!(told, [("ticket", 1, 0)], "that of nobody's page");
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
        "once per minute in the end"
    );
    assert_eq!(due(&mut groups, &[&one], 250_000, true), [("page", 1, 0)]);
    let end = resolved(&one, 251_000);
    for now_ms in [310_000, 311_000] {
        assert_eq!(due(&mut groups, &[&end], now_ms, false), [("page", 1, 1)]);
    }
    // The rule has forgotten it by now.
    assert_eq!(due(&mut groups, &[], 999_000, true), [("page", 1, 1)]);
}

/// The groups that are restored after a restart.
fn restarted(groups: &Groups, now_ms: i64) -> Groups {
    Groups::remembering(groups.remembered().into_iter(), now_ms)
}

#[test]
fn after_a_restart_what_was_told_is_told_again_in_its_time_and_its_end_at_once() {
    let mut groups = Groups::default();
    let (one, two) = (alert("A", "page", "/a"), alert("A", "page", "/b"));
    assert_eq!(due(&mut groups, &[&one, &two], 0, true), []);
    let told = due(&mut groups, &[&one, &two], 5_000, true);
    assert_eq!(told, [("page", 2, 0)]);

    let mut groups = restarted(&groups, 20_000);
    let (ended, new) = (resolved(&one, 21_000), alert("A", "page", "/c"));
    let said = [&ended, &two];
    assert_eq!(due(&mut groups, &said, 21_000, true), [], "its interval");
    let told = due(&mut groups, &said, 65_000, true);
    assert_eq!(told, [("page", 2, 1)], "its end");

    let mut groups = restarted(&groups, 1_000_000);
    assert_eq!(due(&mut groups, &said, 1_000_000, true), [], "no news");
    let told = due(&mut groups, &[&two, &new], 1_060_000, true);
    assert_eq!(told, [("page", 2, 0)], "a new one");
    let mut groups = restarted(&groups, 1_100_000);
    let told = due(&mut groups, &[&two, &new], 4_660_000, true);
    assert_eq!(told, [("page", 2, 0)], "after an hour");
}

#[test]
fn what_no_rule_says_after_a_restart_is_over_after_5_minutes() {
    let mut groups = Groups::default();
    let one = alert("A", "page", "/a");
    let two = but(one.clone(), "service", "data");
    due(&mut groups, &[&one, &two], 0, true);
    assert_eq!(due(&mut groups, &[&one, &two], 5_000, true).len(), 2);

    let mut groups = restarted(&groups, 100_000);
    let pending = Alert::new(two.labels.clone(), [].into(), 1.0, 100_000);
    assert_eq!(due(&mut groups, &[], 100_000, true), []);
    assert_eq!(due(&mut groups, &[&pending], 399_999, true), []);
    let told = due(&mut groups, &[&pending], 460_000, true);
    assert_eq!(told, [("page", 1, 1)], "the other may fire again");
    let told = due(&mut groups, &[], 520_000, true);
    assert_eq!(told, [("page", 1, 1)], "it does not");
    assert!(groups.remembered().is_empty(), "{groups:?}");
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

/// The alert with a different label.
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
    // When the page ends, the causes are notified: no rule reports them any more.
    all.drain(..4);
    go(&all, 40_000);
    let ends = [("page", 3, 3), ("page", 1, 1)];
    let causes = [("ticket", 1, 0), ("ticket", 1, 0)];
    assert_eq!(go(&all, 71_000), [ends, causes].concat());
}

#[test]
fn what_ends_and_begins_anew_between_two_looks_is_told_to_have_ended() {
    let mut groups = Groups::default();
    let one = alert("A", "page", "/a");
    let pending = Alert::new(one.labels.clone(), [].into(), 1.0, 60_000);
    let mut go = |alert, now_ms| due(&mut groups, &[alert], now_ms, true);
    assert_eq!(go(&one, 0), []);
    assert_eq!(go(&one, 5_000), [("page", 1, 0)]);
    assert_eq!(go(&pending, 65_000), [("page", 1, 1)]);
    assert_eq!(go(&one, 70_000), []);
    assert_eq!(go(&one, 125_000), [("page", 1, 0)], "as a new one");
}

#[test]
fn a_clock_that_is_set_back_mutes_nobody() {
    const HOUR_MS: i64 = 3_600_000;
    let mut groups = Groups::default();
    let (one, two) = (alert("A", "page", "/a"), alert("A", "page", "/b"));
    let mut go = |alerts: &[&Alert], now_ms| due(&mut groups, alerts, now_ms, true);
    assert_eq!(go(&[&one], 2 * HOUR_MS), []);
    assert_eq!(go(&[&one], 2 * HOUR_MS + 5_000), [("page", 1, 0)]);
    assert_eq!(go(&[&one], HOUR_MS), [], "the clock is set back");
    assert_eq!(go(&[&one, &two], HOUR_MS + 60_000), [("page", 2, 0)]);
}

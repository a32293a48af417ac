//! Who is told about an alert, together with which others, and when: what Alertmanager's configuration is rendered from and the console
//! goes by.

use crate::Severity;

/// Alerts that agree in these labels are one notification: what belongs to one objective of one service.
pub const GROUP_BY: [&str; 4] = ["alertname", "team", "service", "slo"];

/// A page that agrees with a ticket in these labels says what the ticket would repeat. Each must be set: labels that are absent
/// compare equal, so any page would silence every ticket without them.
pub const INHIBITED_BY: [&str; 3] = ["slo", "service", "route"];

/// The alert that always fires.
pub const WATCHDOG: &str = "Watchdog";

/// Where alerts go, and when. Times are in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Its name.
    pub receiver: &'static str,
    /// How long the first alert of a group waits for others.
    pub group_wait: u64,
    /// Between two notifications about a group that changes.
    pub group_interval: u64,
    /// Between two about one that does not.
    pub repeat_interval: u64,
}

/// Where tickets go, and what no other route takes.
pub const TICKET: Route = Route {
    receiver: "ticket",
    group_wait: 30,
    group_interval: 5 * 60,
    repeat_interval: 12 * 3_600,
};

/// Where pages go: they wait for nobody.
pub const PAGE: Route = Route {
    receiver: "page",
    group_wait: 5,
    group_interval: 60,
    repeat_interval: 3_600,
};

/// Where the alert that always fires goes: to a receiver that raises the alarm when it stops.
pub const DEADMAN: Route = Route {
    receiver: "watchdog",
    group_wait: 0,
    group_interval: 60,
    repeat_interval: 60,
};

/// The route of an alert.
pub fn route(alertname: &str, severity: &str) -> &'static Route {
    match alertname {
        WATCHDOG => &DEADMAN,
        _ if severity == Severity::Page.as_str() => &PAGE,
        _ => &TICKET,
    }
}

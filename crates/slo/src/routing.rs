//! Who is told about an alert, together with which others, and when: what Alertmanager's configuration is rendered from and the console
//! goes by.

use crate::Severity;

/// Which of several stacks an alert is from, if that is said: one Alertmanager may serve several. What is one outage in two of them is two.
pub const ENVIRONMENT: &str = "deployment_environment_name";

/// Pages that agree in these labels are one notification, whatever rule it was that saw the trouble: a probe that fails and the requests
/// that fail are one outage.
const PAGES_TOGETHER: &[&str] = &[ENVIRONMENT, "team", "service", "slo"];

/// The same of everything else: each cause is told on its own.
const TICKETS_TOGETHER: &[&str] = &[ENVIRONMENT, "alertname", "team", "service", "slo"];

/// A page silences the tickets that say what it says already, or why. Each of the labels must be set: labels that are absent compare
/// equal, so any page would silence every ticket without them.
#[derive(Debug, Clone, Copy)]
pub struct Inhibition {
    /// The tickets have this value of the label `slo`, if one is named.
    pub slo: Option<&'static str>,
    /// Page and ticket agree in these labels, and in [`ENVIRONMENT`], which both may lack.
    pub equal: &'static [&'static str],
}

/// Tickets of the page's own objective, and those about causes in the same service, which the page's evidence shows.
pub const INHIBITIONS: [Inhibition; 2] = [
    Inhibition {
        slo: None,
        equal: &["slo", "service", "route"],
    },
    Inhibition {
        slo: Some("none"),
        equal: &["service"],
    },
];

/// The alert that always fires.
pub const WATCHDOG: &str = "Watchdog";

/// Where alerts go, and when. Times are in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Its name.
    pub receiver: &'static str,
    /// Alerts that agree in these labels are one notification.
    pub group_by: &'static [&'static str],
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
    group_by: TICKETS_TOGETHER,
    // Long enough for the page that explains the ticket, and then silences it.
    group_wait: 15,
    group_interval: 5 * 60,
    repeat_interval: 12 * 3_600,
};

/// Where pages go: they wait for nobody.
pub const PAGE: Route = Route {
    receiver: "page",
    group_by: PAGES_TOGETHER,
    group_wait: 5,
    group_interval: 60,
    repeat_interval: 3_600,
};

/// Where the alert that always fires goes: to a receiver that raises the alarm when it stops.
pub const DEADMAN: Route = Route {
    receiver: "watchdog",
    group_by: TICKETS_TOGETHER,
    group_wait: 0,
    // Once per minute, at every second look. The receiver is told a moment after a look, so at the second look after that one the
    // notification is not quite 60 s old: a repetition of 60 s would wait for the third look.
    group_interval: 30,
    repeat_interval: 50,
};

/// The route of an alert.
pub fn route(alertname: &str, severity: &str) -> &'static Route {
    match alertname {
        WATCHDOG => &DEADMAN,
        _ if severity == Severity::Page.as_str() => &PAGE,
        _ => &TICKET,
    }
}

//! The states of an alert: pending, firing, resolved, as in Prometheus.

use std::collections::BTreeMap;
use std::sync::Arc;

use promql::Labels;
use serde::{Deserialize, Serialize};

/// A resolved alert is remembered for this long, so that its receivers also get its end.
const REMEMBERED_MS: i64 = 15 * 60_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Pending,
    Firing,
    Resolved,
}

impl State {
    /// As Prometheus calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Resolved => "inactive",
        }
    }
}

/// Names and texts.
pub(super) type Annotations = Arc<[(String, String)]>;

/// One alert. Times are milliseconds since the epoch.
#[derive(Debug, Clone)]
pub(super) struct Alert {
    pub labels: Labels,
    pub annotations: Annotations,
    pub value: f64,
    pub state: State,
    /// Since when its condition has held.
    pub active_ms: i64,
    /// Since when it fires, or when it began to fire.
    pub fired_ms: Option<i64>,
    /// Since when its condition no longer holds, although it still fires.
    pub keep_firing_since_ms: Option<i64>,
    pub resolved_ms: Option<i64>,
    /// For an alert from before a restart: it does not resolve until then, unless its rule says so again.
    pub stays_until_ms: Option<i64>,
}

impl Alert {
    /// Its condition holds, for the first time.
    pub fn new(labels: Labels, annotations: Annotations, value: f64, at_ms: i64) -> Self {
        Self {
            labels,
            annotations,
            value,
            state: State::Pending,
            active_ms: at_ms,
            fired_ms: None,
            keep_firing_since_ms: None,
            resolved_ms: None,
            stays_until_ms: None,
        }
    }

    /// Shifts all times by this much.
    pub fn shift(&mut self, by_ms: i64) {
        self.active_ms += by_ms;
        let others = [
            &mut self.fired_ms,
            &mut self.keep_firing_since_ms,
            &mut self.resolved_ms,
            &mut self.stays_until_ms,
        ];
        for time in others.into_iter().flatten() {
            *time += by_ms;
        }
    }

    pub fn is_active(&self) -> bool {
        self.state != State::Resolved
    }
}

/// The alerts of a rule, by their labels.
#[derive(Debug, Default)]
pub(super) struct Alerts(pub BTreeMap<Labels, Alert>);

impl Alerts {
    /// Takes over the result of an evaluation.
    pub fn update(
        &mut self,
        found: BTreeMap<Labels, Alert>,
        at_ms: i64,
        (for_ms, keep_firing_for_ms): (i64, i64),
    ) {
        self.0.retain(|labels, alert| {
            let gone = !found.contains_key(labels);
            !gone || stays(alert, at_ms, keep_firing_for_ms)
        });
        for (labels, new) in found {
            match self.0.get_mut(&labels).filter(|known| known.is_active()) {
                Some(known) => {
                    (known.value, known.annotations) = (new.value, new.annotations);
                    (known.keep_firing_since_ms, known.stays_until_ms) = (None, None);
                }
                None => drop(self.0.insert(labels, new)),
            }
        }
        for alert in self.0.values_mut() {
            let is_seen = alert.stays_until_ms.is_none();
            if alert.state == State::Pending && is_seen && at_ms - alert.active_ms >= for_ms {
                (alert.state, alert.fired_ms) = (State::Firing, Some(at_ms));
            }
        }
    }
}

/// The condition does not hold. Returns whether the alert is still remembered.
fn stays(alert: &mut Alert, at_ms: i64, keep_firing_for_ms: i64) -> bool {
    if alert.is_active()
        && alert
            .stays_until_ms
            .is_some_and(|until_ms| at_ms < until_ms)
    {
        return true;
    }
    match alert.state {
        State::Pending => false,
        State::Resolved => alert
            .resolved_ms
            .is_some_and(|resolved| at_ms - resolved <= REMEMBERED_MS),
        State::Firing => {
            if keep_firing_for_ms > 0 {
                let since = *alert.keep_firing_since_ms.get_or_insert(at_ms);
                if at_ms - since < keep_firing_for_ms {
                    return true;
                }
            }
            (alert.state, alert.resolved_ms) = (State::Resolved, Some(at_ms));
            true
        }
    }
}

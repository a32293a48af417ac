//! What is wrong in a scenario: the answer key, which nothing that decides may read.

use serde::{Deserialize, Serialize};
use slo::CauseKind;

use crate::notification::{Diagnosed, Notification};
use crate::pattern::fits;

/// The answer key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Truth {
    /// Where the fault is.
    pub service: String,
    /// What that service suffers from, if the fault lies in something without telemetry of its own.
    pub dependency: Option<String>,
    /// Kinds that are right.
    pub kind: Vec<String>,
    /// `Alert service`, in each `*` for any text: alerts that tell of the fault itself or of its expected consequences.
    pub alerts: Vec<String>,
    /// `what target`: first actions that are right.
    pub action: Vec<String>,
    /// Whether a roll-back of `service` is right.
    #[serde(default)]
    pub roll_back: bool,
}

impl Truth {
    pub(crate) fn check(&self) -> Result<(), String> {
        for (key, given) in [
            ("kind", &self.kind),
            ("alerts", &self.alerts),
            ("action", &self.action),
        ] {
            if given.is_empty() {
                return Err(format!("`{key}`: at least one"));
            }
        }
        // A truth is known.
        let kinds = CauseKind::ALL
            .iter()
            .filter(|kind| **kind != CauseKind::Unknown);
        let mut kinds: Vec<&str> = kinds.map(|kind| kind.as_str()).collect();
        kinds.sort_unstable();
        let actions: Vec<&str> = slo::Action::ALL
            .iter()
            .map(|action| action.as_str())
            .collect();
        for kind in &self.kind {
            known("kind", kind, &kinds)?;
        }
        for action in &self.action {
            let (what, _) =
                two(action).ok_or_else(|| pair("action", action, "restart downstream"))?;
            known("action", what, &actions)?;
        }
        for alert in &self.alerts {
            two(alert).ok_or_else(|| pair("alerts", alert, "AvailabilityBurnRate gateway"))?;
        }
        Ok(())
    }

    /// Whether the notification tells of this fault or its consequences.
    pub fn is_told_by(&self, notification: &Notification) -> bool {
        notification.alerts().any(|(alert, service)| {
            let expected = self.alerts.iter().filter_map(|pattern| two(pattern));
            expected
                .into_iter()
                .any(|(name, of)| fits(name, alert) && fits(of, service))
        })
    }

    /// Whether a cause is the true one.
    pub fn is_cause(&self, cause: &Diagnosed) -> bool {
        self.is_place(cause) && self.kind.contains(&cause.kind)
    }

    /// Whether a cause is at the true place, whatever its kind.
    pub fn is_place(&self, cause: &Diagnosed) -> bool {
        cause.service == self.service
            && (self.dependency.is_none() || cause.dependency == self.dependency)
    }

    /// Whether the advised action is a right one.
    pub fn is_action(&self, what: &str, target: &str) -> bool {
        let right = self.action.iter().filter_map(|action| two(action));
        right
            .into_iter()
            .any(|(name, of)| fits(name, what) && fits(of, target))
    }
}

fn known(key: &str, given: &str, allowed: &[&str]) -> Result<(), String> {
    match allowed.contains(&given) {
        true => Ok(()),
        false => Err(format!(
            "`{key}`: {given:?} is unknown; allowed: {}",
            allowed.join(", ")
        )),
    }
}

fn pair(key: &str, given: &str, example: &str) -> String {
    format!("`{key}`: {given:?} is not two words; expected such as {example:?}")
}

fn two(text: &str) -> Option<(&str, &str)> {
    let mut words = text.split_whitespace();
    let found = (words.next()?, words.next()?);
    words.next().is_none().then_some(found)
}

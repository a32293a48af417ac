//! What the cause of an alert is likely to be, and what to do first: decided from what the alert says of itself and from its evidence.

mod action;
mod calls;
mod causes;
mod declared;
mod states;
#[cfg(test)]
mod tests;

use serde::Serialize;
use slo::{Action, CauseKind};

use crate::evidence::Evidence;
use crate::notification::LinkList;
use crate::payload::{Payload, Status};

/// How many causes are named.
const SHOWN: usize = 3;

/// The causes and the first action.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Diagnosis {
    /// The most likely first, no two of them equal.
    pub(crate) causes: Vec<Cause>,
    pub(crate) first_action: FirstAction,
}

/// Where a fault is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Cause {
    /// The service whose own code, process, instance, pool or session of a database is at fault.
    pub(crate) service: String,
    /// If the fault is in something that the service calls and that has no telemetry: its name.
    pub(crate) dependency: Option<String>,
    pub(crate) kind: CauseKind,
    /// What was seen.
    pub(crate) why: String,
}

/// What to do first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct FirstAction {
    #[serde(rename = "do")]
    pub(crate) action: Action,
    /// The service, the part, or the owner of the session.
    pub(crate) target: String,
    /// The version to go back to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<String>,
    pub(crate) why: String,
    /// All of it in one sentence.
    pub(crate) text: String,
    /// The page that the text names in parentheses.
    #[serde(skip)]
    pub(crate) page: Option<String>,
}

impl Diagnosis {
    /// The diagnosis of a group of alerts; none when all of them are over.
    pub(crate) fn of(payload: &Payload, evidence: &Evidence, links: &LinkList) -> Option<Self> {
        if payload.status == Status::Resolved {
            return None;
        }
        let alerts = declared::all(payload);
        let causes = causes::likely(&alerts, evidence);
        let first_action = action::first(&causes, &alerts, evidence, links)?;
        Some(Self {
            causes,
            first_action,
        })
    }
}

impl Cause {
    fn is_same(&self, other: &Self) -> bool {
        (&self.service, &self.dependency, self.kind)
            == (&other.service, &other.dependency, other.kind)
    }

    /// `data`, `postgresql of data`.
    pub(crate) fn place(&self) -> String {
        match &self.dependency {
            Some(dependency) => format!("{dependency} of {}", self.service),
            None => self.service.clone(),
        }
    }
}

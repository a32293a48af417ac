//! What one run of a scenario has recorded: facts, no judgement. A run is scored from this alone, so a better score needs no
//! new run.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::notification::Notification;
use crate::scenario::Mode;

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The scenario.
    pub scenario: String,
    /// The mode.
    pub mode: Mode,
    /// Which repeat, from 1.
    pub repeat: u32,
    /// The build of `omnitrace`.
    pub build: String,
    /// Identifies the scenario file's content.
    pub file: String,
    /// When each step was taken.
    pub times: Times,
    /// All deliveries, as they came.
    pub notifications: Vec<Notification>,
    /// Where the links of each firing notification lead.
    pub hops: Vec<Hop>,
    /// Why the run says nothing about the product: a command failed, the stack did not start, somebody interrupted it.
    pub broken: Option<String>,
}

/// When each step was taken; `None` if the run did not get there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// The start of the stack.
    pub started: Option<DateTime<Utc>>,
    /// The stack was ready; the baseline begins.
    pub ready: Option<DateTime<Utc>>,
    /// The first action was taken.
    pub injected: Option<DateTime<Utc>>,
    /// All was taken back.
    pub cleared: Option<DateTime<Utc>>,
    /// The stack was stopped.
    pub stopped: Option<DateTime<Utc>>,
}

/// One link of a notification, followed to its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hop {
    /// Title of the notification.
    pub notification: String,
    /// What the link is: trace, logs, dashboard, runbook, alertmanager.
    pub link: String,
    /// Its address.
    pub url: String,
    /// What was found at its end.
    pub found: String,
    /// False if that is nothing, or an error.
    pub whole: bool,
}

//! A notification as herald delivered it to a webhook, and when.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One delivery.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    /// When it arrived.
    pub at: DateTime<Utc>,
    /// The body, as herald's documentation describes it.
    pub body: Value,
}

/// A cause that herald names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosed {
    /// Where the fault is.
    pub service: String,
    /// What the service suffers from.
    pub dependency: Option<String>,
    /// The kind of fault.
    pub kind: String,
}

impl Notification {
    /// The group of alerts that it is about.
    pub fn group(&self) -> &str {
        self.text("group_key")
    }

    /// One line for people.
    pub fn title(&self) -> &str {
        self.text("title")
    }

    /// True if it wakes somebody.
    pub fn is_page(&self) -> bool {
        self.text("severity") == "page"
    }

    /// False if it says that the group's alerts are over.
    pub fn is_firing(&self) -> bool {
        self.text("status") == "firing"
    }

    /// The service that the alert itself is about: the guess without a diagnosis.
    pub fn own_service(&self) -> &str {
        self.text("service")
    }

    /// Name and service of each alert.
    pub fn alerts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.list("/alerts").map(|alert| {
            let label = |name| alert["labels"][name].as_str().unwrap_or_default();
            (label("alertname"), label("service"))
        })
    }

    /// Causes, the most likely first.
    pub fn causes(&self) -> Vec<Diagnosed> {
        let causes = self.list("/diagnosis/causes");
        causes
            .filter_map(|cause| Diagnosed::deserialize(cause).ok())
            .collect()
    }

    /// What to do first, and with what.
    pub fn first_action(&self) -> Option<(&str, &str)> {
        let action = self.body.pointer("/diagnosis/first_action")?;
        Some((action["do"].as_str()?, action["target"].as_str()?))
    }

    /// What to do first, in a sentence.
    pub fn advice(&self) -> &str {
        self.body
            .pointer("/diagnosis/first_action/text")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// Services for which a roll-back is advised.
    pub fn roll_backs(&self) -> impl Iterator<Item = &str> {
        let changes = self.list("/evidence/releases/changes");
        changes
            .filter(|change| change["roll_back"] == "advised")
            .filter_map(|change| change["service"].as_str())
    }

    fn text(&self, key: &str) -> &str {
        self.body[key].as_str().unwrap_or_default()
    }

    fn list(&self, pointer: &str) -> impl Iterator<Item = &Value> {
        self.body
            .pointer(pointer)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    }
}

//! Passes one line through the stages of a pipeline.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::ast::{Condition, LogQuery, LogicalOperator, Matcher, NumberTest, Stage};
use super::record;
use crate::model::LogRecord;
use crate::samples::sanitized;
use slo::duration;

/// The label that holds the error of a line. A line with an error stays in the result.
pub(super) const ERROR: &str = "__error__";
const ERROR_DETAILS: &str = "__error_details__";

/// A line on its way, with what the stages added to its labels and took from them.
pub(super) struct Line<'a> {
    record: &'a LogRecord,
    added: BTreeMap<String, String>,
    dropped: Vec<&'a str>,
}

impl<'a> Line<'a> {
    /// The line, if it is of a wanted stream and passes all stages.
    pub fn through(query: &'a LogQuery, record: &'a LogRecord) -> Option<Self> {
        if !is_selected(&query.selector, record) {
            return None;
        }
        let mut line = Self {
            record,
            added: BTreeMap::new(),
            dropped: Vec::new(),
        };
        let passes = query.stages.iter().all(|stage| line.passes(stage));
        passes.then_some(line)
    }

    /// The value of a label, if it has it.
    pub fn label(&self, name: &str) -> Option<Cow<'_, str>> {
        match self.added.get(name) {
            Some(value) => Some(value.as_str().into()),
            None if self.dropped.contains(&name) => None,
            None => record::label(self.record, name),
        }
    }

    /// All labels.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = record::labels(self.record);
        labels.retain(|name, _| !self.dropped.contains(&name.as_str()));
        labels.extend(self.added.clone());
        labels
    }

    fn passes(&mut self, stage: &'a Stage) -> bool {
        match stage {
            Stage::Line(test) => test.is_in(&self.record.body),
            Stage::Label(condition) => self.meets(condition),
            Stage::Json => {
                self.read_json();
                true
            }
            Stage::Drop(labels) => {
                for label in labels {
                    self.added.remove(label);
                    self.dropped.push(label);
                }
                true
            }
        }
    }

    fn meets(&mut self, condition: &Condition) -> bool {
        match condition {
            Condition::Text(Matcher { label, test }) => {
                test.is(&self.label(label).unwrap_or_default())
            }
            Condition::Number(test) => self.compares(test),
            Condition::Chain(first, rest) => {
                let mut met = self.meets(first);
                for (joint, condition) in rest {
                    met = match joint {
                        LogicalOperator::And => met && self.meets(condition),
                        LogicalOperator::Or => met || self.meets(condition),
                    };
                }
                met
            }
        }
    }

    /// A line without the label does not pass. A line whose label cannot be read passes, with an error. A line that has an
    /// error already (its sender's, for example) passes too: only text filters can drop it.
    fn compares(&mut self, test: &NumberTest) -> bool {
        if self.label(ERROR).is_some() {
            return true;
        }
        let Some(text) = self.label(&test.label) else {
            return false;
        };
        let number = match test.is_duration {
            true => duration::parse(&text).ok().map(|length| length as f64),
            false => text.parse().ok(),
        };
        match number {
            Some(number) => test.comparison.holds(number, test.value),
            None => {
                let details = format!("{:?} cannot be compared", &*text);
                self.fail("LabelFilterErr", details);
                true
            }
        }
    }

    /// Adds the values of an object as labels.
    fn read_json(&mut self) {
        match serde_json::from_str(&self.record.body) {
            Ok(Value::Object(map)) => {
                let own = record::labels(self.record);
                for (key, value) in &map {
                    self.add_json(sanitized(key), value, &own);
                }
            }
            Ok(_) => self.fail("JSONParserErr", "the line is no JSON object".to_owned()),
            Err(why) => self.fail("JSONParserErr", why.to_string()),
        }
    }

    /// Joins nested names with underscores, skips lists, and marks a name that the line already has.
    fn add_json(&mut self, name: String, value: &Value, own: &BTreeMap<String, String>) {
        let text = match value {
            Value::Object(map) => {
                for (key, value) in map {
                    let key = key.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
                    self.add_json(format!("{name}_{key}"), value, own);
                }
                return;
            }
            Value::Array(_) | Value::Null => return,
            Value::String(text) => text.clone(),
            Value::Bool(_) | Value::Number(_) => value.to_string(),
        };
        let name = match own.contains_key(&name) {
            true => name + "_extracted",
            false => name,
        };
        self.added.insert(name, text);
    }

    fn fail(&mut self, error: &str, details: String) {
        self.added.insert(ERROR.to_owned(), error.to_owned());
        self.added.insert(ERROR_DETAILS.to_owned(), details);
    }
}

fn is_selected(selector: &[Matcher], record: &LogRecord) -> bool {
    let is_met = |matcher: &Matcher| {
        let value = record::index_label(&record.resource, &matcher.label);
        matcher.test.is(value)
    };
    selector.iter().all(is_met)
}

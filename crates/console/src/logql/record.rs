//! The labels of a log record, as Loki makes them from OTLP.
//!
//! A few resource attributes are labels of the stream, the ones that `deploy/loki/loki.yaml` names. Everything else is structured
//! metadata of the line: the other attributes, the scope, the fields of the record. Dots become underscores, nested attributes are
//! joined with underscores.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use crate::model::{Attributes, LogRecord, Resource, Value};
use crate::otlp::{self, SEVERITY_TEXT};
use crate::store::severity_rank;

/// Labels of a stream, beside `service_name`, with the attributes that they come from.
const INDEX_LABELS: [(&str, &str); 2] = [
    ("deployment_environment_name", "deployment.environment.name"),
    ("service_namespace", "service.namespace"),
];

const SERVICE_NAME: &str = "service_name";

type Field = fn(&LogRecord) -> Cow<'_, str>;

/// Structured metadata from a record's own fields; empty if the sender has not set them.
const FIELDS: [(&str, Field); 9] = [
    ("detected_level", detected_level),
    ("flags", |log| number(log.flags.into())),
    ("observed_timestamp", |log| number(log.observed_ns)),
    ("scope_name", |log| log.scope.name.as_str().into()),
    ("scope_version", |log| log.scope.version.as_str().into()),
    ("severity_number", |log| number(log.severity_number.into())),
    ("severity_text", |log| log.severity_text.as_str().into()),
    ("span_id", |log| {
        log.span_id
            .map_or(Cow::default(), |id| id.to_string().into())
    }),
    ("trace_id", |log| {
        log.trace_id
            .map_or(Cow::default(), |id| id.to_string().into())
    }),
];

fn number(number: u64) -> Cow<'static, str> {
    match number {
        0 => Cow::default(),
        _ => number.to_string().into(),
    }
}

/// Loki's own word for how severe it is.
fn detected_level(log: &LogRecord) -> Cow<'_, str> {
    match severity_rank(&log.severity) {
        0 => "unknown".into(),
        _ => log.severity.to_ascii_lowercase().into(),
    }
}

/// The value of a stream's label; empty if it has none.
pub(super) fn index_label<'a>(resource: &'a Resource, name: &str) -> &'a str {
    if name == SERVICE_NAME {
        return &resource.service;
    }
    let wanted = INDEX_LABELS.iter().find(|(label, _)| *label == name);
    let found = wanted.and_then(|(_, key)| resource.attributes.get(key));
    found.and_then(Value::as_str).unwrap_or_default()
}

/// The labels of a stream.
pub(crate) fn index_labels(resource: &Resource) -> BTreeMap<String, String> {
    let names = INDEX_LABELS.iter().map(|(label, _)| *label);
    names
        .chain([SERVICE_NAME])
        .map(|name| (name.to_owned(), index_label(resource, name).to_owned()))
        .filter(|(_, value)| !value.is_empty())
        .collect()
}

/// Whether an attribute is shown by another name already.
fn is_shown_otherwise(key: &str) -> bool {
    key == otlp::SERVICE_NAME || key == SEVERITY_TEXT
}

/// The value of a label. If two attributes become one name, the record's own one counts.
pub(super) fn label<'a>(log: &'a LogRecord, name: &str) -> Option<Cow<'a, str>> {
    let index = index_label(&log.resource, name);
    if !index.is_empty() {
        return Some(index.into());
    }
    let text = match FIELDS.iter().find(|(field, _)| *field == name) {
        Some((_, field)) => field(log),
        None => [
            &log.attributes,
            &log.scope.attributes,
            &log.resource.attributes,
        ]
        .into_iter()
        .filter(|list| !list.is_empty())
        .find_map(|list| find(list.iter(), name))?,
    };
    (!text.is_empty()).then_some(text)
}

fn find<'a>(
    entries: impl Iterator<Item = (&'a str, Value<'a>)>,
    name: &str,
) -> Option<Cow<'a, str>> {
    for (key, value) in entries {
        let found = match value {
            Value::Nested(Json::Object(map)) => {
                let rest = name.strip_prefix(label_name(key).as_str());
                rest.and_then(|rest| rest.strip_prefix('_'))
                    .and_then(|rest| find_nested(map, rest))
            }
            _ if is_shown_otherwise(key) || !label_chars(key).eq(name.chars()) => None,
            _ => Some(value.text()).filter(|text| !text.is_empty()),
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

/// Has a type of its own, because otherwise the iterator would contain itself.
fn find_nested<'a>(map: &'a Map<String, Json>, name: &str) -> Option<Cow<'a, str>> {
    let mut entries = map.iter().map(|(key, value)| (key.as_str(), value.into()));
    find(&mut entries as &mut dyn Iterator<Item = _>, name)
}

/// All labels with their values, none of them empty.
pub(super) fn labels(log: &LogRecord) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    flatten_all(&log.resource.attributes, &mut labels);
    flatten_all(&log.scope.attributes, &mut labels);
    flatten_all(&log.attributes, &mut labels);
    for (name, field) in FIELDS {
        let value = field(log);
        if !value.is_empty() {
            labels.insert(name.to_owned(), value.into_owned());
        }
    }
    labels.extend(index_labels(&log.resource));
    labels
}

fn flatten_all(attributes: &Attributes, labels: &mut BTreeMap<String, String>) {
    for (key, value) in attributes.iter() {
        if !is_shown_otherwise(key) {
            flatten(label_name(key), value, labels);
        }
    }
}

fn flatten(name: String, value: Value<'_>, labels: &mut BTreeMap<String, String>) {
    match value {
        Value::Nested(Json::Object(map)) => {
            for (key, value) in map {
                flatten(format!("{name}_{}", label_name(key)), value.into(), labels);
            }
        }
        _ => {
            let text = value.text();
            if !text.is_empty() {
                labels.insert(name, text.into_owned());
            }
        }
    }
}

fn label_name(key: &str) -> String {
    label_chars(key).collect()
}

/// The characters of a label name: letters, digits and underscores, and no digit first.
fn label_chars(key: &str) -> impl Iterator<Item = char> {
    let prefix = match key.starts_with(|c: char| c.is_ascii_digit()) {
        true => "key_",
        false => "",
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let own = key.chars().map(move |c| if fits(c) { c } else { '_' });
    prefix.chars().chain(own)
}

//! The features that traces have or lack: operations, attributes of their spans and of their senders, above all versions.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use serde::Serialize;

use super::share::{share, surely_more};
use crate::model::{Span, Value};
use crate::otlp::SERVICE_NAME;

/// Values of a key beyond this number are not counted: ids and times explain nothing.
const MAX_VALUES: u32 = 200;

/// Longer values are not counted.
const MAX_VALUE: usize = 200;

/// The maximum number of counted features.
const MAX_FEATURES: usize = 20_000;

/// The maximum number of differences in an answer.
const MAX_DIFFERENCES: usize = 50;

/// A smaller difference in frequency is not worth following.
const LEAST: f64 = 0.05;

/// The size of a feature besides its texts.
const OF_ONE: usize = 160;

/// The number of traces that have the feature.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub selected: u32,
    pub rest: u32,
}

impl Counts {
    pub fn add(&mut self, is_selected: bool) {
        match is_selected {
            true => self.selected += 1,
            false => self.rest += 1,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// `service.version`.
    Version,
    /// An attribute of a span.
    Attribute,
    /// Another one of the sender.
    Resource,
    /// The name of a span.
    Operation,
}

/// Something that a trace may have.
#[derive(Debug)]
struct Feature {
    kind: Kind,
    service: String,
    key: String,
    value: String,
    of: Counts,
    /// The trace that was counted last, so that each is once.
    last: usize,
}

/// A feature that sets the selected traces apart.
#[derive(Debug, Serialize)]
pub(super) struct Difference {
    kind: Kind,
    service: String,
    /// Empty of an operation.
    key: String,
    value: String,
    /// Traces with it, and the shares that they are.
    selected: u32,
    selected_share: f64,
    rest: u32,
    rest_share: f64,
    /// The least difference between the two shares, with 95 % confidence.
    surely_more: f64,
}

/// All features, keyed by digests of their content.
#[derive(Debug, Default)]
pub(super) struct Features {
    state: RandomState,
    all: HashMap<u64, Feature>,
    /// Values of each key.
    values: HashMap<u64, u32>,
    traces: usize,
    /// Some are not counted, since there are too many.
    pub is_full: bool,
}

impl Features {
    /// The following features belong to another trace.
    pub fn next_trace(&mut self) {
        self.traces += 1;
    }

    /// Counts what some spans of a trace have. Returns how many bytes are new.
    pub fn add(&mut self, spans: &[Arc<Span>], is_selected: bool) -> usize {
        let mut bytes = 0;
        let mut last = None;
        for span in spans {
            let resource = &span.resource;
            let service = resource.service.as_str();
            let mut put = |kind, key: &str, value: Value<'_>| {
                bytes += self.put((kind, service, key), value, is_selected);
            };
            put(Kind::Operation, "", Value::Text(&span.name));
            for (key, value) in span.attributes.iter() {
                put(Kind::Attribute, key, value);
            }
            // Spans of one sender often follow each other.
            if last.replace(Arc::as_ptr(resource)) == Some(Arc::as_ptr(resource)) {
                continue;
            }
            for (key, value) in resource.attributes.iter() {
                match key {
                    SERVICE_NAME => {}
                    "service.version" => put(Kind::Version, key, value),
                    _ => put(Kind::Resource, key, value),
                }
            }
        }
        bytes
    }

    fn put(&mut self, of: (Kind, &str, &str), value: Value<'_>, is_selected: bool) -> usize {
        // A nested value is long, and rarely occurs twice.
        if matches!(value, Value::Nested(_)) {
            return 0;
        }
        let value = value.text();
        if value.is_empty() || value.len() > MAX_VALUE {
            return 0;
        }
        let digest = self.state.hash_one((of, &*value));
        if let Some(known) = self.all.get_mut(&digest) {
            if std::mem::replace(&mut known.last, self.traces) != self.traces {
                known.of.add(is_selected);
            }
            return 0;
        }
        if self.all.len() >= MAX_FEATURES {
            self.is_full = true;
            return 0;
        }
        let values = self.values.entry(self.state.hash_one(of)).or_default();
        *values = values.saturating_add(1);
        if *values > MAX_VALUES {
            return 0;
        }
        let (kind, service, key) = of;
        let mut feature = Feature {
            kind,
            service: service.to_owned(),
            key: key.to_owned(),
            value: value.into_owned(),
            of: Counts::default(),
            last: self.traces,
        };
        feature.of.add(is_selected);
        let bytes = OF_ONE + service.len() + key.len() + feature.value.len();
        self.all.insert(digest, feature);
        bytes
    }

    /// The number of keys of which some values were not counted.
    pub fn keys_left_out(&self) -> usize {
        let counts = self.values.values();
        counts.filter(|values| **values > MAX_VALUES).count()
    }

    /// The features that are significantly and not just slightly more frequent among the selected traces, the most
    /// significant first.
    pub fn ranked(self, of: Counts) -> Vec<Difference> {
        let all = self.all.into_values().map(|feature| feature.difference(of));
        let mut differing: Vec<Difference> = all.filter(|one| one.surely_more >= LEAST).collect();
        differing.sort_by(|one, other| {
            let surest = other.surely_more.total_cmp(&one.surely_more);
            surest.then_with(|| one.name().cmp(&other.name()))
        });
        differing.truncate(MAX_DIFFERENCES);
        differing
    }
}

impl Difference {
    fn name(&self) -> (Kind, &str, &str, &str) {
        (self.kind, &self.service, &self.key, &self.value)
    }
}

impl Feature {
    fn difference(self, of: Counts) -> Difference {
        let Counts { selected, rest } = self.of;
        Difference {
            kind: self.kind,
            service: self.service,
            key: self.key,
            value: self.value,
            selected,
            selected_share: share(selected, of.selected),
            rest,
            rest_share: share(rest, of.rest),
            surely_more: surely_more((selected, of.selected), (rest, of.rest)),
        }
    }
}

//! Which service has which operations, counted so that they go with the last span.

use std::collections::BTreeMap;

use crate::model::{Kind, Span};

/// Name and kind of an operation, and how many spans there are of it.
type ByOperation = BTreeMap<(String, &'static str), (Kind, u64)>;

/// Span names and kinds of each service.
#[derive(Debug, Default)]
pub(super) struct Operations {
    services: BTreeMap<String, ByOperation>,
}

impl Operations {
    pub fn add(&mut self, span: &Span) {
        let service = self
            .services
            .entry(span.resource.service.clone())
            .or_default();
        let key = (span.name.clone(), span.kind.as_str());
        service.entry(key).or_insert((span.kind, 0)).1 += 1;
    }

    pub fn remove(&mut self, span: &Span) {
        let Some(service) = self.services.get_mut(&span.resource.service) else {
            return;
        };
        let key = (span.name.clone(), span.kind.as_str());
        if let Some((_, count)) = service.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                service.remove(&key);
            }
        }
        if service.is_empty() {
            self.services.remove(&span.resource.service);
        }
    }

    pub fn services(&self) -> Vec<String> {
        self.services.keys().cloned().collect()
    }

    pub fn of(&self, service: &str) -> Vec<(String, Kind)> {
        let operations = self.services.get(service);
        operations
            .into_iter()
            .flatten()
            .map(|((name, _), (kind, _))| (name.clone(), *kind))
            .collect()
    }
}

//! Which service has which operations, counted so that they go with the last span.

use std::collections::BTreeMap;

use super::cost;
use crate::model::{Kind, Span};

/// Service, name and kind.
type Key = (String, String, &'static str);

/// Span names and kinds of each service, and how many spans there are of each.
#[derive(Debug, Default)]
pub(super) struct Operations {
    known: BTreeMap<Key, (Kind, u64)>,
    /// Bytes held.
    pub bytes: usize,
}

impl Operations {
    pub fn add(&mut self, span: &Span) {
        let key = key(span);
        let cost = cost(&key);
        let bytes = &mut self.bytes;
        let new = || {
            *bytes += cost;
            (span.kind, 0)
        };
        self.known.entry(key).or_insert_with(new).1 += 1;
    }

    pub fn remove(&mut self, span: &Span) {
        let key = key(span);
        let Some((_, count)) = self.known.get_mut(&key) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            self.known.remove(&key);
            self.bytes -= cost(&key);
        }
    }

    pub fn services(&self) -> Vec<String> {
        let mut services: Vec<String> = Vec::new();
        let mut least = String::new();
        // From the first operation of one service to the first of the next: a service may have very many.
        while let Some(((service, ..), _)) = self.known.range((least, String::new(), "")..).next() {
            services.push(service.clone());
            least = format!("{service}\0");
        }
        services
    }

    pub fn of(&self, service: &str) -> Vec<(String, Kind)> {
        let of_service = self.known.range((service.to_owned(), String::new(), "")..);
        of_service
            .take_while(|((known, ..), _)| known == service)
            .map(|((_, name, _), (kind, _))| (name.clone(), *kind))
            .collect()
    }
}

fn key(span: &Span) -> Key {
    let service = span.resource.service.clone();
    (service, span.name.clone(), span.kind.as_str())
}

fn cost((service, name, _): &Key) -> usize {
    cost::text(service) + cost::text(name) + cost::slot(size_of::<(Key, (Kind, u64))>())
}

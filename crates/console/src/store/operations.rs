//! Which service has which operations, counted so that they go with the last span.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::cost;
use crate::model::{Kind, Span};

/// Bytes of names that are looked up at a time: meanwhile nobody can add anything.
const BATCH: usize = 64 << 10;

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

    /// Some services, sorted, from `least` on.
    pub fn services(&self, least: &str) -> Vec<String> {
        let mut services = Vec::new();
        let mut bytes = 0;
        let mut least = least.to_owned();
        // From the first operation of one service to the first of the next: a service may have very many.
        while bytes < BATCH
            && let Some(((service, ..), _)) = self.known.range((least, String::new(), "")..).next()
        {
            bytes += service.len() + 1;
            services.push(service.clone());
            least = just_after(service);
        }
        services
    }

    /// Some operations of a service, sorted, those after `last`.
    pub fn of(&self, service: &str, last: Option<&(String, Kind)>) -> Vec<(String, Kind)> {
        let (name, kind) = last.map_or(("", ""), |(name, kind)| (name, kind.as_str()));
        let last = (service.to_owned(), name.to_owned(), kind);
        let mut bytes = 0;
        let of_service = self.known.range((Bound::Excluded(last), Bound::Unbounded));
        of_service
            .take_while(|((known, name, _), _)| {
                let has_room = bytes < BATCH;
                bytes += name.len() + 1;
                known == service && has_room
            })
            .map(|((_, name, _), (kind, _))| (name.clone(), *kind))
            .collect()
    }
}

/// The least name that comes after this one.
pub(super) fn just_after(name: &str) -> String {
    format!("{name}\0")
}

fn key(span: &Span) -> Key {
    let service = span.resource.service.clone();
    (service, span.name.clone(), span.kind.as_str())
}

fn cost((service, name, _): &Key) -> usize {
    cost::text(service) + cost::text(name) + cost::slot(size_of::<(Key, (Kind, u64))>())
}

//! Which service has which operations, counted so that they go with the last span.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::cost;
use crate::model::{Kind, Span};

/// How many bytes of names are read at a time; no client can add items meanwhile.
const BATCH: usize = 64 << 10;

/// In the alphabetical order of their names.
const KINDS: [Kind; 5] = [
    Kind::Client,
    Kind::Consumer,
    Kind::Internal,
    Kind::Producer,
    Kind::Server,
];

/// How many spans there are of each kind.
type Counts = [u64; KINDS.len()];
type Names = BTreeMap<String, Counts>;

/// Span names and kinds of each service.
#[derive(Debug, Default)]
pub(super) struct Operations {
    known: BTreeMap<String, Names>,
    /// Bytes held.
    pub bytes: usize,
}

impl Operations {
    pub fn add(&mut self, span: &Span) {
        let (service, name, kind) = parts(span);
        // Most spans are of an operation that is known, and need no copies.
        let names = self.known.get_mut(service);
        if let Some(counts) = names.and_then(|names| names.get_mut(name)) {
            counts[kind] += 1;
            return;
        }
        if !self.known.contains_key(service) {
            self.bytes += of_service(service);
            self.known.insert(service.to_owned(), Names::new());
        }
        self.bytes += of_name(name);
        let mut counts = [0; KINDS.len()];
        counts[kind] = 1;
        let names = self.known.entry(service.to_owned()).or_default();
        names.insert(name.to_owned(), counts);
    }

    pub fn remove(&mut self, span: &Span) {
        let (service, name, kind) = parts(span);
        let Some(names) = self.known.get_mut(service) else {
            return;
        };
        let Some(counts) = names.get_mut(name) else {
            return;
        };
        counts[kind] -= 1;
        if counts.iter().any(|count| *count > 0) {
            return;
        }
        names.remove(name);
        self.bytes -= of_name(name);
        if names.is_empty() {
            self.known.remove(service);
            self.bytes -= of_service(service);
        }
    }

    /// Some services, sorted, from `least` on.
    pub fn services(&self, least: &str) -> Vec<String> {
        let services = self.known.range::<str, _>(from(least));
        some(services.map(|(service, _)| (service, ())))
            .map(|(service, ())| service)
            .collect()
    }

    /// Some operations of a service, sorted, those after `last`.
    pub fn of_service_after(
        &self,
        service: &str,
        last: Option<&(String, Kind)>,
    ) -> Vec<(String, Kind)> {
        let Some(names) = self.known.get(service) else {
            return Vec::new();
        };
        let last = last.map_or(("", ""), |(name, kind)| (name, kind.as_str()));
        let all = names.range::<str, _>(from(last.0)).flat_map(kinds);
        let after = |(name, kind): &(&String, Kind)| (name.as_str(), kind.as_str()) > last;
        some(all.filter(after)).collect()
    }
}

fn kinds<'a>((name, counts): (&'a String, &'a Counts)) -> impl Iterator<Item = (&'a String, Kind)> {
    let known = KINDS.into_iter().filter(|kind| counts[*kind as usize] > 0);
    known.map(move |kind| (name, kind))
}

fn parts(span: &Span) -> (&str, &str, usize) {
    (&span.resource.service, &span.name, span.kind as usize)
}

fn from(least: &str) -> (Bound<&str>, Bound<&str>) {
    (Bound::Included(least), Bound::Unbounded)
}

/// Copies of the first, as many as are looked up at a time.
fn some<'a, T>(all: impl Iterator<Item = (&'a String, T)>) -> impl Iterator<Item = (String, T)> {
    let mut bytes = 0;
    let first = all.take_while(move |(name, _)| {
        let has_room = bytes < BATCH;
        bytes += name.len() + 1;
        has_room
    });
    first.map(|(name, of)| (name.clone(), of))
}

/// The least name that comes after this one.
pub(super) fn just_after(name: &str) -> String {
    format!("{name}\0")
}

/// The cost of a name.
fn of_name(name: &str) -> usize {
    cost::block(name.len()) + cost::slot(size_of::<(String, Counts)>())
}

/// The cost of a service besides its names: its first name allocates eleven slots.
fn of_service(service: &str) -> usize {
    cost::block(service.len())
        + cost::slot(size_of::<(String, Names)>())
        + cost::block(11 * size_of::<(String, Counts)>())
}

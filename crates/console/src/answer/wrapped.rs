//! JSON values that the APIs of several vendors write alike.

use chrono::{DateTime, SecondsFormat};
use serde::{Serialize, Serializer};

/// A list that creates each item only while it writes it.
pub(crate) struct LazyList<I>(pub I);

impl<I: Iterator<Item: Serialize> + Clone> Serialize for LazyList<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.clone())
    }
}

/// Milliseconds since the epoch, written as seconds, with a fraction if there is one.
pub(crate) struct Seconds(pub i64);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 % 1_000 {
            0 => (self.0 / 1_000).serialize(serializer),
            _ => (self.0 as f64 / 1_000.0).serialize(serializer),
        }
    }
}

/// The date that Prometheus writes for an event that has not happened: the year 1.
const NEVER_MS: i64 = -62_135_596_800_000;

/// Milliseconds since the epoch, written as a date, if it has happened.
pub(crate) fn time(at_ms: impl Into<Option<i64>>) -> String {
    let time = DateTime::from_timestamp_millis(at_ms.into().unwrap_or(NEVER_MS));
    let time = time.unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

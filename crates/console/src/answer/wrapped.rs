//! What the APIs of several vendors write alike.

use serde::{Serialize, Serializer};

/// A list whose items are made only while they are written.
pub(crate) struct Each<I>(pub I);

impl<I: Iterator<Item: Serialize> + Clone> Serialize for Each<I> {
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

//! A limit on how often one event may be logged.
//!
//! Per call site, a token bucket: [`BURST`] records at once, [`PER_SECOND`] after that. What was held back is reported
//! on the next record of the same event (`suppressed`), so that a flood shortens the log but hides nothing.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tracing::callsite::Identifier;

/// Records of one event that pass at once.
pub(crate) const BURST: f64 = 1000.0;
/// Records per second of one event that pass in the long run.
pub(crate) const PER_SECOND: f64 = 500.0;

/// Call sites are a fixed set of places in the code; locks are split so that busy ones do not wait for each other.
const SHARDS: usize = 8;

#[derive(Default)]
pub(crate) struct Flood {
    shards: [Mutex<HashMap<Identifier, Bucket>>; SHARDS],
}

#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    Admit { suppressed: u64 },
    Suppress,
}

struct Bucket {
    tokens: f64,
    filled: Instant,
    suppressed: u64,
}

impl Flood {
    pub(crate) fn admit(&self, callsite: Identifier) -> Verdict {
        let mut hasher = std::hash::DefaultHasher::new();
        callsite.hash(&mut hasher);
        let shard = &self.shards[(hasher.finish() % SHARDS as u64) as usize];
        let now = Instant::now();
        let mut buckets = shard.lock().unwrap_or_else(PoisonError::into_inner);
        buckets
            .entry(callsite)
            .or_insert(Bucket {
                tokens: BURST,
                filled: now,
                suppressed: 0,
            })
            .admit(now)
    }
}

impl Bucket {
    fn admit(&mut self, now: Instant) -> Verdict {
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + elapsed * PER_SECOND).min(BURST);
        self.filled = now;
        if self.tokens < 1.0 {
            self.suppressed += 1;
            return Verdict::Suppress;
        }
        self.tokens -= 1.0;
        Verdict::Admit {
            suppressed: std::mem::take(&mut self.suppressed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_flood_is_cut_and_reported() {
        let start = Instant::now();
        let mut bucket = Bucket {
            tokens: BURST,
            filled: start,
            suppressed: 0,
        };
        let admitted = (0..5000)
            .filter(|_| bucket.admit(start) != Verdict::Suppress)
            .count();
        assert_eq!(admitted as f64, BURST);
        assert_eq!(
            bucket.admit(start + Duration::from_secs(1)),
            Verdict::Admit { suppressed: 4000 }
        );
        assert_eq!(
            bucket.admit(start + Duration::from_secs(1)),
            Verdict::Admit { suppressed: 0 }
        );
    }
}

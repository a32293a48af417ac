//! The newest of many log records, found a part at a time.

use std::cmp::Reverse;
use std::sync::Arc;

use super::cost;
use crate::model::LogRecord;

/// Time, and the order of coming.
type Rank = (u64, usize);

/// Keeps the newest `limit` of the records that it is given in the order of coming.
#[derive(Debug)]
pub(super) struct Newest {
    limit: usize,
    seen: usize,
    kept: Vec<(Rank, Arc<LogRecord>)>,
    /// The size of the kept records.
    pub bytes: usize,
}

impl Newest {
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            seen: 0,
            kept: Vec::new(),
            bytes: 0,
        }
    }

    pub fn add(&mut self, log: Arc<LogRecord>) {
        self.seen += 1;
        self.bytes += cost::log(&log);
        self.kept.push(((log.time_ns, self.seen), log));
        // Cutting at twice the limit takes constant time per record.
        if self.kept.len() >= self.limit.saturating_mul(2).max(1) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        if self.kept.len() > self.limit {
            self.kept
                .select_nth_unstable_by_key(self.limit, |(rank, _)| Reverse(*rank));
            self.kept.truncate(self.limit);
            self.bytes = self.kept.iter().map(|(_, log)| cost::log(log)).sum();
        }
    }

    /// Newest first; records with the same time in the reverse order of arrival.
    pub fn newest_first(mut self) -> Vec<Arc<LogRecord>> {
        self.cut();
        self.kept.sort_unstable_by_key(|(rank, _)| Reverse(*rank));
        self.kept.into_iter().map(|(_, log)| log).collect()
    }
}

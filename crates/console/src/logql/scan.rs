//! Looks through the log records of the store.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ast::Matcher;
use super::record::index_label;
use super::refusal::{Kind, Refusal};
use super::streams::size_of;
use crate::answer::{Page, Refused};
use crate::model::{LogRecord, Resource};
use crate::store::{Store, cost};

/// The longest that one query may take, without what it waits for others.
const MAX_TIME: Duration = Duration::from_secs(10);

/// The maximum size of the labels, lines and points of one answer, in bytes.
const MAX_ANSWER: usize = 16 << 20;

/// One scan of the store, with its limits and counts.
#[derive(Debug)]
pub(crate) struct Scan {
    started: Instant,
    max_time: Duration,
    room: usize,
    page: Option<Page>,
    /// Lines looked at.
    pub lines: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Default for Scan {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            max_time: MAX_TIME,
            room: MAX_ANSWER,
            page: None,
            lines: 0,
            bytes: 0,
        }
    }
}

impl Scan {
    /// Charges the scan's memory to the page on which the answer will be written, and takes turns with other answers.
    pub fn on(page: Page) -> Self {
        Self {
            page: Some(page),
            ..Self::default()
        }
    }

    /// Takes the page, once, at the end.
    pub fn page(&mut self) -> Page {
        self.page
            .take()
            .expect("who looks for an answer has a page")
    }

    /// Time since it began.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Visits all records of a span of time (nanoseconds). The store is locked for a batch at a time.
    pub fn each(
        &mut self,
        store: &Store,
        time_ns: Range<u64>,
        mut visit: impl FnMut(&mut Self, Arc<LogRecord>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        for batch in store.log_batches() {
            for record in batch {
                if !time_ns.contains(&record.time_ns) {
                    continue;
                }
                self.lines += 1;
                self.bytes += record.body.len() as u64;
                self.in_time()?;
                self.charge(Page::pass)?;
                visit(self, record)?;
            }
        }
        Ok(())
    }

    fn in_time(&self) -> Result<(), Refusal> {
        let waited = self.page.as_ref().map_or(Duration::ZERO, Page::waited);
        if self.elapsed().saturating_sub(waited) < self.max_time {
            return Ok(());
        }
        let why = format!(
            "the query took longer than {:?}; ask for a shorter time",
            self.max_time
        );
        Err(Refusal::new(Kind::TooMuch, why))
    }

    /// Reserves room in the answer.
    pub fn takes(&mut self, bytes: usize) -> Result<(), Refusal> {
        match self.room.checked_sub(bytes) {
            Some(room) => {
                self.room = room;
                Ok(())
            }
            None => {
                let why = format!(
                    "the answer would be larger than {MAX_ANSWER} bytes; select less, or ask for a lower limit"
                );
                Err(Refusal::new(Kind::TooMuch, why))
            }
        }
    }

    /// Reserves memory for a map of labels.
    pub fn gathers_labels(&mut self, labels: &BTreeMap<String, String>) -> Result<(), Refusal> {
        self.gathers(MAP_BYTES + size_of(labels))
    }

    /// Reserves memory until the answer is written.
    pub fn gathers(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.charge(|page| page.gathers(bytes))
    }

    /// Reserves memory for a record that the answer may not contain.
    pub fn holds(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.charge(|page| page.holds(bytes))
    }

    fn charge(
        &mut self,
        tell: impl FnOnce(&mut Page) -> Result<(), Refused>,
    ) -> Result<(), Refusal> {
        let told = self.page.as_mut().map_or(Ok(()), tell);
        told.map_err(|why| Refusal::new(Kind::NoRoom, why.detail))
    }
}

/// The size of a map of labels besides their texts.
const MAP_BYTES: usize = 640;

/// The senders of lines within a range of time whose streams match one of the selectors; all senders if there is no
/// selector.
pub(crate) fn senders(
    scan: &mut Scan,
    store: &Store,
    time_ns: Range<u64>,
    selectors: &[Vec<Matcher>],
) -> Result<Vec<Arc<Resource>>, Refusal> {
    let mut seen = HashMap::new();
    scan.each(store, time_ns, |scan, record| {
        let resource = &record.resource;
        if let Entry::Vacant(entry) = seen.entry(Arc::as_ptr(resource)) {
            scan.gathers(cost::resource(resource))?;
            entry.insert(resource.clone());
        }
        Ok(())
    })?;
    let passes = |resource: &Arc<Resource>| {
        let meets = |matcher: &Matcher| matcher.test.is(index_label(resource, &matcher.label));
        selectors.is_empty() || selectors.iter().any(|selector| selector.iter().all(meets))
    };
    Ok(seen.into_values().filter(passes).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::{Encoding, Signal, decode};

    #[test]
    fn a_look_ends_in_time() {
        let body =
            br#"{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"timeUnixNano": "5"}]}]}]}"#;
        let store = Store::new(1 << 20);
        decode(Signal::Logs, Encoding::Json, body, &mut |batch| {
            store.add_logs(batch.logs);
        });
        let mut scan = Scan {
            max_time: Duration::ZERO,
            ..Scan::default()
        };
        let why = scan.each(&store, 0..10, |_, _| Ok(()));
        let why = why.expect_err("no time at all").to_string();
        assert!(why.contains("took longer than"), "{why}");
        assert!(
            scan.each(&store, 6..10, |_, _| Ok(())).is_ok(),
            "nothing to look at"
        );
    }
}

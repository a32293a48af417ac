//! Lines, grouped by their labels.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::ast::LogQuery;
use super::pipeline::Line;
use super::refusal::Refusal;
use super::scan::Scan;
use crate::model::LogRecord;
use crate::store::{Store, cost};

/// The size of a line in an answer besides its text, and of a label besides its name and value.
const LINE_BYTES: usize = 32;
const LABEL_BYTES: usize = 8;

/// Which lines come first, and which are left out beyond the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// The oldest come first, the newest are left out.
    Forward,
    /// The newest come first, the oldest are left out.
    Backward,
}

/// The lines of one set of labels: nanoseconds since the epoch and text.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Labels of the stream, structured metadata and what was parsed.
    pub labels: BTreeMap<String, String>,
    /// In the requested order.
    pub lines: Vec<(u64, String)>,
}

/// At most `limit` lines that pass the pipeline.
pub(crate) fn streams(
    store: &Store,
    scan: &mut Scan,
    query: &LogQuery,
    time_ns: Range<u64>,
    limit: usize,
    direction: Direction,
) -> Result<Vec<Stream>, Refusal> {
    let mut first = First::new(limit, direction);
    scan.each(store, time_ns, |scan, record| {
        if Line::through(query, &record).is_some() {
            first.add(record);
            scan.holds(first.bytes)?;
        }
        Ok(())
    })?;
    let mut streams: BTreeMap<BTreeMap<String, String>, Vec<(u64, String)>> = BTreeMap::new();
    first.cut();
    let mut held = first.bytes;
    for record in first.sorted() {
        // The answer has a copy, so the scan no longer holds the record.
        held -= cost::log(&record);
        scan.holds(held)?;
        let Some(line) = Line::through(query, &record) else {
            continue;
        };
        let labels = line.labels();
        scan.takes(record.body.len() + LINE_BYTES)?;
        scan.gathers(record.body.len() + LINE_BYTES)?;
        if !streams.contains_key(&labels) {
            scan.takes(size_of(&labels))?;
            scan.gathers_labels(&labels)?;
        }
        let lines = streams.entry(labels).or_default();
        lines.push((record.time_ns, record.body.clone()));
    }
    let streams = streams.into_iter();
    Ok(streams
        .map(|(labels, lines)| Stream { labels, lines })
        .collect())
}

/// The size of labels in an answer.
pub(super) fn size_of(labels: &BTreeMap<String, String>) -> usize {
    let texts = labels.iter().map(|(name, value)| name.len() + value.len());
    texts.map(|bytes| bytes + LABEL_BYTES).sum()
}

/// Keeps the first records in an order. Of records with the same time it keeps those that arrived first (or last, going
/// backward).
struct First {
    limit: usize,
    direction: Direction,
    came: i128,
    records: Vec<((i128, i128), Arc<LogRecord>)>,
    /// The size of all records.
    bytes: usize,
}

impl First {
    fn new(limit: usize, direction: Direction) -> Self {
        Self {
            limit,
            direction,
            came: 0,
            records: Vec::new(),
            bytes: 0,
        }
    }

    fn add(&mut self, record: Arc<LogRecord>) {
        self.came += 1;
        let time = i128::from(record.time_ns);
        let place = match self.direction {
            Direction::Forward => (time, self.came),
            Direction::Backward => (-time, -self.came),
        };
        self.bytes += cost::log(&record);
        self.records.push((place, record));
        if self.records.len() >= self.limit * 2 {
            self.cut();
        }
    }

    fn cut(&mut self) {
        if self.records.len() > self.limit {
            self.records
                .select_nth_unstable_by_key(self.limit, |(place, _)| *place);
            self.records.truncate(self.limit);
            self.bytes = self.records.iter().map(|(_, log)| cost::log(log)).sum();
        }
    }

    fn sorted(mut self) -> impl Iterator<Item = Arc<LogRecord>> {
        self.records.sort_unstable_by_key(|(place, _)| *place);
        self.records.into_iter().map(|(_, record)| record)
    }
}

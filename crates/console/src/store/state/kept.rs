//! Traces that were read by their id, the latest last. Who reads one has a link to it, from a notification for example, and will follow it
//! again: while others are pushed out, these stay.

use std::collections::BTreeMap;

use super::State;
use crate::model::TraceId;

/// So many are kept; who reads another lets go of the one that nobody has read for the longest time.
const MAX: usize = 200;

/// Their ids, in the order of their last reads.
#[derive(Debug, Default)]
pub(super) struct Kept {
    ids: BTreeMap<u64, TraceId>,
    reads: u64,
}

impl Kept {
    /// Notes a read; `before` is the trace's last one.
    fn read(&mut self, id: TraceId, before: Option<u64>) -> u64 {
        if let Some(before) = before {
            self.ids.remove(&before);
        }
        self.reads += 1;
        self.ids.insert(self.reads, id);
        self.reads
    }
}

impl State {
    /// Keeps a trace that was read by its id.
    pub fn keep(&mut self, id: TraceId) {
        let Some(entry) = self.traces.get_mut(&id) else {
            return;
        };
        entry.read = Some(self.kept.read(id, entry.read));
        if self.kept.ids.len() > MAX {
            self.let_go_of_oldest();
        }
    }

    /// Keeps a trace no longer.
    fn let_go(&mut self, id: TraceId) {
        let Some(entry) = self.traces.get_mut(&id) else {
            return;
        };
        entry.read = None;
        if entry.is_overdue {
            let number = entry.number;
            self.drop_trace(number);
        }
    }

    /// Traces that would have been pushed out take no more than a quarter of the budget.
    pub(super) fn limit_overdue(&mut self) {
        while self.overdue_bytes() > self.limit / 4 && self.let_go_of_oldest() {}
    }

    /// False if none is kept.
    pub(super) fn let_go_of_oldest(&mut self) -> bool {
        let oldest = self.kept.ids.pop_first();
        oldest.inspect(|(_, id)| self.let_go(*id)).is_some()
    }

    fn overdue_bytes(&self) -> usize {
        let kept = self.kept.ids.values().filter_map(|id| self.traces.get(id));
        let overdue = kept.filter(|entry| entry.is_overdue);
        overdue.map(|entry| entry.bytes).sum()
    }

    /// Drops a trace, unless it is kept.
    pub(super) fn push_out(&mut self, number: u64) {
        let id = self.order.get(&number).map(|(id, _)| *id);
        match id.and_then(|id| self.traces.get_mut(&id)) {
            Some(entry) if entry.read.is_some() => {
                entry.is_overdue = true;
                self.limit_overdue();
            }
            _ => self.drop_trace(number),
        }
    }
}

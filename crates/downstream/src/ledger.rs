//! What was done already, so that doing it again changes nothing. Bounded, and only for the process's lifetime.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

/// Number of entries kept: 8 minutes' worth at 200 per second. A repetition comes within seconds.
const CAPACITY: usize = 100_000;

/// Remembers one value for each id, the oldest first to go.
pub(crate) struct Ledger<T> {
    entries: Mutex<Entries<T>>,
    capacity: usize,
}

struct Entries<T> {
    values: HashMap<Uuid, T>,
    order: VecDeque<Uuid>,
}

impl<T> Default for Ledger<T> {
    fn default() -> Self {
        Self::with_capacity(CAPACITY)
    }
}

impl<T> Ledger<T> {
    fn with_capacity(capacity: usize) -> Self {
        let entries = Entries {
            values: HashMap::new(),
            order: VecDeque::new(),
        };
        Self {
            entries: Mutex::new(entries),
            capacity,
        }
    }
}

impl<T: Copy> Ledger<T> {
    /// The value of `id`, and true when `make` has just made it.
    pub(crate) fn once(&self, id: Uuid, make: impl FnOnce() -> T) -> (T, bool) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = entries.values.get(&id) {
            return (*value, false);
        }
        if entries.order.len() == self.capacity
            && let Some(oldest) = entries.order.pop_front()
        {
            entries.values.remove(&oldest);
        }
        let value = make();
        entries.values.insert(id, value);
        entries.order.push_back(id);
        (value, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_stays_until_it_is_the_oldest() {
        let ledger = Ledger::with_capacity(2);
        let id = Uuid::from_u128;
        assert_eq!(ledger.once(id(1), || 10), (10, true));
        assert_eq!(ledger.once(id(1), || 11), (10, false));
        ledger.once(id(2), || 20);
        ledger.once(id(3), || 30);
        assert_eq!(ledger.once(id(1), || 12), (12, true));
        assert_eq!(ledger.once(id(3), || 31), (30, false));
    }
}

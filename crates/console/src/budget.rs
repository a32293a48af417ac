//! Divides the memory budget between stored data and requests in progress.
//!
//! Requests have an account each. It grows with the body that is read or the answer that is written; where there is no
//! room the request is refused, so that any number of requests together stay within their share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Even the least budget takes a batch of spans.
const LEAST_UNDER_WAY: u64 = 8 << 20;

/// Bodies cannot use this memory, so that the console can answer while bodies arrive.
const FOR_ANSWERS: u64 = 4 << 20;

/// The memory that an answer needs besides the trace that it shows.
const BESIDE: u64 = 64 << 10;

/// The largest trace. No client can add items while the console reads one.
const MAX_TRACE: u64 = 64 << 20;

/// Bodies and answers leave one of this many bytes free for scraped pages, so that a flood of uploads does not make every
/// target look down.
const FOR_PAGES: u64 = 16;

/// The purpose of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The body of a request, compressed and decompressed.
    Body,
    /// The response to a reader.
    Answer,
    /// The page that a target returns to a scrape.
    Page,
}

/// A shared handle.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Bytes for traces and logs.
    store: u64,
    /// Bytes for metrics.
    series: u64,
    /// The most of each kind, and of all together.
    most: [u64; 3],
    together: u64,
    used: Mutex<[u64; 3]>,
}

impl Budget {
    /// Divides `bytes`: five eighths for traces and logs, one eighth for metrics, two eighths (and 8 MiB) for requests in
    /// progress.
    pub fn new(bytes: u64) -> Self {
        let together = bytes / 4 + LEAST_UNDER_WAY;
        Self(Arc::new(Inner {
            store: bytes / 8 * 5,
            series: bytes / 8,
            most: [together - FOR_ANSWERS, together / 2, together - FOR_ANSWERS],
            together,
            used: Mutex::default(),
        }))
    }

    /// Bytes for traces and logs.
    pub fn store(&self) -> u64 {
        self.0.store
    }

    /// Bytes for metrics.
    pub fn series(&self) -> u64 {
        self.0.series - self.metadata()
    }

    /// Bytes for what metrics are, of the share of metrics.
    pub fn metadata(&self) -> u64 {
        self.0.series / 16
    }

    /// The maximum size of one trace. An answer may contain as much: one half of its memory is for its source, the other for
    /// the written text.
    pub fn trace(&self) -> u64 {
        (self.limit(Purpose::Answer) / 2 - BESIDE).min(MAX_TRACE)
    }

    /// The most bytes that all requests of a kind may use together.
    pub fn limit(&self, of: Purpose) -> u64 {
        self.0.most[of as usize]
    }

    /// Bytes that requests use now.
    pub fn under_way(&self) -> u64 {
        self.used().iter().sum()
    }

    /// An account that covers nothing yet.
    pub fn account(&self, of: Purpose) -> Account {
        Account {
            budget: self.clone(),
            of,
            bytes: 0,
        }
    }

    fn used(&self) -> MutexGuard<'_, [u64; 3]> {
        self.0.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reservation of one request; dropping it frees the memory.
#[derive(Debug)]
pub(crate) struct Account {
    budget: Budget,
    of: Purpose,
    bytes: u64,
}

impl Account {
    /// Makes the account cover `bytes` in total. Returns `false` and changes nothing if the memory is not available.
    #[must_use]
    pub fn cover(&mut self, bytes: usize) -> bool {
        let more = (bytes as u64).saturating_sub(self.bytes);
        let mut used = self.budget.used();
        let own = used[self.of as usize] + more;
        let all = used.iter().sum::<u64>() + more;
        let together = self.budget.0.together;
        let others = all - used[Purpose::Page as usize];
        let is_fair = self.of == Purpose::Page || others <= together - together / FOR_PAGES;
        if !is_fair || own > self.budget.limit(self.of) || all > together {
            return false;
        }
        used[self.of as usize] = own;
        self.bytes += more;
        true
    }

    /// Makes it cover no more than so many bytes.
    pub fn keep(&mut self, bytes: usize) {
        let less = self.bytes.saturating_sub(bytes as u64);
        self.budget.used()[self.of as usize] -= less;
        self.bytes -= less;
    }

    /// Makes it cover nothing again.
    pub fn clear(&mut self) {
        self.keep(0);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_share_what_there_is_and_give_it_back() {
        let budget = Budget::new(64 << 20);
        assert_eq!(budget.limit(Purpose::Body), 20 << 20);
        let mut first = budget.account(Purpose::Body);
        let mut second = budget.account(Purpose::Body);
        assert!(first.cover(19 << 20) && first.cover(1) && second.cover(1 << 20));
        assert!(!second.cover((1 << 20) + 1));
        let mut answer = budget.account(Purpose::Answer);
        assert!(answer.cover(2 << 20) && !answer.cover(3 << 20));
        assert_eq!(budget.under_way(), 22 << 20);
        let mut page = budget.account(Purpose::Page);
        assert!(page.cover(2 << 20) && !page.cover((2 << 20) + 1));
        drop((first, second, page));
        assert!(answer.cover(12 << 20) && !answer.cover((12 << 20) + 1));
        answer.keep(3 << 20);
        answer.keep(4 << 20);
        assert_eq!(budget.under_way(), 3 << 20);
        drop(answer);
        assert_eq!(budget.under_way(), 0);
    }
}

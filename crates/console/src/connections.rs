//! Counts the connections and decides which of them closes for a new one: the one that has waited longest for a request's
//! head.
//!
//! So nobody is kept out by those who send nothing, or half a head; and requests that are answered leave some connections to others.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use actix_web::error::BlockingError;
use actix_web::web;
use listen::Flow;

/// The memory of a connection: a head, raw and decoded, and the server's buffers.
const OF_ONE: u64 = 128 << 10;

/// Even the least budget has room for some.
const LEAST: u64 = 32 << 20;

/// A process may have 1,024 file descriptors by default; scraping needs some of them.
const MOST: u64 = 768;

/// A shared handle.
#[derive(Debug, Clone)]
pub(crate) struct Connections(Arc<All>);

#[derive(Debug)]
struct All {
    most: usize,
    answering: AtomicUsize,
    open: Mutex<Vec<Weak<Flow>>>,
}

impl Connections {
    /// As many connections as a quarter of the budget and 32 MiB have room for.
    pub fn new(budget_bytes: u64) -> Self {
        let most = ((budget_bytes / 4 + LEAST) / OF_ONE).min(MOST);
        Self(Arc::new(All {
            most: usize::try_from(most).unwrap_or(usize::MAX),
            answering: AtomicUsize::new(0),
            open: Mutex::default(),
        }))
    }

    /// The most.
    pub fn limit(&self) -> usize {
        self.0.most
    }

    /// Adds a connection. If there would be too many, the one that has waited longest closes.
    pub fn add(&self, flow: &Arc<Flow>) {
        let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|other| other.strong_count() > 0);
        if open.len() >= self.0.most / 8 * 7 {
            let waiting = open.iter().filter_map(|other| {
                let other = other.upgrade()?;
                Some((other.waiting_since()?, other))
            });
            let longest = waiting.min_by_key(|(since, _)| *since);
            longest.into_iter().for_each(|(_, flow)| flow.make_room());
        }
        open.push(Arc::downgrade(flow));
    }

    /// The permission to be answered, until it is dropped; `None` if too many others have one.
    pub fn answer(&self) -> Option<Answering> {
        let answering = Answering(self.clone());
        let others = self.0.answering.fetch_add(1, Ordering::Relaxed);
        (others < self.0.most / 4 * 3).then_some(answering)
    }

    #[cfg(test)]
    pub fn under_way(&self) -> usize {
        self.0.answering.load(Ordering::Relaxed)
    }
}

tokio::task_local! {
    /// The permission of the request whose handler runs.
    pub(crate) static ANSWERING: Option<Arc<Answering>>;
}

/// Does a handler's work off the worker thread. It goes on when the client has gone, so its request counts until it is done.
pub(crate) async fn off_worker<T: Send + 'static>(
    job: impl FnOnce() -> T + Send + 'static,
) -> Result<T, BlockingError> {
    let answering = ANSWERING.try_with(Clone::clone).ok();
    let job = move || {
        let _answering = answering;
        job()
    };
    web::block(job).await
}

/// A request that is being answered.
#[derive(Debug)]
pub(crate) struct Answering(Connections);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.0.answering.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waited_longest_makes_room() {
        let all = Connections::new(8 << 20);
        assert_eq!(all.limit(), 272);
        let mut flows: Vec<Arc<Flow>> = Vec::new();
        let mut add = || {
            let flow = Arc::default();
            all.add(&flow);
            flows.push(flow);
            let makes_room = |flow: &Arc<Flow>| flow.waiting_since().is_none();
            flows.iter().filter(|flow| makes_room(flow)).count()
        };
        assert!((0..238).all(|_| add() == 0));
        assert_eq!((add(), add()), (1, 2));
        assert!(flows[..2].iter().all(|flow| flow.waiting_since().is_none()));
        drop(flows);
        all.add(&Arc::default());
        assert_eq!(Connections::new(1 << 40).limit(), 768);
    }

    #[test]
    fn some_connections_are_left_to_others() {
        let all = Connections::new(8 << 20);
        let mut under_way: Vec<Answering> = (0..204).filter_map(|_| all.answer()).collect();
        assert_eq!(under_way.len(), 204);
        assert!(all.answer().is_none() && all.answer().is_none());
        under_way.pop();
        assert!(all.answer().is_some());
    }
}

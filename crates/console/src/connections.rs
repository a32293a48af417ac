//! How many connections there are, and which of them makes room: the one that has waited longest for a request's head.
//!
//! So nobody is kept out by those who send nothing, or half a head; and requests that are answered leave some connections to others.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

/// What a connection may take: a head, decoded and as it came, and the buffers of the server.
const OF_ONE: u64 = 128 << 10;

/// Even the least budget has room for some.
const LEAST: u64 = 32 << 20;

/// A process may have 1,024 descriptors by default; scraping needs some too.
const MOST: u64 = 768;

/// A shared handle.
#[derive(Debug, Clone)]
pub(crate) struct Connections(Arc<All>);

#[derive(Debug)]
struct All {
    most: usize,
    answering: AtomicUsize,
    waiting: Mutex<Waiting>,
}

/// Those without a request, longest first.
#[derive(Debug, Default)]
struct Waiting {
    open: usize,
    next: u64,
    places: BTreeMap<u64, Arc<Flow>>,
}

impl Connections {
    /// As many as a quarter of the budget and 32 MiB have room for.
    pub fn new(budget_bytes: u64) -> Self {
        let most = ((budget_bytes / 4 + LEAST) / OF_ONE).min(MOST);
        Self(Arc::new(All {
            most: usize::try_from(most).unwrap_or(usize::MAX),
            answering: AtomicUsize::new(0),
            waiting: Mutex::default(),
        }))
    }

    /// The most.
    pub fn most(&self) -> usize {
        self.0.most
    }

    /// One more. Before there are too many, the one that has waited longest ends.
    pub fn open(&self) -> Arc<Flow> {
        let mut waiting = self.waiting();
        waiting.open += 1;
        if waiting.open > self.0.most / 8 * 7
            && let Some((_, flow)) = waiting.places.pop_first()
        {
            flow.close();
        }
        Arc::default()
    }

    /// One less.
    pub fn closed(&self) {
        self.waiting().open -= 1;
    }

    /// Waits for a head from now on.
    pub fn wait(&self, flow: &Arc<Flow>) -> u64 {
        let mut waiting = self.waiting();
        waiting.next += 1;
        let place = waiting.next;
        waiting.places.insert(place, flow.clone());
        place
    }

    /// Waits no more.
    pub fn leave(&self, place: u64) {
        self.waiting().places.remove(&place);
    }

    /// The right to be answered, until it is dropped; `None` if too many others are.
    pub fn answer(&self) -> Option<Answering> {
        let answering = Answering(self.clone());
        let others = self.0.answering.fetch_add(1, Ordering::Relaxed);
        (others < self.0.most / 4 * 3).then_some(answering)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(crate) struct Answering(Connections);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.0.answering.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a connection and its requests tell each other.
#[derive(Debug, Default)]
pub(crate) struct Flow(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// A head was handed on, and its request has not begun: the one before it is still being answered.
    has_next: bool,
    is_too_large: bool,
    /// The answer to a request is still being worked out or read.
    is_answered: bool,
    is_closed: bool,
    reader: Option<Waker>,
}

impl Flow {
    /// A head goes to the server, or what stands in for one that is too large.
    pub fn handed_on(&self, is_too_large: bool) {
        let mut state = self.state();
        state.has_next = true;
        state.is_too_large = is_too_large;
    }

    /// Its request begins. Returns whether the head was too large.
    pub fn begin(&self) -> bool {
        self.change(|state| {
            state.has_next = false;
            state.is_answered = true;
            state.is_too_large
        })
    }

    /// Its answer has been read; the reader may wait for a head.
    pub fn end(&self) {
        self.change(|state| state.is_answered = false);
    }

    /// Whether a request is still being answered.
    pub fn is_answered(&self) -> bool {
        self.state().is_answered
    }

    /// Whether the next head has to wait; then the reader is woken when it has not any more.
    pub fn is_held_up(&self, cx: &Context<'_>) -> bool {
        let mut state = self.state();
        state.reader = Some(cx.waker().clone());
        state.has_next
    }

    /// Nothing more is read.
    fn close(&self) {
        self.change(|state| state.is_closed = true);
    }

    /// Changes the state, and wakes the reader to look at it.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let result = change(&mut state);
        let reader = state.reader.take();
        drop(state);
        reader.into_iter().for_each(Waker::wake);
        result
    }

    /// Whether nothing more is read.
    pub fn is_closed(&self) -> bool {
        self.state().is_closed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waited_longest_makes_room() {
        let all = Connections::new(8 << 20);
        assert_eq!(all.most(), 272);
        let flows: Vec<Arc<Flow>> = (0..238).map(|_| all.open()).collect();
        let places: Vec<u64> = flows.iter().map(|flow| all.wait(flow)).collect();
        all.leave(places[0]);
        assert!(flows.iter().all(|flow| !flow.is_closed()));
        all.open();
        let closed: Vec<bool> = flows.iter().map(|flow| flow.is_closed()).collect();
        assert_eq!(closed[..3], [false, true, false], "the first has a request");
        assert_eq!(Connections::new(1 << 40).most(), 768);
    }

    #[test]
    fn a_flow_is_answered_until_its_answer_ends() {
        let flow = Flow::default();
        flow.handed_on(false);
        assert!(!flow.begin() && flow.is_answered());
        flow.end();
        assert!(!flow.is_answered());
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

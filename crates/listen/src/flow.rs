//! State that a connection shares with its requests.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// A connection that must close for another one has waited at least this long. A head arrives with the first packet after
/// the handshake, so this is enough time. Each new client may wait as long; with 238 places, 10,000 clients per second still
/// get in.
const GRACE: Duration = Duration::from_millis(20);

/// Shared by a connection, its requests, and the counter of connections.
#[derive(Debug)]
pub struct Flow(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Since when no request has been answered: the connection waits for a head or for the rest of a body. `None` while one
    /// is answered.
    waiting_since: Option<Instant>,
    is_too_large: bool,
    /// When it makes room, unless a head is there by then.
    ends_at: Option<Instant>,
    reader: Option<Waker>,
}

impl Default for Flow {
    fn default() -> Self {
        Self(Mutex::new(State {
            waiting_since: Some(Instant::now()),
            is_too_large: false,
            ends_at: None,
            reader: None,
        }))
    }
}

impl Flow {
    /// Since when the connection waits for the next head; `None` while a request is answered, and if it must close already.
    pub fn waiting_since(&self) -> Option<Instant> {
        let state = self.state();
        state.waiting_since.filter(|_| state.ends_at.is_none())
    }

    /// Makes room as soon as it has waited for long enough, unless its head comes before.
    pub fn make_room(&self) {
        self.change(|state| {
            let earliest = state.waiting_since.map(|since| since + GRACE);
            state.ends_at = earliest.map(|earliest| earliest.max(Instant::now()));
        });
    }

    /// A head goes to the server, or what stands in for one that is too large.
    pub(crate) fn handed_on(&self, is_too_large: bool) {
        let mut state = self.state();
        state.waiting_since = None;
        state.ends_at = None;
        state.is_too_large = is_too_large;
    }

    /// The server has the whole response; the next head may come.
    fn end(&self) {
        self.change(|state| state.waiting_since = Some(Instant::now()));
    }

    /// Whether a request is still being answered.
    pub(crate) fn is_answered(&self) -> bool {
        self.answered_at().is_none()
    }

    /// When the last response ended, or the connection began; `None` while a request is answered.
    pub(crate) fn answered_at(&self) -> Option<Instant> {
        self.state().waiting_since
    }

    pub(crate) fn is_too_large(&self) -> bool {
        self.state().is_too_large
    }

    pub(crate) fn ends_at(&self) -> Option<Instant> {
        self.state().ends_at
    }

    /// Resolves when the connection has to make room.
    pub(crate) async fn must_end(&self) {
        loop {
            let ends_at = poll_fn(|cx| {
                self.watch(cx);
                self.ends_at().map_or(Poll::Pending, Poll::Ready)
            });
            let ends_at = ends_at.await;
            sleep_until(ends_at).await;
            if self.ends_at() == Some(ends_at) {
                return;
            }
        }
    }

    /// Wakes the reader with the next change.
    pub(crate) fn watch(&self, cx: &Context<'_>) {
        self.state().reader = Some(cx.waker().clone());
    }

    /// Changes the state, and wakes the reader to look at it.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        let reader = state.reader.take();
        drop(state);
        reader.into_iter().for_each(Waker::wake);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request's turn, which lasts until the server has the whole answer, or nobody wants it any more.
#[derive(Debug)]
pub(crate) struct Turn(pub(crate) Option<Arc<Flow>>);

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(flow) = &self.0 {
            flow.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_is_answered_until_its_answer_ends() {
        let flow = Arc::new(Flow::default());
        flow.handed_on(false);
        assert!(flow.is_answered() && flow.waiting_since().is_none());
        flow.make_room();
        assert_eq!(flow.ends_at(), None, "it does not wait");
        drop(Turn(Some(flow.clone())));
        assert!(!flow.is_answered() && flow.waiting_since().is_some());
    }

    #[test]
    fn who_makes_room_has_some_time_for_its_head() {
        let flow = Flow::default();
        let connected = flow.waiting_since().expect("it waits");
        flow.make_room();
        assert!(flow.ends_at() >= Some(connected + GRACE));
        assert_eq!(flow.waiting_since(), None, "it is not chosen twice");
        flow.handed_on(false);
        assert_eq!(flow.ends_at(), None);
    }
}

//! Whether a backend is silent. Waiting for a silent backend each time would delay one notification after the other.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// After this many gatherings without an answer, no request is sent …
const NOTICED: u32 = 2;

/// … for so long.
const LASTS: Duration = Duration::from_secs(10);

/// How often a backend did not answer since it last did.
#[derive(Debug, Default)]
pub(super) struct Silence(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    gatherings: u32,
    /// When it was noticed, and until when that gathering had waited.
    last: Option<(Instant, Instant)>,
}

impl Silence {
    /// A question was not answered. Those that waited until the same time belong to one gathering, which may ask several that
    /// are as heavy.
    pub(super) fn noticed(&self, until: Instant) {
        let mut state = self.state();
        if state.last.is_none_or(|(_, last)| last != until) {
            state.gatherings = state.gatherings.saturating_add(1);
        }
        state.last = Some((Instant::now(), until));
    }

    /// A gathering has ended.
    pub(super) fn ended(&self) {
        *self.state() = State::default();
    }

    /// Whether to ask is a waste of time.
    pub(super) fn lasts(&self) -> bool {
        self.state().gatherings >= NOTICED && self.was_noticed()
    }

    /// Whether a question has had no answer of late, and none since.
    pub(super) fn was_noticed(&self) -> bool {
        let last = self.state().last;
        last.is_some_and(|(noticed, _)| noticed.elapsed() < LASTS)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_backend_that_is_silent_twice_is_left_alone_for_a_while() {
        let silence = Silence::default();
        let (one, another) = (Instant::now(), Instant::now() + Duration::from_millis(1));
        silence.noticed(one);
        silence.noticed(one);
        assert!(!silence.lasts(), "these may be heavy questions");
        silence.noticed(another);
        assert!(silence.lasts());
        tokio::time::advance(LASTS).await;
        assert!(!silence.lasts(), "it is asked again");
        silence.noticed(one);
        silence.ended();
        assert!(!silence.lasts());
    }
}

//! Whether a backend is silent: what waits for it again and again would make one notification after the other late.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// After so many questions without an answer nobody is asked …
const NOTICED: u32 = 2;

/// … for so long.
const LASTS: Duration = Duration::from_secs(10);

/// How often a backend did not answer since it last did.
#[derive(Debug, Default)]
pub(super) struct Silence(Mutex<(u32, Option<Instant>)>);

impl Silence {
    /// A question was not answered.
    pub(super) fn noticed(&self) {
        let mut state = self.state();
        *state = (state.0.saturating_add(1), Some(Instant::now()));
    }

    /// One was.
    pub(super) fn ended(&self) {
        *self.state() = (0, None);
    }

    /// Whether to ask is a waste of time.
    pub(super) fn lasts(&self) -> bool {
        let (times, last) = *self.state();
        times >= NOTICED && last.is_some_and(|last| last.elapsed() < LASTS)
    }

    fn state(&self) -> MutexGuard<'_, (u32, Option<Instant>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_backend_that_is_silent_twice_is_left_alone_for_a_while() {
        let silence = Silence::default();
        silence.noticed();
        assert!(!silence.lasts(), "once may be one heavy question");
        silence.noticed();
        assert!(silence.lasts());
        tokio::time::advance(LASTS).await;
        assert!(!silence.lasts(), "it is asked again");
        silence.noticed();
        silence.ended();
        assert!(!silence.lasts());
    }
}

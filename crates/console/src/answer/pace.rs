//! When an answer goes on, and when others do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Answers;
use crate::ingest::Turn;

/// An answer that takes longer than this goes on in turns with its like, so that others never wait for it.
const SHORT: Duration = Duration::from_micros(250);

/// How long a long answer runs per turn: all long answers together have had a turn within a tenth of a second.
const TURN: Duration = Duration::from_millis(1);

/// Controls the speed of an answer: a short one runs at once, a long one takes turns with others.
#[derive(Debug)]
pub(super) struct Pace {
    turn: Option<Turn>,
    begun: Instant,
    long: Arc<Semaphore>,
    places: Arc<Semaphore>,
    place: Option<OwnedSemaphorePermit>,
    /// How long others had their turn.
    pub waited: Duration,
}

impl Pace {
    /// Waits until it may begin. Not to be called on a worker thread.
    pub fn begin(answers: &Answers) -> Self {
        let turn = Turn::wait(answers.beginning.clone(), TURN);
        Self {
            turn: Some(turn),
            begun: Instant::now(),
            long: answers.long.clone(),
            places: answers.places.clone(),
            place: None,
            waited: Duration::ZERO,
        }
    }

    /// Whether it is a long one.
    #[cfg(test)]
    pub fn is_long(&self) -> bool {
        self.place.is_some()
    }

    /// Gives other answers a turn if this one has used up its own; `false` if this is a long answer and too many of them
    /// run.
    pub fn pass(&mut self) -> bool {
        if self.place.is_none() && self.begun.elapsed() > SHORT {
            self.place = self.places.clone().try_acquire_owned().ok();
            if self.place.is_none() {
                return false;
            }
        }
        if let Some(turn) = self.turn.as_mut().filter(|_| self.place.is_some()) {
            let since = Instant::now();
            turn.pass_among(&self.long);
            self.waited += since.elapsed();
        }
        true
    }

    /// The computation is over; the client only has to read the rest.
    pub fn end(&mut self) {
        (self.turn, self.place) = (None, None);
    }
}

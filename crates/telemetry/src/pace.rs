//! How soon a backend that could not take a batch is asked again.

use std::time::{Duration, Instant};

/// No pause is shorter.
pub(crate) const FIRST_BACKOFF: Duration = Duration::from_millis(250);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// A backend that asks for more gets this: an hour would lose everything that happens in it.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// When the backend may be asked again. It outlives a batch: a backend that is away is away for the next one too.
pub(crate) struct Pace {
    backoff: Duration,
    pub(crate) not_before: Instant,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self {
            backoff: FIRST_BACKOFF,
            not_before: Instant::now(),
        }
    }

    /// Not before the time that was asked for, and never sooner than our own back-off: `Retry-After: 0` makes no loop.
    pub(crate) fn failed(&mut self, after: Option<Duration>) {
        let asked = after.unwrap_or_default().min(LONGEST_PAUSE);
        self.not_before = Instant::now() + jitter(asked.max(self.backoff));
        self.backoff = (self.backoff * 2).min(LONGEST_BACKOFF);
    }

    /// It has taken a batch, or refused one for good: it is there.
    pub(crate) fn answered(&mut self) {
        self.backoff = FIRST_BACKOFF;
    }
}

/// Spreads retries of many processes: up to a fifth later, from the clock's low bits. Never sooner.
fn jitter(time: Duration) -> Duration {
    let nanos = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |now| now.subsec_nanos());
    time.mul_f64(1.0 + f64::from(nanos % 1000) / 5000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_pause_is_shorter_than_asked_or_longer_than_a_minute_and_a_fifth() {
        for (asked, least) in [
            (Duration::from_secs(30), 30),
            (Duration::from_secs(3600), 60),
            (Duration::MAX, 60),
        ] {
            for _ in 0..1000 {
                let (before, mut pace) = (Instant::now(), Pace::new());
                pace.failed(Some(asked));
                let least = Duration::from_secs(least);
                assert!(pace.not_before >= before + least);
                assert!(pace.not_before <= Instant::now() + least.mul_f64(1.2));
            }
        }
    }
}

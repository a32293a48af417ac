//! The pause before a failed export is repeated.

use std::time::{Duration, Instant};

/// No pause is shorter.
pub(crate) const FIRST_BACKOFF: Duration = Duration::from_millis(250);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// The longest pause, even if the backend asks for more: during a pause of an hour the queue would overflow.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// When the next attempt is allowed. It holds for the following batches too: the backend is away for them as well.
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

    /// Not before the time that the backend asked for, and never sooner than our own back-off, so that `Retry-After: 0` makes no loop.
    pub(crate) fn failed(&mut self, after: Option<Duration>) {
        let asked = after.unwrap_or_default().min(LONGEST_PAUSE);
        self.not_before = Instant::now() + jitter(asked.max(self.backoff));
        self.backoff = (self.backoff * 2).min(LONGEST_BACKOFF);
    }

    /// The backend answered: it took a batch, or refused one for good.
    pub(crate) fn answered(&mut self) {
        self.backoff = FIRST_BACKOFF;
    }
}

/// Spreads the retries of many processes: up to a fifth later, by the clock's low bits.
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

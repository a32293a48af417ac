//! When to try again.
use std::time::Duration;

/// Pauses that double with each failure.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    /// The pause after the first failure.
    pub first: Duration,
    /// The pause after many failures.
    pub longest: Duration,
}

impl Backoff {
    /// The pause after so many failures in a row.
    pub fn after(self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1);
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(doublings));
        doubled.min(self.longest)
    }

    /// The same pause, minus up to half of it by `luck` (0 to 1), so that many clients do not retry at the same time.
    pub fn spread(self, failures: u32, luck: f64) -> Duration {
        self.after(failures)
            .mul_f64(1.0 - luck.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound_and_are_spread() {
        let backoff = Backoff {
            first: Duration::from_millis(200),
            longest: Duration::from_secs(10),
        };
        let millis = [0, 1, 2, 4, 99, u32::MAX].map(|failures| backoff.after(failures).as_millis());
        assert_eq!(millis, [200, 200, 400, 1600, 10_000, 10_000]);
        let spread = [-1.0, 0.0, 0.5, 1.0, 2.0].map(|luck| backoff.spread(1, luck).as_millis());
        assert_eq!(spread, [200, 200, 150, 100, 100]);
    }
}

//! A dependency as numbers: log-normal latency, prices, declined payments. All follow from one seed.

use std::f64::consts::TAU;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use uuid::Uuid;

/// A healthy dependency never takes longer; the log-normal distribution has no bound of its own.
const MAX_LATENCY_MS: f64 = 1000.0;

/// Prices are between these, in cents.
const PRICES: std::ops::Range<i64> = 500..5000;

/// What decides how this service behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Model {
    /// Median latency.
    pub(crate) median_ms: f64,
    /// Standard deviation of the latency's logarithm.
    pub(crate) sigma: f64,
    /// Start of every sequence.
    pub(crate) seed: u64,
    /// Share of payments that are declined.
    pub(crate) decline_share: f64,
}

impl Model {
    /// Latency of the `n`-th request: median * e^(sigma * z), z standard normal.
    pub(crate) fn latency(&self, n: u64) -> Duration {
        let (u, v) = (uniform(self.seed, 2 * n), uniform(self.seed, 2 * n + 1));
        // Box-Muller; 1 - u is never 0.
        let z = (-2.0 * (1.0 - u).ln()).sqrt() * (TAU * v).cos();
        let ms = self.median_ms * (self.sigma * z).exp();
        Duration::from_secs_f64(ms.min(MAX_LATENCY_MS) / 1000.0)
    }

    /// True when the order's payment is declined: always the same answer for the same order.
    pub(crate) fn declines(&self, order: Uuid) -> bool {
        let (high, low) = order.as_u64_pair();
        uniform(self.seed ^ high, low) < self.decline_share
    }

    /// Price of an item in cents.
    pub(crate) fn price(&self, sku: &str) -> i64 {
        // FNV-1a: stable between releases, unlike the standard library's hasher.
        let hash = sku.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let span = PRICES.end - PRICES.start;
        PRICES.start + (uniform(self.seed, hash) * span as f64) as i64
    }
}

/// Draws from the model's sequences, from any thread.
#[derive(Debug)]
pub(crate) struct Sequence {
    seed: u64,
    next: AtomicU64,
}

impl Sequence {
    /// A sequence of its own for each seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            next: AtomicU64::new(0),
        }
    }

    /// The next index.
    pub(crate) fn index(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The next number, in [0, 1).
    pub(crate) fn draw(&self) -> f64 {
        uniform(self.seed, self.index())
    }

    /// True with probability `share`.
    pub(crate) fn hits(&self, share: f64) -> bool {
        self.draw() < share
    }
}

/// The `n`-th number of a sequence, in [0, 1): splitmix64 (Steele, Lea, Flood 2014), which may be asked in any order.
fn uniform(seed: u64, n: u64) -> f64 {
    let mut z = seed.wrapping_add(n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    // 53 bits: what a f64 holds.
    (z >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: Model = Model {
        median_ms: 5.0,
        sigma: 0.5,
        seed: 42,
        decline_share: 0.25,
    };

    fn quantile(model: &Model, q: f64) -> f64 {
        let mut times: Vec<_> = (0..20_000)
            .map(|n| model.latency(n).as_secs_f64() * 1000.0)
            .collect();
        times.sort_by(f64::total_cmp);
        times[(q * times.len() as f64) as usize]
    }

    #[test]
    fn latency_is_log_normal() {
        assert!((quantile(&MODEL, 0.5) - 5.0).abs() < 0.15);
        // e^(0.5 * 2.326) times the median.
        assert!((quantile(&MODEL, 0.99) - 16.0).abs() < 1.0);
    }

    #[test]
    fn the_seed_decides() {
        assert_eq!(MODEL.latency(7), MODEL.latency(7));
        assert_ne!(MODEL.latency(7), Model { seed: 43, ..MODEL }.latency(7));
        assert_eq!(
            Model {
                sigma: 0.0,
                ..MODEL
            }
            .latency(1),
            Duration::from_millis(5)
        );
        assert!(
            Model {
                median_ms: 500.0,
                sigma: 2.0,
                ..MODEL
            }
            .latency(3)
                <= Duration::from_secs(1)
        );
    }

    #[test]
    fn a_share_of_payments_is_declined() {
        let declined = (0..10_000)
            .filter(|n| MODEL.declines(Uuid::from_u128(n << 64 | n)))
            .count();
        assert!((2300..2700).contains(&declined), "{declined}");
        let order = Uuid::from_u128(9);
        assert!(
            !Model {
                decline_share: 0.0,
                ..MODEL
            }
            .declines(order)
        );
        assert!(
            Model {
                decline_share: 1.0,
                ..MODEL
            }
            .declines(order)
        );
    }

    #[test]
    fn prices_are_stable_and_in_range() {
        assert_eq!(MODEL.price("omni-mug"), MODEL.price("omni-mug"));
        assert!((0..1000).all(|n| PRICES.contains(&MODEL.price(&n.to_string()))));
    }
}

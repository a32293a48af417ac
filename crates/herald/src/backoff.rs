//! When to try again.

use std::time::Duration;

use service::Backoff;

const BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(500),
    longest: Duration::from_secs(60),
};

/// A target may ask for more patience than that, but not for any amount.
const MOST_ASKED: Duration = Duration::from_secs(600);

/// Doubles from half a second to a minute. `luck` (0 to 1) subtracts up to half, so that many retries do not coincide. The
/// target's `Retry-After` is the minimum.
pub(crate) fn pause(attempts: u32, luck: f64, asked: Option<Duration>) -> Duration {
    let own = BACKOFF.spread(attempts, luck);
    own.max(asked.unwrap_or_default().min(MOST_ASKED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_a_minute_and_honours_what_is_asked() {
        let seconds = |attempts, luck| pause(attempts, luck, None).as_secs_f64();
        assert_eq!(
            [1, 2, 3, 7, 8, 99].map(|n| seconds(n, 0.0)),
            [0.5, 1.0, 2.0, 32.0, 60.0, 60.0]
        );
        assert_eq!(seconds(3, 1.0), 1.0);
        let asked = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(pause(1, 0.0, asked(30)), Duration::from_secs(30));
        for much in [1_000_000, u64::MAX] {
            assert_eq!(pause(1, 0.0, asked(much)), MOST_ASKED);
        }
    }
}

//! Shares and quantiles with 95 % intervals. Few runs give wide ones, and that is what they are for.

use serde::Serialize;

/// The 97.5th percentile of the normal distribution.
const Z: f64 = 1.959_964;

/// A share of runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Share {
    /// How many of them.
    pub hits: usize,
    /// Of how many.
    pub of: usize,
    /// `hits / of`; `None` of nothing.
    pub share: Option<f64>,
    /// Wilson's score interval, 95 %.
    pub interval: Option<(f64, f64)>,
}

impl Share {
    /// How many are true.
    pub fn of(outcomes: impl IntoIterator<Item = bool>) -> Self {
        let (mut hits, mut of) = (0, 0);
        for outcome in outcomes {
            of += 1;
            hits += usize::from(outcome);
        }
        Self::new(hits, of)
    }

    /// So many of so many.
    pub fn new(hits: usize, of: usize) -> Self {
        let share = (of > 0).then(|| hits as f64 / of as f64);
        let interval = share.map(|share| wilson(share, of as f64));
        Self {
            hits,
            of,
            share,
            interval,
        }
    }

    /// `17 of 18 (0.94, 0.74 to 0.99)`.
    pub fn text(&self) -> String {
        match (self.share, self.interval) {
            (Some(value), Some((low, high))) => {
                format!(
                    "{} of {} ({value:.2}, {low:.2} to {high:.2})",
                    self.hits, self.of
                )
            }
            _ => "no run".to_owned(),
        }
    }
}

/// E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
fn wilson(share: f64, of: f64) -> (f64, f64) {
    let spread = Z * Z / of;
    let middle = share + spread / 2.0;
    let half = Z * (share * (1.0 - share) / of + spread / (4.0 * of)).sqrt();
    let bound = |value: f64| (value / (1.0 + spread)).clamp(0.0, 1.0);
    (bound(middle - half), bound(middle + half))
}

/// Times in seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Times {
    /// How many.
    pub count: usize,
    /// The middle one, and its interval.
    pub median: Option<Quantile>,
    /// 90 % are not above, and its interval.
    pub p90: Option<Quantile>,
    /// The longest.
    pub worst: Option<f64>,
}

/// A quantile and its 95 % interval from order statistics (binomial, no assumption about the distribution). An end that lies
/// beyond the smallest or largest value is `None`: there are too few values to bound it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quantile {
    /// Nearest rank.
    pub seconds: f64,
    /// Not below this one.
    pub low: Option<f64>,
    /// Not above this one.
    pub high: Option<f64>,
}

impl Times {
    /// Of these.
    pub fn of(seconds: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = seconds.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        Self {
            count: sorted.len(),
            median: quantile(&sorted, 0.5),
            p90: quantile(&sorted, 0.9),
            worst: sorted.last().copied(),
        }
    }

    /// `median 14.2 s (12.0 to 31.0), 90 % within 40.0 s (31.0 to ?), worst 61.3 s, of 18`.
    pub fn text(&self) -> String {
        let (Some(median), Some(p90), Some(worst)) = (self.median, self.p90, self.worst) else {
            return "no run".to_owned();
        };
        let (median, p90) = (median.text(), p90.text());
        format!(
            "median {median}, 90 % within {p90}, worst {worst:.1} s, of {}",
            self.count
        )
    }
}

impl Quantile {
    fn text(self) -> String {
        let end = |value: Option<f64>| value.map_or("?".to_owned(), |value| format!("{value:.1}"));
        format!(
            "{:.1} s ({} to {})",
            self.seconds,
            end(self.low),
            end(self.high)
        )
    }
}

fn quantile(sorted: &[f64], q: f64) -> Option<Quantile> {
    let count = sorted.len();
    let rank = ((q * count as f64).ceil() as usize).max(1);
    let seconds = *sorted.get(rank - 1)?;
    // The number of values below the true quantile is binomial: the interval is between the ranks that it stays within.
    let low = (1..=count)
        .rev()
        .find(|rank| at_most(rank - 1, count, q) <= 0.025);
    let high = (1..=count).find(|rank| at_most(rank - 1, count, q) >= 0.975);
    let value = |rank: usize| sorted[rank - 1];
    Some(Quantile {
        seconds,
        low: low.map(value),
        high: high.map(value),
    })
}

/// Probability of at most `hits` of `of`, each with probability `q`.
fn at_most(hits: usize, of: usize, q: f64) -> f64 {
    let mut term = (1.0 - q).powi(of as i32);
    let mut sum = term;
    for k in 1..=hits {
        term *= (of - k + 1) as f64 / k as f64 * q / (1.0 - q);
        sum += term;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: f64, expected: f64) -> bool {
        (value - expected).abs() < 0.001
    }

    #[test]
    fn shares_have_the_interval_of_the_textbook() {
        let share = Share::of((0..10).map(|n| n < 9));
        let (low, high) = share.interval.unwrap();
        assert_eq!((share.hits, share.of), (9, 10));
        assert!(near(low, 0.5958) && near(high, 0.9821), "{low} {high}");
        let all = Share::of([true; 20]).interval.unwrap();
        assert!(near(all.0, 0.8389) && near(all.1, 1.0), "{all:?}");
        assert_eq!(Share::of([]).share, None);
    }

    #[test]
    fn the_median_of_ten_lies_between_the_second_and_the_ninth() {
        let times = Times::of((1..=10).map(f64::from));
        assert_eq!(
            times.median,
            Some(Quantile {
                seconds: 5.0,
                low: Some(2.0),
                high: Some(9.0)
            })
        );
        assert_eq!(
            times.p90.unwrap().high,
            None,
            "ten values do not bound the 90th percentile"
        );
        assert_eq!(times.worst, Some(10.0));
        assert_eq!(Times::of([]).median, None);
    }
}

//! A number that was measured several times.

use std::fmt;

/// Median, and between what.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    min: f64,
    median: f64,
    max: f64,
}

impl Spread {
    /// Of these values; `None` of none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = match values.len() {
            0 => return None,
            odd if odd % 2 == 1 => values[middle],
            _ => f64::midpoint(values[middle - 1], values[middle]),
        };
        Some(Self {
            min: values[0],
            median,
            max: *values.last()?,
        })
    }
}

/// `386 (367..414)`; with `{:+.0}` for differences, `{:.2}` for decimals.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(0);
        let text = |value: f64| match f.sign_plus() {
            true => format!("{value:+.digits$}"),
            false => format!("{value:.digits$}"),
        };
        let (min, median, max) = (text(self.min), text(self.median), text(self.max));
        if min == max {
            return f.write_str(&median);
        }
        write!(f, "{median} ({min}..{max})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_ends() {
        let text = |values: &[f64]| format!("{:.1}", Spread::of(values.iter().copied()).unwrap());
        assert_eq!(text(&[3.0, 1.0, 2.0]), "2.0 (1.0..3.0)");
        assert_eq!(text(&[4.0, 1.0]), "2.5 (1.0..4.0)");
        assert_eq!(text(&[4.01, 4.0]), "4.0", "the same as far as it is shown");
        let signed = Spread::of([-1.0, 2.0]).unwrap();
        assert_eq!(format!("{signed:+.0}"), "+0 (-1..+2)");
        assert_eq!(Spread::of([]), None);
    }
}

//! Arithmetic that has to be as exact as Prometheus's.

/// A sum that carries along what rounding lost (Kahan's, as improved by Neumaier).
#[derive(Clone, Copy, Default)]
pub(crate) struct Sum {
    sum: f64,
    lost: f64,
}

impl Sum {
    pub fn add(&mut self, value: f64) {
        let total = self.sum + value;
        self.lost = match self.sum.abs() >= value.abs() {
            _ if total.is_infinite() => 0.0,
            true => self.lost + ((self.sum - total) + value),
            false => self.lost + ((value - total) + self.sum),
        };
        self.sum = total;
    }

    pub fn total(&self) -> f64 {
        self.sum + self.lost
    }

    fn scaled(self, by: f64) -> Self {
        Self {
            sum: self.sum * by,
            lost: self.lost * by,
        }
    }
}

pub(crate) fn sum(values: impl Iterator<Item = f64>) -> f64 {
    let mut sum = Sum::default();
    values.for_each(|value| sum.add(value));
    sum.total()
}

/// The mean of the sum; it continues incrementally once the sum would be infinite.
pub(crate) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let mut sum = Sum::default();
    let mut mean: Option<Sum> = None;
    let mut count = 0.0;
    for value in values {
        count += 1.0;
        if mean.is_none() {
            let mut next = sum;
            next.add(value);
            if count == 1.0 || !next.sum.is_infinite() {
                sum = next;
                continue;
            }
        }
        let before = mean.unwrap_or(sum.scaled(1.0 / (count - 1.0)));
        let mut next = before.scaled((count - 1.0) / count);
        next.add(value / count);
        mean = Some(next);
    }
    mean.map_or(sum.sum / count + sum.lost / count, |mean| mean.total())
}

/// The variance of a whole population (Welford's).
pub(crate) fn variance(values: impl Iterator<Item = f64>) -> f64 {
    let (mut mean, mut squares) = (Sum::default(), Sum::default());
    let mut count = 0.0;
    for value in values {
        count += 1.0;
        let from_old = value - mean.total();
        mean.add(from_old / count);
        squares.add(from_old * (value - mean.total()));
    }
    squares.total() / count
}

/// The φ-quantile of values in any order, interpolated between two values. NaN counts as the smallest.
pub(crate) fn quantile(q: f64, mut values: Vec<f64>) -> f64 {
    match q {
        _ if values.is_empty() || q.is_nan() => return f64::NAN,
        _ if q < 0.0 => return f64::NEG_INFINITY,
        _ if q > 1.0 => return f64::INFINITY,
        _ => values.sort_by(|left, right| {
            nan_first(*left)
                .cmp(&nan_first(*right))
                .then(left.total_cmp(right))
        }),
    }
    let rank = q * (values.len() - 1) as f64;
    let lower = rank.floor() as usize;
    let upper = (lower + 1).min(values.len() - 1);
    let weight = rank - rank.floor();
    values[lower] * (1.0 - weight) + values[upper] * weight
}

fn nan_first(value: f64) -> bool {
    !value.is_nan()
}

/// Descending (`true`) or ascending, NaN always last.
pub(crate) fn order(left: f64, right: f64, descending: bool) -> std::cmp::Ordering {
    let order = left
        .partial_cmp(&right)
        .unwrap_or_else(|| left.is_nan().cmp(&right.is_nan()));
    match descending && !left.is_nan() && !right.is_nan() {
        true => order.reverse(),
        false => order,
    }
}

/// The natural order of texts, which compares numbers by value: `pod-9` is before `pod-10`.
pub(crate) fn natural(left: &str, right: &str) -> std::cmp::Ordering {
    let (mut left, mut right) = (left, right);
    while !left.is_empty() && !right.is_empty() {
        let ((first, left_rest), (second, right_rest)) = (chunk(left), chunk(right));
        let order = match (first.parse::<u64>(), second.parse::<u64>()) {
            (Ok(first), Ok(second)) => first.cmp(&second),
            _ => first.cmp(second),
        };
        if order.is_ne() {
            return order;
        }
        (left, right) = (left_rest, right_rest);
    }
    left.len().cmp(&right.len())
}

/// Digits or other letters that the text begins with, and the rest.
fn chunk(text: &str) -> (&str, &str) {
    let are_digits = text.starts_with(|c: char| c.is_ascii_digit());
    let end = text.find(|c: char| c.is_ascii_digit() != are_digits);
    text.split_at(end.unwrap_or(text.len()))
}

/// A number in Prometheus's notation for labels: `NaN`, `+Inf`, and never an exponent.
pub(crate) fn plain(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        _ => value.to_string(),
    }
}

/// A number in the notation of Prometheus's API: `NaN`, `+Inf`, `1e+21`, and otherwise the shortest digits that stand for
/// the same number.
pub fn format_value(value: f64) -> String {
    let size = value.abs();
    if !size.is_finite() || size == 0.0 || (1e-6..1e21).contains(&size) {
        return plain(value);
    }
    let written = format!("{value:e}");
    let (digits, exponent) = written.split_once('e').unwrap_or((&written, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

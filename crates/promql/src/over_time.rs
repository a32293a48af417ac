//! Functions of range vectors.

use crate::Sample;
use crate::aggregate::least;
use crate::functions::Window;
use crate::numbers::{self, Sum, mean, variance};

fn values<'a>(window: &'a Window) -> impl Iterator<Item = f64> + 'a {
    window.samples.iter().map(|sample| sample.value)
}

/// Neighbours in time.
fn pairs<'a>(window: &'a Window) -> impl Iterator<Item = (f64, f64)> + 'a {
    window
        .samples
        .windows(2)
        .map(|pair| (pair[0].value, pair[1].value))
}

pub(crate) fn avg(window: &Window, _: &[f64]) -> Option<f64> {
    Some(mean(values(window)))
}

pub(crate) fn sum(window: &Window, _: &[f64]) -> Option<f64> {
    Some(numbers::sum(values(window)))
}

pub(crate) fn min(window: &Window, _: &[f64]) -> Option<f64> {
    Some(least(&mut values(window)))
}

pub(crate) fn max(window: &Window, _: &[f64]) -> Option<f64> {
    Some(-least(&mut values(window).map(|value| -value)))
}

pub(crate) fn stdvar(window: &Window, _: &[f64]) -> Option<f64> {
    Some(variance(values(window)))
}

pub(crate) fn stddev(window: &Window, _: &[f64]) -> Option<f64> {
    Some(variance(values(window)).sqrt())
}

pub(crate) fn quantile(window: &Window, numbers: &[f64]) -> Option<f64> {
    Some(numbers::quantile(
        *numbers.first()?,
        values(window).collect(),
    ))
}

pub(crate) fn changes(window: &Window, _: &[f64]) -> Option<f64> {
    let changed = |(old, new): &(f64, f64)| old != new && !(old.is_nan() && new.is_nan());
    Some(pairs(window).filter(changed).count() as f64)
}

pub(crate) fn resets(window: &Window, _: &[f64]) -> Option<f64> {
    Some(pairs(window).filter(|(old, new)| new < old).count() as f64)
}

pub(crate) fn rate(window: &Window, _: &[f64]) -> Option<f64> {
    let seconds = (window.until_ms - window.after_ms) as f64 / 1000.0;
    extrapolated(window, true, seconds)
}

pub(crate) fn increase(window: &Window, _: &[f64]) -> Option<f64> {
    extrapolated(window, true, 1.0)
}

pub(crate) fn delta(window: &Window, _: &[f64]) -> Option<f64> {
    extrapolated(window, false, 1.0)
}

/// The increase of a series between its first and last sample, extrapolated to the ends of the window, unless the series
/// seems to begin or end inside it. A counter that falls has restarted from zero.
fn extrapolated(window: &Window, is_counter: bool, per: f64) -> Option<f64> {
    let [first, .., last] = window.samples else {
        return None;
    };
    let mut grown = last.value - first.value;
    if is_counter {
        let restarts = pairs(window).filter(|(old, new)| new < old);
        restarts.for_each(|(before, _)| grown += before);
    }
    let sampled = seconds(first.at_ms, last.at_ms);
    let between = sampled / (window.count - 1) as f64;
    // If the end is further away than 1.1 times the usual distance, it extrapolates by half of that distance.
    let towards = |end: f64| {
        if end >= between * 1.1 {
            between / 2.0
        } else {
            end
        }
    };
    let mut to_start = towards(seconds(window.after_ms, first.at_ms));
    if is_counter && grown > 0.0 && first.value >= 0.0 {
        // A counter was never below zero.
        to_start = to_start.min(sampled * (first.value / grown));
    }
    let to_end = towards(seconds(last.at_ms, window.until_ms));
    let factor = if sampled == 0.0 {
        1.0
    } else {
        (sampled + to_start + to_end) / sampled
    };
    Some(grown * (factor / per))
}

fn seconds(from_ms: i64, to_ms: i64) -> f64 {
    to_ms.saturating_sub(from_ms) as f64 / 1000.0
}

pub(crate) fn irate(window: &Window, _: &[f64]) -> Option<f64> {
    let (old, new) = last_two(window)?;
    let grown = if new.value < old.value {
        new.value
    } else {
        new.value - old.value
    };
    Some(grown / seconds(old.at_ms, new.at_ms))
}

pub(crate) fn idelta(window: &Window, _: &[f64]) -> Option<f64> {
    last_two(window).map(|(old, new)| new.value - old.value)
}

fn last_two<'a>(window: &Window<'a>) -> Option<(&'a Sample, &'a Sample)> {
    match window.samples {
        [.., old, new] if old.at_ms < new.at_ms => Some((old, new)),
        _ => None,
    }
}

pub(crate) fn deriv(window: &Window, _: &[f64]) -> Option<f64> {
    // Uses times near zero: those since 1970 are too large to be squared exactly.
    line(window.samples, window.samples.first()?.at_ms).map(|(slope, _)| slope)
}

pub(crate) fn predict_linear(window: &Window, numbers: &[f64]) -> Option<f64> {
    let (slope, now) = line(window.samples, window.at_ms)?;
    Some(slope * numbers.first()? + now)
}

/// Slope per second of the line with the least squares, and its value at a time.
fn line(samples: &[Sample], at_ms: i64) -> Option<(f64, f64)> {
    let [first, _, ..] = samples else {
        return None;
    };
    if samples.iter().all(|sample| sample.value == first.value) {
        let flat = if first.value.is_infinite() {
            f64::NAN
        } else {
            0.0
        };
        return Some((flat, first.value + flat));
    }
    let (mut x, mut y, mut xy, mut xx) = (
        Sum::default(),
        Sum::default(),
        Sum::default(),
        Sum::default(),
    );
    for sample in samples {
        let at = seconds(at_ms, sample.at_ms);
        x.add(at);
        y.add(sample.value);
        xy.add(at * sample.value);
        xx.add(at * at);
    }
    let (x, y, count) = (x.total(), y.total(), samples.len() as f64);
    let slope = (xy.total() - x * y / count) / (xx.total() - x * x / count);
    Some((slope, y / count - slope * x / count))
}

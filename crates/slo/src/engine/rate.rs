//! `rate` and `increase` as Prometheus computes them (promql/functions.go, `extrapolatedRate`), so that both engines agree.

use super::Sample;

/// What a counter rose by within `(at - range, at]`, extrapolated to the whole of it; `None` with fewer than two samples.
pub(super) fn increase(samples: &[Sample], at_ms: i64, range_ms: i64) -> Option<f64> {
    let (rise, factor) = extrapolated(samples, at_ms, range_ms)?;
    Some(rise * factor)
}

/// The same for a second.
pub(super) fn rate(samples: &[Sample], at_ms: i64, range_ms: i64) -> Option<f64> {
    let (rise, factor) = extrapolated(samples, at_ms, range_ms)?;
    Some(rise * (factor / seconds(range_ms)))
}

fn extrapolated(samples: &[Sample], at_ms: i64, range_ms: i64) -> Option<(f64, f64)> {
    let start_ms = at_ms - range_ms;
    // The range is open on the left since Prometheus 3.
    let from = samples.partition_point(|sample| sample.at_ms <= start_ms);
    let to = samples.partition_point(|sample| sample.at_ms <= at_ms);
    let mut values = samples
        .get(from..to)?
        .iter()
        .filter_map(|sample| Some((sample.at_ms, sample.value.ok()?)));
    let first = values.next()?;
    let (mut last, mut count, mut resets) = (first, 0_u32, 0.0);
    for (at, value) in values {
        // A counter that fell was started anew: all it had then is lost, not taken back.
        if value < last.1 {
            resets += last.1;
        }
        last = (at, value);
        count += 1;
    }
    if count == 0 {
        return None;
    }
    let rise = last.1 - first.1 + resets;
    let sampled = seconds(last.0 - first.0);
    let between = sampled / f64::from(count);
    let edge = |gap: f64| {
        if gap >= between * 1.1 {
            between / 2.0
        } else {
            gap
        }
    };
    let mut to_start = edge(seconds(first.0 - start_ms));
    // A counter is never negative: the line through its samples starts no earlier than at zero.
    if rise > 0.0 && first.1 >= 0.0 {
        to_start = to_start.min(sampled * (first.1 / rise));
    }
    let to_end = edge(seconds(at_ms - last.0));
    Some((rise, (sampled + to_start + to_end) / sampled))
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[(i64, f64)]) -> Vec<Sample> {
        let sample = |(at, value): &(i64, f64)| Sample {
            at_ms: at * 1_000,
            value: Ok(*value),
        };
        values.iter().map(sample).collect()
    }

    /// Each figure is what `promtool test rules` computes.
    #[test]
    fn as_prometheus_does() {
        let steady = samples(&[(0, 0.0), (5, 10.0), (10, 20.0), (15, 30.0), (20, 40.0)]);
        // 0 is outside of (0, 20]; the first sample inside is 5 s from the start: extrapolated to it.
        assert_eq!(increase(&steady, 20_000, 20_000), Some(40.0));
        assert_eq!(rate(&steady, 20_000, 20_000), Some(2.0));
        // The window is longer than the series: half an interval more, but not below zero.
        assert_eq!(increase(&steady, 20_000, 60_000), Some(40.0));
        let late = samples(&[(40, 100.0), (45, 110.0), (50, 120.0)]);
        assert_eq!(increase(&late, 50_000, 60_000), Some(25.0));
        let reset = samples(&[(5, 10.0), (10, 20.0), (15, 5.0), (20, 15.0)]);
        assert_eq!(increase(&reset, 20_000, 15_000), Some(5.0 + 10.0 + 7.5));
        assert_eq!(increase(&steady, 5_000, 4_000), None);
    }
}

//! Quantiles and fractions of classic histograms: series that differ in `le` only.

use crate::Error;
use crate::functions::{number, vector};
use crate::pass::{Element, StepValue, grouped};

const BOUND: &str = "le";
/// Rounding causes relative differences below this number; it is Prometheus's.
const SMALL: f64 = 1e-12;

/// Observations up to and with a bound.
#[derive(Clone, Copy)]
struct Bucket {
    bound: f64,
    count: f64,
}

pub(crate) fn quantile(given: Vec<StepValue>, _: i64) -> Result<StepValue, Error> {
    let q = number(&given, 0);
    Ok(of_histograms(vector(&given, 1), |buckets| {
        bucket_quantile(q, buckets)
    }))
}

pub(crate) fn fraction(given: Vec<StepValue>, _: i64) -> Result<StepValue, Error> {
    let (lower, upper) = (number(&given, 0), number(&given, 1));
    Ok(of_histograms(vector(&given, 2), |buckets| {
        bucket_fraction(lower, upper, buckets)
    }))
}

/// A value for each histogram. Series without a bound that is a number are not of one.
fn of_histograms(elements: &[Element], function: impl Fn(Vec<Bucket>) -> f64) -> StepValue {
    let bucket = |element: &Element| {
        let bucket = Bucket {
            bound: element.labels.get(BOUND).parse().ok()?,
            count: element.value,
        };
        Some((element.labels.only(|name| name != BOUND), bucket))
    };
    let histograms = grouped(elements.iter().filter_map(bucket));
    let valued = |(labels, buckets)| Element {
        labels,
        value: function(buckets),
        drop_name: true,
    };
    StepValue::Vector(histograms.into_iter().map(valued).collect())
}

/// Sorted by bound, with equal bounds added up; `None` if there is no bucket `+Inf`.
fn complete(mut buckets: Vec<Bucket>) -> Option<Vec<Bucket>> {
    buckets.sort_by(|left, right| left.bound.total_cmp(&right.bound));
    buckets.dedup_by(|next, first| {
        let same = next.bound == first.bound;
        first.count += if same { next.count } else { 0.0 };
        same
    });
    buckets
        .last()
        .is_some_and(|last| last.bound == f64::INFINITY)
        .then_some(buckets)
}

/// Counts never fall from one bound to the next, except through rounding or when buckets were not read at the same moment.
fn force_monotonic(buckets: &mut [Bucket]) {
    let mut before = buckets.first().map_or(0.0, |first| first.count);
    for bucket in buckets.iter_mut().skip(1) {
        match bucket.count < before || almost_equal(before, bucket.count) {
            true => bucket.count = before,
            false => before = bucket.count,
        }
    }
}

fn almost_equal(left: f64, right: f64) -> bool {
    let difference = (left - right).abs();
    let size = (left.abs() + right.abs()).min(f64::MAX);
    match left == 0.0 || right == 0.0 || size < f64::MIN_POSITIVE {
        true => difference < SMALL * f64::MIN_POSITIVE,
        false => difference / size < SMALL,
    }
}

/// Interpolates inside a bucket as if its observations were spread evenly; the first bucket starts at zero.
fn bucket_quantile(q: f64, buckets: Vec<Bucket>) -> f64 {
    match q {
        _ if q.is_nan() => return f64::NAN,
        _ if q < 0.0 => return f64::NEG_INFINITY,
        _ if q > 1.0 => return f64::INFINITY,
        _ => {}
    }
    let Some(mut buckets) = complete(buckets) else {
        return f64::NAN;
    };
    force_monotonic(&mut buckets);
    let [lower @ .., all] = &buckets[..] else {
        return f64::NAN;
    };
    let (Some(highest), true) = (lower.last(), all.count != 0.0) else {
        return f64::NAN;
    };
    let rank = q * all.count;
    match lower.iter().position(|bucket| bucket.count >= rank) {
        None => highest.bound,
        Some(0) if lower[0].bound <= 0.0 => lower[0].bound,
        Some(0) => lower[0].bound * (rank / lower[0].count),
        Some(index) => {
            let (below, bucket) = (lower[index - 1], lower[index]);
            let share = (rank - below.count) / (bucket.count - below.count);
            below.bound + (bucket.bound - below.bound) * share
        }
    }
}

/// The share of the observations between two values.
fn bucket_fraction(lower: f64, upper: f64, buckets: Vec<Bucket>) -> f64 {
    let Some(buckets) = complete(buckets) else {
        return f64::NAN;
    };
    let all = buckets.last().map_or(0.0, |last| last.count);
    match () {
        () if all == 0.0 || lower.is_nan() || upper.is_nan() => f64::NAN,
        () if lower >= upper => 0.0,
        () => (observed_below(upper, &buckets, all) - observed_below(lower, &buckets, all)) / all,
    }
}

/// The number of observations up to a value, interpolated as for the quantile; a bucket without an end adds none.
fn observed_below(value: f64, buckets: &[Bucket], all: f64) -> f64 {
    let starts_at_zero = buckets.first().is_some_and(|first| first.bound > 0.0);
    let mut below = Bucket {
        bound: if starts_at_zero {
            0.0
        } else {
            f64::NEG_INFINITY
        },
        count: 0.0,
    };
    for bucket in buckets {
        if below.bound >= value {
            break;
        }
        if bucket.bound > value {
            let share = (value - below.bound) / (bucket.bound - below.bound);
            let inside = match below.bound == f64::NEG_INFINITY {
                true => bucket.count,
                false => below.count + (bucket.count - below.count) * share,
            };
            return inside.min(all);
        }
        below = *bucket;
    }
    below.count.min(all)
}

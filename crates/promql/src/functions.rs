//! The functions by name. Those that are about labels are in `compile`, since their arguments are texts.

use crate::numbers::{natural, order};
use crate::pass::{Element, StepValue};
use crate::{Error, Labels, Sample, dates, histogram, over_time};

/// The input of a range-vector function for one series: at least one sample.
pub(crate) struct Window<'a> {
    pub samples: &'a [Sample],
    /// How many there are, with those that an outline leaves out.
    pub count: usize,
    /// The window begins after this time, without it,
    pub after_ms: i64,
    /// and ends with this one.
    pub until_ms: i64,
    /// The time of the evaluation, which `offset` and `@` do not move.
    pub at_ms: i64,
}

/// A function of a window and of numbers. `None` if there are too few samples.
pub(crate) type WindowFunction = fn(&Window, &[f64]) -> Option<f64>;
/// A function of all arguments and the time of the evaluation.
pub(crate) type General = fn(Vec<StepValue>, i64) -> Result<StepValue, Error>;

#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Each(fn(f64) -> f64),
    WindowFunction(WindowFunction),
    /// An outline is enough for it.
    OfOutline(WindowFunction),
    General(General),
}

const FUNCTIONS: &[(&str, Kind)] = &[
    ("abs", Kind::Each(f64::abs)),
    ("acos", Kind::Each(f64::acos)),
    ("acosh", Kind::Each(f64::acosh)),
    ("asin", Kind::Each(f64::asin)),
    ("asinh", Kind::Each(f64::asinh)),
    ("atan", Kind::Each(f64::atan)),
    ("atanh", Kind::Each(f64::atanh)),
    ("ceil", Kind::Each(f64::ceil)),
    ("cos", Kind::Each(f64::cos)),
    ("cosh", Kind::Each(f64::cosh)),
    ("day_of_month", Kind::Each(dates::day_of_month)),
    ("day_of_week", Kind::Each(dates::day_of_week)),
    ("day_of_year", Kind::Each(dates::day_of_year)),
    ("days_in_month", Kind::Each(dates::days_in_month)),
    ("deg", Kind::Each(f64::to_degrees)),
    ("exp", Kind::Each(f64::exp)),
    ("floor", Kind::Each(f64::floor)),
    ("hour", Kind::Each(dates::hour)),
    ("ln", Kind::Each(f64::ln)),
    ("log10", Kind::Each(f64::log10)),
    ("log2", Kind::Each(f64::log2)),
    ("minute", Kind::Each(dates::minute)),
    ("month", Kind::Each(dates::month)),
    ("rad", Kind::Each(f64::to_radians)),
    (
        "sgn",
        Kind::Each(|value| if value == 0.0 { value } else { value.signum() }),
    ),
    ("sin", Kind::Each(f64::sin)),
    ("sinh", Kind::Each(f64::sinh)),
    ("sqrt", Kind::Each(f64::sqrt)),
    ("tan", Kind::Each(f64::tan)),
    ("tanh", Kind::Each(f64::tanh)),
    ("year", Kind::Each(dates::year)),
    ("avg_over_time", Kind::WindowFunction(over_time::avg)),
    ("changes", Kind::WindowFunction(over_time::changes)),
    (
        "count_over_time",
        Kind::OfOutline(|window, _| Some(window.count as f64)),
    ),
    ("delta", Kind::OfOutline(over_time::delta)),
    ("deriv", Kind::WindowFunction(over_time::deriv)),
    (
        "first_over_time",
        Kind::OfOutline(|window, _| window.samples.first().map(|first| first.value)),
    ),
    ("idelta", Kind::WindowFunction(over_time::idelta)),
    ("increase", Kind::OfOutline(over_time::increase)),
    ("irate", Kind::WindowFunction(over_time::irate)),
    (
        "last_over_time",
        Kind::OfOutline(|window, _| window.samples.last().map(|last| last.value)),
    ),
    ("max_over_time", Kind::OfOutline(over_time::max)),
    ("min_over_time", Kind::OfOutline(over_time::min)),
    (
        "predict_linear",
        Kind::WindowFunction(over_time::predict_linear),
    ),
    ("present_over_time", Kind::OfOutline(is_there)),
    (
        "quantile_over_time",
        Kind::WindowFunction(over_time::quantile),
    ),
    ("rate", Kind::OfOutline(over_time::rate)),
    ("resets", Kind::OfOutline(over_time::resets)),
    ("stddev_over_time", Kind::WindowFunction(over_time::stddev)),
    ("stdvar_over_time", Kind::WindowFunction(over_time::stdvar)),
    ("sum_over_time", Kind::WindowFunction(over_time::sum)),
    (
        "clamp",
        Kind::General(|given, _| Ok(clamp(&given, number(&given, 1), number(&given, 2)))),
    ),
    (
        "clamp_max",
        Kind::General(|given, _| Ok(clamp(&given, f64::NEG_INFINITY, number(&given, 1)))),
    ),
    (
        "clamp_min",
        Kind::General(|given, _| Ok(clamp(&given, number(&given, 1), f64::INFINITY))),
    ),
    ("histogram_fraction", Kind::General(histogram::fraction)),
    ("histogram_quantile", Kind::General(histogram::quantile)),
    (
        "pi",
        Kind::General(|_, _| Ok(StepValue::Scalar(std::f64::consts::PI))),
    ),
    ("round", Kind::General(round)),
    ("scalar", Kind::General(scalar)),
    (
        "sort",
        Kind::General(|given, _| Ok(sorted(given, |a, b| order(a.value, b.value, false)))),
    ),
    (
        "sort_desc",
        Kind::General(|given, _| Ok(sorted(given, |a, b| order(a.value, b.value, true)))),
    ),
    (
        "sort_by_label",
        Kind::General(|given, _| Ok(by_labels(given, false))),
    ),
    (
        "sort_by_label_desc",
        Kind::General(|given, _| Ok(by_labels(given, true))),
    ),
    (
        "time",
        Kind::General(|_, at_ms| Ok(StepValue::Scalar(at_ms as f64 / 1000.0))),
    ),
    (
        "timestamp",
        Kind::General(|given, at_ms| Ok(of_each(&given, |_| at_ms as f64 / 1000.0))),
    ),
    (
        "vector",
        Kind::General(|given, _| Ok(single(number(&given, 0)))),
    ),
];

pub(crate) fn find(name: &str) -> Option<Kind> {
    let known = FUNCTIONS.iter().find(|(known, _)| *known == name);
    known.map(|(_, kind)| *kind)
}

pub(crate) fn is_there(_: &Window, _: &[f64]) -> Option<f64> {
    Some(1.0)
}

pub(crate) fn time_as_vector(_: Vec<StepValue>, at_ms: i64) -> Result<StepValue, Error> {
    Ok(single(at_ms as f64 / 1000.0))
}

/// A number among the arguments; NaN if it is absent.
pub(crate) fn number(given: &[StepValue], index: usize) -> f64 {
    given.get(index).map_or(f64::NAN, StepValue::number)
}

/// A vector among the arguments.
pub(crate) fn vector(given: &[StepValue], index: usize) -> &[Element] {
    match given.get(index) {
        Some(StepValue::Vector(elements)) => elements,
        _ => &[],
    }
}

fn single(value: f64) -> StepValue {
    StepValue::Vector(vec![Element::new(Labels::default(), value)])
}

fn of_each(given: &[StepValue], function: impl Fn(f64) -> f64) -> StepValue {
    let changed = |element: &Element| Element {
        labels: element.labels.clone(),
        value: function(element.value),
        drop_name: true,
    };
    StepValue::Vector(vector(given, 0).iter().map(changed).collect())
}

fn clamp(given: &[StepValue], least: f64, most: f64) -> StepValue {
    if most < least {
        return StepValue::Vector(Vec::new());
    }
    let is_nan = least.is_nan() || most.is_nan();
    of_each(given, |value| match is_nan || value.is_nan() {
        true => f64::NAN,
        false => least.max(most.min(value)),
    })
}

/// Rounds to the nearest multiple; halves go up.
fn round(given: Vec<StepValue>, _: i64) -> Result<StepValue, Error> {
    let nearest = if given.len() > 1 {
        number(&given, 1)
    } else {
        1.0
    };
    let per_one = 1.0 / nearest;
    Ok(of_each(&given, |value| {
        (value * per_one + 0.5).floor() / per_one
    }))
}

fn scalar(given: Vec<StepValue>, _: i64) -> Result<StepValue, Error> {
    Ok(StepValue::Scalar(match vector(&given, 0) {
        [only] => only.value,
        _ => f64::NAN,
    }))
}

fn sorted(given: Vec<StepValue>, order: fn(&Element, &Element) -> std::cmp::Ordering) -> StepValue {
    let mut elements = given
        .into_iter()
        .next()
        .map(StepValue::into_vector)
        .unwrap_or_default();
    elements.sort_by(order);
    StepValue::Vector(elements)
}

/// Sorts by the labels that the other arguments name, one after the other; if these are equal, by all labels.
fn by_labels(mut given: Vec<StepValue>, descending: bool) -> StepValue {
    let names = given.split_off(1.min(given.len()));
    let names: Vec<&str> = names.iter().filter_map(StepValue::text).collect();
    let mut elements = given.pop().map(StepValue::into_vector).unwrap_or_default();
    elements.sort_by(|left, right| {
        let pairs = names
            .iter()
            .map(|name| (left.labels.get(name), right.labels.get(name)));
        let order = pairs
            .map(|(left, right)| natural(left, right))
            .find(|order| order.is_ne());
        let order = order.unwrap_or_else(|| left.labels.cmp(&right.labels));
        if descending { order.reverse() } else { order }
    });
    StepValue::Vector(elements)
}

//! What is evaluated: the parser's tree with every name looked up and every regular expression compiled.

use crate::aggregate::Aggregate;
use crate::binary::Binary;
use crate::functions::{General, WindowFunction};
use crate::labels::Labels;
use crate::relabel::Relabel;
use crate::{Detail, Matcher};

#[derive(Clone, Debug)]
pub(crate) enum Node {
    Number(f64),
    /// Only by itself: texts among arguments are part of what they are given to.
    Text(String),
    Selector(Selector),
    /// `x[5m]` by itself; as an argument it is part of [`Node::OverWindow`].
    Windows(Windows),
    OverWindow(Box<OverWindow>),
    /// A function of every sample's value.
    Each(fn(f64) -> f64, Box<Node>),
    Call(General, Vec<Node>),
    /// One series with these labels while the inner expression is empty.
    Absent(Labels, Box<Node>),
    Relabel(Box<Relabel>, Box<Node>),
    Binary(Box<Binary>),
    Aggregate(Box<Aggregate>),
}

/// A vector selector.
#[derive(Clone, Debug)]
pub(crate) struct Selector {
    /// Different for every leaf of an expression: what it read is kept by it.
    pub id: usize,
    pub matchers: Vec<Matcher>,
    pub shift: Shift,
    /// Gives the samples' times instead of their values: the argument of `timestamp`.
    pub times: bool,
}

/// `offset` and `@`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shift {
    pub offset_ms: i64,
    pub at: Option<AtTime>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum AtTime {
    Start,
    End,
    Time(i64),
}

/// Something with a range: `x[5m]` or `(…)[1h:1m]`.
#[derive(Clone, Debug)]
pub(crate) struct Windows {
    pub id: usize,
    pub of: WindowSource,
    pub shift: Shift,
    pub range_ms: i64,
}

#[derive(Clone, Debug)]
pub(crate) enum WindowSource {
    Selector(Vec<Matcher>),
    /// With the step, if there is one.
    Subquery(Box<Node>, Option<i64>),
}

#[derive(Clone, Debug)]
pub(crate) struct OverWindow {
    pub function: WindowFunction,
    /// What is enough of each window.
    pub detail: Detail,
    pub windows: Windows,
    pub numbers: Vec<Node>,
    /// `last_over_time` and `first_over_time` give samples of the series itself.
    pub keeps_name: bool,
}

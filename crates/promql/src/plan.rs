//! The plan of an evaluation: the parser's tree with every name resolved and every regular expression compiled.

use crate::aggregate::Aggregate;
use crate::binary::Binary;
use crate::functions::{General, WindowFunction};
use crate::labels::Labels;
use crate::relabel::Relabel;
use crate::{Detail, Matcher};

#[derive(Clone, Debug)]
pub(crate) enum Node {
    Number(f64),
    /// A text as the whole expression. A text argument is part of its function's node.
    Text(String),
    Selector(Selector),
    /// `x[5m]` as the whole expression; as an argument it is part of [`Node::OverWindow`].
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
    /// A number per leaf of an expression; the samples it read are stored under it.
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
    /// With the step, if the text has one.
    Subquery(Box<Node>, Option<i64>),
}

#[derive(Clone, Debug)]
pub(crate) struct OverWindow {
    pub function: WindowFunction,
    /// The detail that each window needs.
    pub detail: Detail,
    pub windows: Windows,
    pub numbers: Vec<Node>,
    /// `last_over_time` and `first_over_time` give samples of the series itself.
    pub keeps_name: bool,
}

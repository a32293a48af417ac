//! Metrics are declared before they are observed, by whoever owns them, and handed to [`init`](crate::init()):
//!
//! ```
//! telemetry::label! {
//!     /// What became of an order.
//!     pub enum Taken { Accepted = "accepted", Refused = "refused" }
//! }
//!
//! telemetry::metrics! {
//!     /// Orders, by what became of them.
//!     pub ORDERS: Counter { taken: Taken } = "orders_total", unit "{order}";
//!     /// Orders that wait for payment.
//!     pub WAITING: Gauge = "waiting_orders", unit "{order}";
//!     /// How long orders wait for payment.
//!     pub WAIT: Histogram = "order_wait_seconds", unit "s", buckets &[0.1, 1.0, 10.0];
//! }
//!
//! // telemetry::init(info, &settings, &[METRICS])?;
//! ORDERS.with(Taken::Accepted).increment(1);
//! WAITING.set(3.0);
//! WAIT.record(0.25);
//! assert_eq!(METRICS[0].help, "Orders, by what became of them.");
//! ```
//!
//! The doc comment is the help text, and without one nothing compiles:
//!
//! ```compile_fail
//! telemetry::metrics! { pub ORDERS: Counter = "orders_total", unit "{order}"; }
//! ```
//!
//! Neither does a name that breaks Prometheus's rules, nor a label of another type:
//!
//! ```compile_fail
//! telemetry::metrics! {
//!     /// Orders.
//!     pub ORDERS: Counter = "orders", unit "{order}";
//! }
//! ```
//! ```compile_fail
//! telemetry::label! { pub enum Taken { Accepted = "accepted" } }
//! telemetry::metrics! {
//!     /// Orders.
//!     pub ORDERS: Counter { taken: Taken } = "orders_total", unit "{order}";
//! }
//! ORDERS.with("accepted").increment(1);
//! ```

use std::borrow::Cow;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::OnceLock;
use std::time::Duration;

use metrics::{
    Key, Label, Level, Metadata, Recorder, SharedString, describe_counter, describe_gauge,
    describe_histogram, with_recorder,
};
use tracing::Span;

use crate::names;
use crate::observe::observe;

/// What the semantic conventions promise about a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stability {
    /// Stable in the semantic conventions.
    Stable,
    /// In development there: may change with the pinned version.
    Development,
    /// Not in the conventions: Prometheus custom or the owner's.
    Own,
}

/// Type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises; name ends in `_total`.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
}

/// What a declaration says.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Prometheus name.
    pub name: &'static str,
    /// Type.
    pub kind: Kind,
    /// Unit as UCUM (`s`, `By`, `1`, `{request}`).
    pub unit: &'static str,
    /// HELP text.
    pub help: &'static str,
    /// Labels, besides those that every series carries ([`GLOBAL_LABELS`](crate::names::GLOBAL_LABELS)).
    pub labels: &'static [&'static str],
    /// Upper bounds of the buckets, for histograms.
    pub buckets: &'static [f64],
    /// What the conventions promise.
    pub stability: Stability,
}

impl Metric {
    /// Tells the recorder the help text; [`init`](crate::init()) does it for what it is given.
    pub fn describe(&self) {
        match self.kind {
            Kind::Counter => describe_counter!(self.name, self.help),
            Kind::Gauge => describe_gauge!(self.name, self.help),
            Kind::Histogram => describe_histogram!(self.name, self.help),
        }
    }

    /// Refuses at compile time what Prometheus's naming rules refuse.
    const fn checked(self) -> Self {
        let total = ends_with(self.name, "_total");
        assert!(!self.help.is_empty(), "the doc comment is the help text");
        assert!(is_name(self.name), "a name is made of a-z, 0-9 and _");
        assert!(
            total == matches!(self.kind, Kind::Counter),
            "the names of counters, and only theirs, end in _total"
        );
        assert!(
            has_suffix_of_unit(self, "s", "_seconds") && has_suffix_of_unit(self, "By", "_bytes"),
            "a name ends in _seconds if the unit is s, in _bytes if it is By, and only then"
        );
        assert!(
            self.buckets.is_empty() != matches!(self.kind, Kind::Histogram),
            "histograms, and only they, have buckets"
        );
        assert!(rises(self.buckets), "each bucket is above the one before");
        self
    }
}

const fn has_suffix_of_unit(metric: Metric, unit: &str, suffix: &str) -> bool {
    let name = metric.name.as_bytes();
    let counter = matches!(metric.kind, Kind::Counter);
    let end = name.len() - if counter { "_total".len() } else { 0 };
    let has = is_end(name.split_at(end).0, suffix.as_bytes());
    has == (metric.unit.len() == unit.len() && ends_with(metric.unit, unit))
}

const fn ends_with(text: &str, end: &str) -> bool {
    is_end(text.as_bytes(), end.as_bytes())
}

const fn is_end(text: &[u8], end: &[u8]) -> bool {
    if text.len() < end.len() {
        return false;
    }
    let mut at = 0;
    while at < end.len() {
        if text[text.len() - end.len() + at] != end[at] {
            return false;
        }
        at += 1;
    }
    true
}

const fn is_name(name: &str) -> bool {
    let name = name.as_bytes();
    let mut at = 0;
    while at < name.len() {
        match name[at] {
            b'a'..=b'z' | b'_' => at += 1,
            b'0'..=b'9' if at > 0 => at += 1,
            _ => return false,
        }
    }
    !name.is_empty()
}

const fn rises(buckets: &[f64]) -> bool {
    let mut at = 1;
    while at < buckets.len() {
        if buckets[at - 1] >= buckets[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// The value of a label. Each value is a series: make it an enum, or a newtype of what is bounded ([`label!`](crate::label!)).
pub trait LabelValue {
    /// As the series shows it.
    fn value(self) -> Cow<'static, str>;
}

/// A label, or a tuple of labels.
pub trait Labels {
    /// Their values, in the order of the declaration.
    fn values(self) -> Vec<Cow<'static, str>>;
}

impl Labels for () {
    fn values(self) -> Vec<Cow<'static, str>> {
        Vec::new()
    }
}

impl<T: LabelValue> Labels for T {
    fn values(self) -> Vec<Cow<'static, str>> {
        vec![self.value()]
    }
}

macro_rules! tuples {
    ($($($label:ident)+;)+) => {$(
        impl<$($label: LabelValue),+> Labels for ($($label,)+) {
            fn values(self) -> Vec<Cow<'static, str>> {
                #[allow(non_snake_case, reason = "a type and its value share the name")]
                let ($($label,)+) = self;
                vec![$($label.value()),+]
            }
        }
    )+};
}

tuples! {
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
    A B C D E F G;
    A B C D E F G H;
}

/// What records: a counter, gauge or histogram of the crate `metrics`.
pub trait Instrument: 'static {
    /// Records nothing.
    const NOOP: &'static Self;

    /// The series of a key.
    fn register(recorder: &dyn Recorder, key: &Key) -> Self;
}

const METADATA: Metadata<'static> =
    Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

macro_rules! instruments {
    ($($kind:ident $register:ident;)+) => {$(
        impl Instrument for metrics::$kind {
            const NOOP: &'static Self = &Self::noop();

            fn register(recorder: &dyn Recorder, key: &Key) -> Self {
                recorder.$register(key, &METADATA)
            }
        }
    )+};
}

instruments! {
    Counter register_counter;
    Gauge register_gauge;
    Histogram register_histogram;
}

/// A declared metric of one kind, with labels of type `L`. [`metrics!`](crate::metrics!) makes it.
#[derive(Debug)]
pub struct Declared<I: 'static, L> {
    metric: Metric,
    /// The only series of a metric without labels.
    kept: &'static OnceLock<I>,
    labels: PhantomData<fn(L)>,
}

/// `X.with(labels).increment(1)`; without labels `X.increment(1)`.
pub type Counter<L = ()> = Declared<metrics::Counter, L>;
/// `X.with(labels).set(1.0)`; without labels `X.set(1.0)`.
pub type Gauge<L = ()> = Declared<metrics::Gauge, L>;
/// `X.with(labels).record(0.2)`; without labels `X.record(0.2)`.
pub type Histogram<L = ()> = Declared<metrics::Histogram, L>;

impl<I, L> Declared<I, L> {
    #[doc(hidden)]
    pub const fn new(metric: Metric, kept: &'static OnceLock<I>) -> Self {
        Self {
            metric: metric.checked(),
            kept,
            labels: PhantomData,
        }
    }

    /// What the declaration says.
    pub const fn metric(&self) -> Metric {
        self.metric
    }

    /// Prometheus name.
    pub const fn name(&self) -> &'static str {
        self.metric.name
    }
}

impl<I: Instrument, L: Labels> Declared<I, L> {
    /// The series with these labels. Keep it where it is needed often.
    pub fn with(&self, labels: L) -> I {
        self.register(self.labels(labels))
    }

    pub(crate) fn labels(&self, labels: L) -> Vec<Label> {
        let names = self.metric.labels.iter().copied();
        let pairs = names.zip(labels.values());
        pairs
            .map(|(name, value)| Label::new(name, SharedString::from(value)))
            .collect()
    }
}

impl<L: Labels> Histogram<L> {
    /// Records a time. `span`, if it is sampled, may become the exemplar of the bucket: from the metric to a trace.
    pub fn observe(&self, labels: L, time: Duration, span: &Span) {
        observe(&self.metric, self.labels(labels), time, span);
    }
}

impl<I: Instrument, L> Declared<I, L> {
    fn register(&self, labels: Vec<Label>) -> I {
        let key = Key::from_parts(self.metric.name, labels);
        with_recorder(|recorder| I::register(recorder, &key))
    }
}

/// Before [`init`](crate::init()) there is nothing to record on.
impl<I: Instrument> Deref for Declared<I, ()> {
    type Target = I;

    fn deref(&self) -> &I {
        match GIVEN.get() {
            Some(_) => self.kept.get_or_init(|| self.register(Vec::new())),
            None => I::NOOP,
        }
    }
}

/// Declarations by name.
pub(crate) type Catalogue = HashMap<&'static str, Metric>;

/// What [`init`](crate::init()) was given.
static GIVEN: OnceLock<Catalogue> = OnceLock::new();

/// All declarations, or the name that has two.
pub(crate) fn catalogue(lists: &[&[Metric]]) -> Result<Catalogue, &'static str> {
    let mut all = Catalogue::new();
    for metric in names::METRICS.iter().chain(lists).copied().flatten() {
        if all.insert(metric.name, *metric).is_some() {
            return Err(metric.name);
        }
    }
    Ok(all)
}

/// From now on there is a recorder.
pub(crate) fn started(catalogue: Catalogue) {
    let _ = GIVEN.set(catalogue);
}

/// The declaration of a name.
pub(crate) fn find(name: &str) -> Option<&'static Metric> {
    GIVEN.get()?.get(name)
}

/// What the macros need.
#[doc(hidden)]
pub mod instrument {
    pub use metrics::{Counter, Gauge, Histogram};
}

/// Declares metrics: a constant for each, and `METRICS`, the list of them for [`init`](crate::init()).
///
/// ```text
/// /// The help text.
/// pub NAME: Kind { label: Type, … } = "name_total", unit "{thing}";
/// ```
///
/// `Kind` is `Counter`, `Gauge` or `Histogram`; a histogram has `, buckets BOUNDS`. See [`metric`](crate::metric).
#[macro_export]
macro_rules! metrics {
    ($(
        $(#[doc = $help:literal])+
        $vis:vis $name:ident: $kind:ident $({ $($label:ident: $type:ty),+ $(,)? })? = $prometheus:literal,
        unit $unit:literal $(, buckets $buckets:expr)? $(, stability $stability:ident)?;
    )+) => {
        $(
            $(#[doc = $help])+
            #[allow(unused_parens, reason = "a type alone or a tuple of them")]
            $vis const $name: $crate::metric::$kind<($($($type),+)?)> = {
                static KEPT: ::std::sync::OnceLock<$crate::metric::instrument::$kind> =
                    ::std::sync::OnceLock::new();
                #[allow(unused_mut, unused_assignments)]
                let mut metric = $crate::metric::Metric {
                    name: $prometheus,
                    kind: $crate::metric::Kind::$kind,
                    unit: $unit,
                    help: ::std::concat!($($help),+).trim_ascii_start(),
                    labels: &[$($(::std::stringify!($label)),+)?],
                    buckets: &[],
                    stability: $crate::metric::Stability::Own,
                };
                $(metric.buckets = $buckets;)?
                $(metric.stability = $crate::metric::Stability::$stability;)?
                $crate::metric::Declared::new(metric, &KEPT)
            };
        )+

        /// Every metric that is declared here, for `telemetry::init`.
        pub const METRICS: &[$crate::metric::Metric] = &[$($name.metric()),+];
    };
    ($($other:tt)*) => {
        ::std::compile_error!(
            "a declaration is: /// help text, then pub NAME: Counter { label: Type } = \"name_total\", unit \"{thing}\"; a histogram has buckets after its unit"
        );
    };
}

/// Makes the type of a label: an enum of all its values, or a newtype around a text whose values are bounded otherwise.
///
/// ```
/// telemetry::label! {
///     /// How a payment was made.
///     pub enum Method { Card = "card", Invoice = "invoice" }
/// }
/// telemetry::label! {
///     /// One of the few banks that we know.
///     pub struct Bank(&'static str);
/// }
/// assert_eq!(Method::ALL.map(Method::as_str), ["card", "invoice"]);
/// ```
#[macro_export]
macro_rules! label {
    ($(#[$attribute:meta])* $vis:vis enum $name:ident {
        $($(#[$about:meta])* $value:ident = $text:literal),+ $(,)?
    }) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $vis enum $name {
            $($(#[$about])* $value),+
        }

        #[allow(dead_code, reason = "not every label needs all of it")]
        impl $name {
            /// Every value, in the order of the declaration.
            $vis const ALL: [Self; [$($text),+].len()] = [$(Self::$value),+];

            /// As the series shows it.
            $vis const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $text),+
                }
            }
        }

        impl $crate::metric::LabelValue for $name {
            fn value(self) -> ::std::borrow::Cow<'static, str> {
                ::std::borrow::Cow::Borrowed(self.as_str())
            }
        }
    };
    ($(#[$attribute:meta])* $vis:vis struct $name:ident($text:ty);) => {
        $(#[$attribute])*
        #[derive(Debug, Clone)]
        $vis struct $name($vis $text);

        impl $crate::metric::LabelValue for $name {
            fn value(self) -> ::std::borrow::Cow<'static, str> {
                self.0.into()
            }
        }
    };
}

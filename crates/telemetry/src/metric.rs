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
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metrics::{
    Key, Label, Level, Metadata, Recorder, SharedString, describe_counter, describe_gauge,
    describe_histogram, with_recorder,
};
use tracing::Span;

use crate::init::InitError;
use crate::{names, observe};

mod checked;
mod labels;
mod macros;
mod series;

use self::series::{Series, SeriesMap};

pub use self::labels::{LabelValue, Labels};

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

impl Kind {
    /// As the exposition formats call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
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
    state: &'static State<I>,
    labels: PhantomData<fn(L)>,
}

/// What a declaration, which is a constant, remembers.
#[doc(hidden)]
#[derive(Debug)]
pub struct State<I> {
    /// The only series of a metric without labels.
    kept: OnceLock<I>,
    /// Whether it has been asked if [`init`](crate::init()) knows it: once, not for every observation.
    asked: AtomicBool,
    met: SeriesMap<I>,
}

impl<I> State<I> {
    #[allow(clippy::new_without_default, reason = "a constant")]
    pub const fn new() -> Self {
        Self {
            kept: OnceLock::new(),
            asked: AtomicBool::new(false),
            met: SeriesMap::new(),
        }
    }
}

/// `X.with(labels).increment(1)`; without labels `X.increment(1)`.
pub type Counter<L = ()> = Declared<metrics::Counter, L>;
/// `X.with(labels).set(1.0)`; without labels `X.set(1.0)`.
pub type Gauge<L = ()> = Declared<metrics::Gauge, L>;
/// `X.with(labels).record(0.2)`; without labels `X.record(0.2)`.
pub type Histogram<L = ()> = Declared<metrics::Histogram, L>;

impl<I, L> Declared<I, L> {
    #[doc(hidden)]
    pub const fn new(metric: Metric, state: &'static State<I>) -> Self {
        Self {
            metric: metric.checked(),
            state,
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
    /// The series with these labels. Keep it where it is needed often; one taken before [`init`](crate::init()) records nothing, ever.
    pub fn with(&self, labels: L) -> I {
        self.register(&self.key(labels.values()))
    }

    fn key(&self, values: impl IntoIterator<Item = Cow<'static, str>>) -> Key {
        let names = self.metric.labels.iter().copied();
        let pairs = names.zip(values);
        let labels = pairs.map(|(name, value)| Label::new(name, SharedString::from(value)));
        Key::from_parts(self.metric.name, labels.collect::<Vec<_>>())
    }

    /// The same, remembered, and of the process's own registry: for what every request needs.
    pub(crate) fn kept(&self, labels: L) -> I
    where
        I: Clone,
    {
        match GIVEN.get() {
            Some(_) => self.series(labels).instrument.clone(),
            None => self.with(labels),
        }
    }

    fn series(&self, labels: L) -> Arc<Series<I>> {
        self.complain_if_missing();
        self.state.met.get(labels.values().as_ref(), |values| {
            let key = self.key(values);
            let exemplars = match self.metric.kind {
                Kind::Histogram => observe::slots(&self.metric, &key),
                _ => None,
            };
            Series {
                instrument: self.register(&key),
                exemplars,
            }
        })
    }
}

impl<L: Labels> Histogram<L> {
    /// Records a time. `span`, if it is sampled, may become the exemplar of the bucket: from the metric to a trace.
    /// Before [`init`](crate::init()), or without metrics, nothing is recorded.
    pub fn observe(&self, labels: L, time: Duration, span: &Span) {
        if GIVEN.get().is_none() {
            return;
        }
        let series = self.series(labels);
        series.instrument.record(time.as_secs_f64());
        if let Some(slots) = &series.exemplars {
            observe::offer(slots, self.metric.buckets, time, span);
        }
    }
}

impl<I: Instrument, L> Declared<I, L> {
    fn register(&self, key: &Key) -> I {
        self.complain_if_missing();
        with_recorder(|recorder| I::register(recorder, key))
    }

    /// Without its declaration the registry has no help text, no buckets, no exemplars.
    fn complain_if_missing(&self) {
        let asked = &self.state.asked;
        if asked.load(Relaxed) || !COMPLAINING.load(Relaxed) || asked.swap(true, Relaxed) {
            return;
        }
        let name = self.metric.name;
        if find(name).is_none() {
            tracing::error!(
                "declared but not handed to init: {name}; give init the list METRICS that holds it"
            );
        }
    }
}

/// Before [`init`](crate::init()) there is nothing to record on; afterwards the first registry that is met is remembered, so under
/// a local recorder write `.with(())`.
impl<I: Instrument> Deref for Declared<I, ()> {
    type Target = I;

    fn deref(&self) -> &I {
        match GIVEN.get() {
            Some(_) => self
                .state
                .kept
                .get_or_init(|| self.register(&Key::from_static_name(self.metric.name))),
            None => I::NOOP,
        }
    }
}

/// Declarations by name.
pub(crate) type Catalogue = HashMap<&'static str, Metric>;

/// What [`init`](crate::init()) was given.
static GIVEN: OnceLock<Catalogue> = OnceLock::new();

/// All declarations, or what is wrong with one: that has two owners, or that no macro has checked.
pub(crate) fn catalogue(lists: &[&[Metric]]) -> Result<Catalogue, InitError> {
    let mut all = Catalogue::new();
    for metric in names::METRICS.iter().chain(lists).copied().flatten() {
        if let Some(fault) = metric.fault() {
            return Err(InitError::Metric(metric.name, fault));
        }
        if all.insert(metric.name, *metric).is_some() {
            return Err(InitError::MetricTwice(metric.name));
        }
    }
    Ok(all)
}

/// From now on there is a recorder.
pub(crate) fn started(catalogue: Catalogue) {
    let _ = GIVEN.set(catalogue);
}

/// Whether what was not handed over is logged.
static COMPLAINING: AtomicBool = AtomicBool::new(false);

/// From now on it is.
pub(crate) fn complain() {
    COMPLAINING.store(true, Relaxed);
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

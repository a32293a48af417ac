//! Series that have been met. To find one here by its labels is much cheaper than to make a `Key` and ask the registry.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, PoisonError, RwLock};

use crate::observe::Slots;

/// The series of a metric, by their label values.
#[derive(Debug)]
pub(super) struct SeriesMap<I>(RwLock<Known<I>>);

type Known<I> = HashMap<Values, Arc<Series<I>>, BuildHasherDefault<DefaultHasher>>;
type Values = Box<[Cow<'static, str>]>;

/// One of them.
#[derive(Debug)]
pub(super) struct Series<I> {
    pub(super) instrument: I,
    /// The series of a histogram.
    pub(super) exemplars: Option<Arc<Slots>>,
}

impl<I> SeriesMap<I> {
    pub(super) const fn new() -> Self {
        Self(RwLock::new(HashMap::with_hasher(BuildHasherDefault::new())))
    }

    pub(super) fn get(
        &self,
        values: &[Cow<'static, str>],
        make: impl FnOnce(Values) -> Series<I>,
    ) -> Arc<Series<I>> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = known.get(values) {
            return Arc::clone(series);
        }
        drop(known);
        let made = Arc::new(make(values.into()));
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(values.into()).or_insert(made))
    }
}

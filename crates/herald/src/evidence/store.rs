//! Values that are gathered once for all callers, and stored as long as there is memory.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::Part;

/// How much memory something takes, about.
pub(super) trait Weigh {
    fn bytes(&self) -> usize;
}

impl<T: Weigh> Weigh for Vec<T> {
    fn bytes(&self) -> usize {
        self.iter().map(T::bytes).sum()
    }
}

impl<T: Weigh> Weigh for Part<T> {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.value.bytes()
    }
}

/// The limits of a store.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Under way.
    pub(super) under_way: usize,
    /// Under way and done.
    pub(super) entries: usize,
    /// The size of finished values.
    pub(super) bytes: usize,
}

/// Values by what they answer.
#[derive(Debug)]
pub(super) struct Store<K, V> {
    limits: Limits,
    entries: Mutex<HashMap<K, Entry<V>>>,
}

#[derive(Debug)]
struct Entry<V> {
    value: Promise<V>,
    used: Instant,
}

/// A value that is there, or will be.
#[derive(Debug)]
pub(super) struct Promise<V> {
    /// The gathering ends at this time.
    pub(super) until: Instant,
    value: watch::Receiver<Option<Arc<V>>>,
}

impl<V> Promise<V> {
    /// The value; `None` if it is not ready in time, or its task panicked.
    pub(super) async fn get(mut self, until: Instant) -> Option<Arc<V>> {
        let value = timeout_at(until, self.value.wait_for(Option::is_some)).await;
        value.ok()?.ok()?.clone()
    }

    fn done(&self) -> Option<Arc<V>> {
        self.value.borrow().clone()
    }

    /// Its task is gone and has left nothing.
    fn is_dead(&self) -> bool {
        self.done().is_none() && self.value.has_changed().is_err()
    }
}

impl<V> Clone for Promise<V> {
    fn clone(&self) -> Self {
        Self {
            until: self.until,
            value: self.value.clone(),
        }
    }
}

impl<K, V> Store<K, V>
where
    K: Eq + Hash + Clone + Send + 'static,
    V: Weigh + Send + Sync + 'static,
{
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            entries: Mutex::default(),
        })
    }

    /// The value that is stored or being gathered; else it starts the future of `gather` on `runtime`. `None` if too many
    /// are in progress.
    pub(super) fn get<F: Future<Output = V> + Send + 'static>(
        self: &Arc<Self>,
        key: K,
        until: Instant,
        runtime: &Handle,
        gather: impl FnOnce() -> F,
    ) -> Option<Promise<V>> {
        let mut entries = self.entries();
        if let Some(known) = known(&mut entries, &key) {
            return Some(known);
        }
        self.limits.make_room(&mut entries, 1);
        let under_way = entries
            .values()
            .filter(|entry| entry.value.done().is_none());
        if under_way.count() >= self.limits.under_way {
            return None;
        }
        let (sender, value) = watch::channel(None);
        let value = Promise { until, value };
        entries.insert(
            key,
            Entry {
                value: value.clone(),
                used: Instant::now(),
            },
        );
        let (store, gathering) = (self.clone(), gather());
        runtime.spawn(async move {
            sender.send_replace(Some(Arc::new(gathering.await)));
            let mut entries = store.entries();
            store.limits.make_room(&mut entries, 0);
        });
        Some(value)
    }

    /// The value that is stored or being gathered.
    pub(super) fn known(&self, key: &K) -> Option<Promise<V>> {
        known(&mut self.entries(), key)
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<K, Entry<V>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn known<K: Eq + Hash, V>(entries: &mut HashMap<K, Entry<V>>, key: &K) -> Option<Promise<V>> {
    let known = entries
        .get_mut(key)
        .filter(|entry| !entry.value.is_dead())?;
    known.used = Instant::now();
    Some(known.value.clone())
}

impl Limits {
    /// Drops the values that were requested longest ago until there is room for `more`. Values in progress stay.
    fn make_room<K: Eq + Hash + Clone, V: Weigh>(
        self,
        entries: &mut HashMap<K, Entry<V>>,
        more: usize,
    ) {
        entries.retain(|_, entry| !entry.value.is_dead());
        let mut done: Vec<(Instant, K, usize)> = Vec::new();
        for (key, entry) in entries.iter() {
            if let Some(value) = entry.value.done() {
                done.push((entry.used, key.clone(), value.bytes()));
            }
        }
        done.sort_by_key(|(used, ..)| *used);
        let mut bytes: usize = done.iter().map(|(_, _, bytes)| bytes).sum();
        for (_, key, weight) in done {
            if bytes <= self.bytes && entries.len() + more <= self.entries {
                break;
            }
            bytes -= weight;
            entries.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    impl Weigh for usize {
        fn bytes(&self) -> usize {
            *self
        }
    }

    const LIMITS: Limits = Limits {
        under_way: 2,
        entries: 3,
        bytes: 100,
    };

    fn until() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    async fn value(
        store: &Arc<Store<&'static str, usize>>,
        key: &'static str,
        value: usize,
    ) -> usize {
        let promise = store.get(key, until(), &Handle::current(), || async move { value });
        *promise.unwrap().get(until()).await.unwrap()
    }

    #[tokio::test]
    async fn the_same_is_gathered_once_and_the_oldest_makes_room() {
        let store = Store::new(LIMITS);
        assert_eq!(value(&store, "a", 40).await, 40);
        assert_eq!(value(&store, "b", 50).await, 50);
        assert_eq!(value(&store, "a", 41).await, 40, "as it was gathered first");
        assert_eq!(value(&store, "c", 30).await, 30);
        assert_eq!(value(&store, "a", 41).await, 40);
        assert_eq!(value(&store, "b", 51).await, 51, "too much for the memory");
    }

    #[tokio::test]
    async fn only_so_much_is_under_way_and_a_panic_is_no_value() {
        let store: Arc<Store<&str, usize>> = Store::new(LIMITS);
        let handle = Handle::current();
        for key in ["a", "b", "a"] {
            assert!(
                store
                    .get(key, until(), &handle, std::future::pending)
                    .is_some()
            );
        }
        assert!(
            store
                .get("c", until(), &handle, std::future::pending)
                .is_none()
        );

        let store: Arc<Store<&str, usize>> = Store::new(LIMITS);
        let panics = || async { panic!("a mistake") };
        let promise = store.get("a", until(), &handle, panics).unwrap();
        assert_eq!(promise.get(until()).await, None);
        assert_eq!(value(&store, "a", 1).await, 1, "it is gathered anew");
    }
}

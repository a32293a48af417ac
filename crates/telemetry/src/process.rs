//! Gauges that are read when somebody looks: process, runtime, pools.

use std::sync::{LazyLock, Mutex, PoisonError};

use crate::names::process::{TOKIO_QUEUE, TOKIO_TASKS, TOKIO_WORKERS};

type Hook = Box<dyn Fn() + Send>;

static HOOKS: LazyLock<Mutex<Vec<Hook>>> = LazyLock::new(Mutex::default);

/// Runs `hook` before every scrape.
pub(crate) fn on_scrape(hook: impl Fn() + Send + 'static) {
    HOOKS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(Box::new(hook));
}

/// Brings every gauge up to date.
pub(crate) fn refresh() {
    metrics_process::Collector::default().collect();
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        let metrics = runtime.metrics();
        TOKIO_WORKERS.set(metrics.num_workers() as f64);
        TOKIO_TASKS.set(metrics.num_alive_tasks() as f64);
        TOKIO_QUEUE.set(metrics.global_queue_depth() as f64);
    }
    for hook in HOOKS.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        hook();
    }
}

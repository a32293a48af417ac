//! Gauges that are read when somebody looks: process, runtime, pools.

use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::names::process::{
    SYSTEM_OOM_KILLS, SYSTEM_TIME, TOKIO_QUEUE, TOKIO_TASKS, TOKIO_WORKERS,
};

type Hook = Box<dyn Fn() + Send>;

static HOOKS: LazyLock<Mutex<Vec<Hook>>> = LazyLock::new(Mutex::default);

/// Runs `hook` before every scrape.
pub(crate) fn on_scrape(hook: impl Fn() + Send + 'static) {
    HOOKS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(Box::new(hook));
}

/// Facts about the machine that a process sees from inside a container. A process that the kernel kills for lack of memory
/// cannot report it; its neighbours can.
fn machine() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    SYSTEM_TIME.set(now.unwrap_or_default().as_secs_f64());
    let counts = std::fs::read_to_string("/proc/vmstat").unwrap_or_default();
    if let Some(kills) = oom_kills(&counts) {
        SYSTEM_OOM_KILLS.absolute(kills);
    }
}

/// Kernels before 4.13 do not count them.
fn oom_kills(vmstat: &str) -> Option<u64> {
    let mut counts = vmstat.lines().filter_map(|line| line.split_once(' '));
    let (_, count) = counts.find(|(name, _)| *name == "oom_kill")?;
    count.parse().ok()
}

/// Brings every gauge up to date.
pub(crate) fn refresh() {
    metrics_process::Collector::default().collect();
    machine();
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

#[cfg(test)]
mod tests {
    use super::oom_kills;

    #[test]
    fn kills_for_lack_of_memory_are_read_as_the_kernel_writes_them() {
        let vmstat = "nr_free_pages 409\noom_kill_x 7\noom_kill 3\nnuma_hit 12\n";
        assert_eq!(oom_kills(vmstat), Some(3));
        assert_eq!(oom_kills("nr_free_pages 409\n"), None);
        assert_eq!(oom_kills("oom_kill \n"), None);
    }
}

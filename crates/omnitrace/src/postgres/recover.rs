//! What a crashed run can leave in a data directory, and how it is cleared away.
//!
//! Called with the directory's lock held: whatever still runs there belongs to nobody.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use owned::Owner;

use super::Progress;
use crate::files;

/// How long a server gets for each way of stopping, and what a way is: fast, immediate, by force.
const WAYS: [(Signal, Duration); 3] = [
    (Signal::SIGINT, Duration::from_secs(10)),
    (Signal::SIGQUIT, Duration::from_secs(5)),
    (Signal::SIGKILL, Duration::from_secs(5)),
];

/// Stops every process that still works in `data`, which is `owner`'s.
pub async fn stop_orphans(data: &Path, owner: Owner, progress: Progress<'_>) -> Result<()> {
    if !data.is_dir() {
        return Ok(());
    }
    for (signal, patience) in WAYS {
        let orphans = processes_in(data);
        if orphans.is_empty() {
            break;
        }
        progress(&format!(
            "stopping what a crashed run left in {}: {orphans:?} ({signal})",
            data.display()
        ));
        // The postmaster tells its own children; only what has lost its postmaster is told directly.
        let postmaster = postmaster_pid(data, owner).filter(|pid| orphans.contains(pid));
        let told = postmaster
            .filter(|_| signal != Signal::SIGKILL)
            .map_or(orphans, |pid| vec![pid]);
        for pid in told {
            kill(Pid::from_raw(pid), signal).ok();
        }
        wait_until_gone(data, patience).await;
    }
    let left = processes_in(data);
    if !left.is_empty() {
        bail!(
            "the processes {left:?} still use {} and cannot be stopped",
            data.display()
        );
    }
    Ok(())
}

async fn wait_until_gone(data: &Path, patience: Duration) {
    let start = Instant::now();
    while start.elapsed() < patience && !processes_in(data).is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn postmaster_pid(data: &Path, owner: Owner) -> Option<i32> {
    files::read_of(&data.join("postmaster.pid"), owner)
        .ok()?
        .lines()
        .next()?
        .trim()
        .parse()
        .ok()
}

/// Postmaster and backends all have the data directory as their working directory. Seeing that takes the
/// rights of the same user, or root's: the ones under which the server was started.
fn processes_in(data: &Path) -> Vec<i32> {
    let Ok(data) = data.canonicalize() else {
        return Vec::new();
    };
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == data))
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

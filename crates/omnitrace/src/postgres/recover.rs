//! What a crashed run can leave in a data directory, and how it is cleared away.
//!
//! Called with the directory's lock held: whatever still runs there belongs to nobody.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use owned::{Directory, Owner};

use super::Progress;
use crate::files;

/// How long a server gets for each way of stopping, and what a way is: fast, immediate, by force.
const WAYS: [(Signal, Duration); 3] = [
    (Signal::SIGINT, Duration::from_secs(10)),
    (Signal::SIGQUIT, Duration::from_secs(5)),
    (Signal::SIGKILL, Duration::from_secs(5)),
];

/// Stops every process that still works in the directory `name`, whose files are `owner`'s. What is none, such as a link, is left to
/// those who open it: where a link leads, others work.
pub async fn stop_orphans(
    private: &Directory,
    name: &str,
    owner: Owner,
    progress: Progress<'_>,
) -> Result<()> {
    let Ok(held) = private.child(name, None) else {
        return Ok(());
    };
    let data = held.path();
    for (signal, patience) in WAYS {
        let orphans = processes_in(&held);
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
        wait_until_gone(&held, patience).await;
    }
    let left = processes_in(&held);
    if !left.is_empty() {
        bail!(
            "the processes {left:?} still use {} and cannot be stopped",
            data.display()
        );
    }
    Ok(())
}

async fn wait_until_gone(data: &Directory, patience: Duration) {
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
fn processes_in(data: &Directory) -> Vec<i32> {
    let identity = |path: &Path| {
        let found = std::fs::metadata(path).ok()?;
        Some((found.dev(), found.ino()))
    };
    let Some(data) = identity(&data.bridge()) else {
        return Vec::new();
    };
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| identity(&entry.path().join("cwd")) == Some(data))
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    fn works_in(directory: &Path) -> Child {
        let mut sleep = Command::new("sleep");
        sleep.arg("60").current_dir(directory);
        sleep.spawn().expect("sleep")
    }

    #[tokio::test]
    async fn who_works_in_the_directory_is_stopped_and_who_works_where_a_link_leads_is_not() {
        let root = tempfile::tempdir().unwrap();
        let [private, elsewhere] = ["private", "elsewhere"].map(|name| root.path().join(name));
        for directory in [&private, &elsewhere, &private.join("data")] {
            std::fs::create_dir(directory).unwrap();
        }
        std::os::unix::fs::symlink(&elsewhere, private.join("data.new")).unwrap();
        let (mut orphan, mut stranger) = (works_in(&private.join("data")), works_in(&elsewhere));
        let private = Directory::open(&private).unwrap();
        // Else it stays in the list of processes as one that has ended.
        let reaped = std::thread::spawn(move || orphan.wait().unwrap());
        for name in ["data", "data.new", "absent"] {
            let owner = Owner::of_this_process();
            stop_orphans(&private, name, owner, &|_| {}).await.unwrap();
        }
        assert!(!reaped.join().unwrap().success());
        assert!(stranger.try_wait().unwrap().is_none());
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }
}

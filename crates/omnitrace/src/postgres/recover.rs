//! Cleans up a data directory after a crashed run.
//!
//! Call it with the directory's lock held: then no running stack uses the processes that are found.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use owned::{Directory, Owner};

use super::Progress;
use crate::files;

/// The signals that stop a server, and the time for each: fast, immediate, forced.
const WAYS: [(Signal, Duration); 3] = [
    (Signal::SIGINT, Duration::from_secs(10)),
    (Signal::SIGQUIT, Duration::from_secs(5)),
    (Signal::SIGKILL, Duration::from_secs(5)),
];

/// Stops every process that still works in `owner`'s directory in `private`, if it exists. It holds the directory open:
/// `owner`, to whom root has given `private`, could otherwise replace it with a link and so name processes of others.
pub async fn stop_orphans(
    private: &Directory,
    name: &str,
    owner: Owner,
    progress: Progress<'_>,
) -> Result<()> {
    if !private.has(name) {
        return Ok(());
    }
    let data = private
        .child(name, None)
        .and_then(|data| data.check(owner))
        .context(files::DATA_DIR)?;
    let data = &data;
    for (signal, patience) in WAYS {
        let orphans = processes_in(data)?;
        if orphans.is_empty() {
            break;
        }
        progress(&format!(
            "stopping what a crashed run left in {}: {orphans:?} ({signal})",
            data.path().display()
        ));
        // The postmaster stops its own children; only processes without a postmaster are signalled directly.
        let postmaster = postmaster_pid(data.path(), owner).filter(|pid| orphans.contains(pid));
        let told = postmaster
            .filter(|_| signal != Signal::SIGKILL)
            .map_or(orphans, |pid| vec![pid]);
        for pid in told {
            kill(Pid::from_raw(pid), signal).ok();
        }
        wait_until_gone(data, patience).await?;
    }
    let left = processes_in(data)?;
    if !left.is_empty() {
        bail!(
            "the processes {left:?} still use {} and cannot be stopped",
            data.path().display()
        );
    }
    Ok(())
}

async fn wait_until_gone(data: &Directory, patience: Duration) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < patience && !processes_in(data)?.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
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

/// Postmaster and backends have the data directory as their working directory. Only the same user, or root, can see that:
/// the users under which the server was started.
fn processes_in(data: &Directory) -> Result<Vec<i32>> {
    let all = working_directories().context("cannot tell whether a crashed run left a server")?;
    let here = all.into_iter().filter(|(_, place)| data.is_at(place));
    Ok(here.map(|(process, _)| process).collect())
}

/// Each process that this user may inspect, and the path of its working directory.
#[cfg(target_os = "linux")]
fn working_directories() -> Result<Vec<(i32, PathBuf)>> {
    let entries = std::fs::read_dir("/proc").context("/proc")?;
    Ok(entries
        .flatten()
        .filter_map(|entry| {
            let process = entry.file_name().to_str()?.parse().ok()?;
            Some((process, entry.path().join("cwd")))
        })
        .collect())
}

/// The same without `/proc`; macOS includes `lsof`.
#[cfg(not(target_os = "linux"))]
fn working_directories() -> Result<Vec<(i32, PathBuf)>> {
    told_by("lsof")
}

/// Not by its exit code: it also fails for processes of others, which nobody asked about. It always sees itself.
#[cfg(any(test, not(target_os = "linux")))]
fn told_by(lsof: &str) -> Result<Vec<(i32, PathBuf)>> {
    let listed = std::process::Command::new(lsof)
        .args(["-w", "-n", "-P", "-d", "cwd", "-F", "pn"])
        .output()
        .with_context(|| format!("cannot run `{lsof}`, which has to be on the PATH"))?;
    let found = listed_by_lsof(&String::from_utf8_lossy(&listed.stdout));
    if found.is_empty() {
        let complained = String::from_utf8_lossy(&listed.stderr);
        bail!("`{lsof}` lists no process: {complained}({})", listed.status);
    }
    Ok(found)
}

/// Lines `p<process>`, and after each `n<directory>`.
#[cfg(any(test, not(target_os = "linux")))]
fn listed_by_lsof(text: &str) -> Vec<(i32, PathBuf)> {
    let mut process = None;
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(id) = line.strip_prefix('p') {
            process = id.parse().ok();
        } else if let (Some(path), Some(process)) = (line.strip_prefix('n'), process) {
            found.push((process, path.into()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::process::{Child, Command};

    use super::*;

    fn working_in(directory: &Path) -> Child {
        let mut sleep = Command::new("sleep");
        sleep.arg("600").current_dir(directory).spawn().unwrap()
    }

    #[test]
    fn lsof_tells_who_works_where() {
        let text = "p1\nfcwd\nn/\np4711\nfcwd\nn/Users/ada/a b/data\n";
        let expected = [(1, "/".into()), (4711, "/Users/ada/a b/data".into())];
        assert_eq!(listed_by_lsof(text), expected);
    }

    #[test]
    fn an_lsof_that_fails_is_not_taken_for_no_process() {
        for (lsof, expected) in [
            ("/nowhere/lsof", "cannot run `/nowhere/lsof`"),
            ("false", "`false` lists no process: (exit status: 1)"),
        ] {
            let said = format!("{:#}", told_by(lsof).unwrap_err());
            assert!(said.starts_with(expected), "{said}");
        }
    }

    #[tokio::test]
    async fn what_works_where_a_link_leads_is_not_stopped() {
        let root = tempfile::tempdir().unwrap();
        let private = Directory::open_own(root.path(), None).unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        symlink(elsewhere.path(), root.path().join("data")).unwrap();
        let mut stranger = working_in(elsewhere.path());
        let stopped = stop_orphans(&private, "data", Owner::of_this_process(), &|_| {}).await;
        let ended = stranger.try_wait().unwrap();
        stranger.kill().unwrap();
        stranger.wait().unwrap();
        assert_eq!(ended, None);
        let said = format!("{:#}", stopped.unwrap_err());
        assert!(said.contains("/data is a symbolic link"), "{said}");
    }

    #[tokio::test]
    async fn what_a_crashed_run_left_is_stopped_where_it_is_not_where_it_was() {
        let root = tempfile::tempdir().unwrap();
        let private = Directory::open_own(root.path(), None).unwrap();
        let (old, data) = (root.path().join("old"), root.path().join("data"));
        let owner = Owner::of_this_process();
        stop_orphans(&private, "data", owner, &|_| {})
            .await
            .unwrap();

        for path in [&old, &data] {
            std::fs::create_dir(path).unwrap();
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o700)).unwrap();
        }
        let (mut orphan, mut other) = (working_in(&data), working_in(&old));
        stop_orphans(&private, "data", owner, &|_| {})
            .await
            .unwrap();
        assert!(!orphan.wait().unwrap().success());
        let ended = other.try_wait().unwrap();
        other.kill().unwrap();
        other.wait().unwrap();
        assert_eq!(ended, None);
    }
}

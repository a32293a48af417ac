//! Notifications on disk: one file per notification and target, complete or absent.
//!
//! ```text
//! <state>/queue/<target>/<key>.json    accepted, not delivered yet
//! <state>/failed/<target>/<key>.json   given up: to be looked at, and moved back when the cause is mended
//! <state>/history/<what>/<key>.json    what became of alerts, and silences
//! ```

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use owned::{Directory, Owner};
use uuid::Uuid;

use crate::folder::{Folder, Listing, careful, sync};
use crate::stats::Storage;

/// How many given-up notifications are kept; the oldest are removed.
const MAX_FAILED: usize = 1000;

/// The mode of each new directory.
const MODE: u32 = 0o700;

/// The directories of alerts and silences ([`crate::history`], [`crate::silences`]), and of their unreadable files.
const HISTORY: [&str; 3] = ["alerts", "silences", "unreadable"];

/// The directory and its lock.
#[derive(Debug)]
pub(crate) struct Spool {
    /// Leads into the open directory, whatever happens to the directories above it.
    root: PathBuf,
    _held: Directory,
    /// Held for as long as the process lives, however it ends.
    _lock: File,
}

impl Spool {
    /// The free and the total space of its disk, in bytes.
    pub(crate) fn room(&self) -> std::io::Result<(u64, u64)> {
        let disk = rustix::fs::statvfs(&self.root)?;
        Ok((disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize))
    }

    /// Creates the missing directories, and nothing if the directory is unusable; the error names the directory. Two
    /// processes on one directory would deliver everything twice, so it is locked.
    pub(crate) fn open(root: &Path, targets: &[&str]) -> Result<Self> {
        let shown = root.display();
        let hint = "choose another directory with --state-dir";
        let cannot_use = || format!("--state-dir: cannot use {shown}");
        let held = hold(root, targets).with_context(cannot_use)?;
        keep_names(held.path(), targets).with_context(cannot_use)?;
        let root = held.bridge();
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(careful())
            .open(root.join("lock"))
            .with_context(|| format!("cannot write {shown}/lock: {hint}"))?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => bail!("another herald uses {shown}: {hint}"),
            locked => locked.with_context(|| format!("cannot lock {shown}: {hint}"))?,
        }
        Ok(Self {
            root,
            _held: held,
            _lock: lock,
        })
    }

    /// On disk for good when this returns.
    pub(crate) fn store(&self, target: &str, key: Uuid, content: &[u8]) -> io::Result<()> {
        self.folder("queue", target).store(key, content)
    }

    /// Whether the disk takes so many bytes now.
    pub(crate) fn probe(&self, target: &str, size: usize) -> io::Result<()> {
        self.folder("queue", target).probe(size)
    }

    /// The content of a file.
    pub(crate) fn read(&self, target: &str, key: Uuid) -> io::Result<Vec<u8>> {
        self.folder("queue", target).read(key)
    }

    /// Removes a delivered notification, durably: otherwise it would be sent again, perhaps after later ones. It may be gone
    /// already.
    pub(crate) fn remove(&self, target: &str, key: Uuid) -> io::Result<()> {
        self.folder("queue", target).remove(key)
    }

    /// Given up. Once it has moved this is no error, whatever the disk says then.
    pub(crate) fn set_aside(&self, target: &str, key: Uuid) -> io::Result<()> {
        self.folder("queue", target)
            .hand_over(key, &self.folder("failed", target))?;
        if let Err(error) = self.keep_aside(target) {
            Storage::SetAside.failed();
            tracing::error!(%key, to = target, %error, "what was set aside in failed/ may be back in queue/ after a power cut");
        }
        Ok(())
    }

    /// Keeps only the newest files that were set aside.
    fn keep_aside(&self, target: &str) -> io::Result<()> {
        // The new place first: after a crash the file may be in both directories, but not in none.
        self.folder("failed", target).sync()?;
        self.folder("queue", target).sync()?;
        self.folder("failed", target).keep_newest(MAX_FAILED)
    }

    /// How many were set aside.
    pub(crate) fn failed(&self, target: &str) -> usize {
        self.list("failed", target)
            .map_or(0, |listing| listing.keys.len())
    }

    /// Removes partly written files: they were never accepted.
    pub(crate) fn clean(&self, target: &str) -> io::Result<()> {
        self.folder("queue", target).clean()
    }

    /// The content of `queue` or `failed`.
    pub(crate) fn list(&self, kind: &str, target: &str) -> io::Result<Listing> {
        self.folder(kind, target).list()
    }

    /// One of the directories, for the lifetime of this spool.
    pub(crate) fn folder(&self, kind: &str, target: &str) -> Folder {
        Folder::new(self.root.join(kind).join(target))
    }
}

fn directories<'a>(targets: &'a [&'a str]) -> [(&'static str, &'a [&'a str]); 3] {
    [
        ("queue", targets),
        ("failed", targets),
        ("history", &HISTORY),
    ]
}

/// Checks each directory before it creates anything in it.
fn hold(root: &Path, targets: &[&str]) -> Result<Directory> {
    let held = trusted(Directory::make(root, MODE)?)?;
    for (kind, names) in directories(targets) {
        let kind = trusted(held.child(kind, Some(MODE))?)?;
        for name in names {
            trusted(kind.child(name, Some(MODE))?)?;
        }
    }
    Ok(held)
}

/// If herald runs as root, the directory must belong to root: another user who can write to it could redirect root's writes.
fn trusted(directory: Directory) -> Result<Directory> {
    match Owner::of_this_process() {
        root @ Owner { uid: 0, .. } => directory.check(root),
        _ => Ok(directory),
    }
}

/// The directories must survive a power failure, with those above that were created for them. Herald may not be allowed to
/// open all directories of other users.
fn keep_names(root: &Path, targets: &[&str]) -> io::Result<()> {
    for (kind, names) in directories(targets) {
        for name in names {
            sync(&root.join(kind).join(name))?;
        }
        sync(&root.join(kind))?;
    }
    let root = root.canonicalize()?;
    sync(&root)?;
    for above in root.ancestors().skip(1) {
        sync(above).ok();
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    thread_local! {
        /// Directories whose names were flushed to the disk.
        static SYNCED: RefCell<Vec<PathBuf>> = RefCell::default();
        /// Whether the disk refuses to.
        static REFUSED: Cell<bool> = const { Cell::new(false) };
        /// The action during the next disk operation.
        static MEANWHILE: RefCell<Option<Box<dyn Fn()>>> = RefCell::default();
    }

    /// From now on, the disk is full on this thread, until a file of the history is removed.
    pub(crate) fn refuse() {
        REFUSED.set(true);
    }

    /// From now on, this happens on this thread during disk operations.
    pub(crate) fn meanwhile(work: impl Fn() + 'static) {
        MEANWHILE.set(Some(Box::new(work)));
    }

    pub(crate) fn note_sync(directory: &Path) -> io::Result<()> {
        MEANWHILE.with_borrow(|work| work.iter().for_each(|work| work()));
        SYNCED.with_borrow_mut(|all| all.push(directory.canonicalize().unwrap()));
        if directory.ends_with("history/alerts") {
            REFUSED.set(false);
        }
        match REFUSED.get() {
            true => Err(io::Error::other("refused")),
            false => Ok(()),
        }
    }

    fn key(number: u128) -> Uuid {
        Uuid::from_u128((7 << 76) + (1 << 63) + number)
    }

    #[test]
    fn every_name_that_comes_or_goes_is_brought_to_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        // Without links, as they are recorded: a temporary directory may lie behind a link.
        let root = directory.path().canonicalize().unwrap();
        let synced = || SYNCED.take();
        let new = root.join("above/state");
        let spool = Spool::open(&new, &["slack"]).unwrap();
        let opened = synced();
        let made = ["queue/slack", "queue", "failed/slack", "failed", ""];
        let above = [new.parent().unwrap(), &root].map(Path::to_owned);
        for directory in made.map(|name| new.join(name)).iter().chain(&above) {
            assert!(opened.contains(directory), "{directory:?} in {opened:?}");
        }
        let [queue, failed] = ["queue/slack", "failed/slack"].map(|name| new.join(name));
        for number in [1, 2] {
            spool.store("slack", key(number), b"1").unwrap();
            assert_eq!(synced(), [queue.as_path()]);
        }
        spool.remove("slack", key(1)).unwrap();
        assert_eq!(synced(), [queue.as_path()]);
        spool.set_aside("slack", key(2)).unwrap();
        assert_eq!(synced(), [failed, queue]);
    }

    #[test]
    fn what_has_moved_is_set_aside_though_the_disk_does_not_confirm_it() {
        let root = tempfile::tempdir().unwrap();
        let spool = Spool::open(root.path(), &["slack"]).unwrap();
        spool.store("slack", key(1), b"1").unwrap();
        REFUSED.set(true);
        let aside = spool.set_aside("slack", key(1));
        REFUSED.set(false);
        aside.unwrap();
        assert_eq!(spool.failed("slack"), 1);
    }

    #[test]
    fn what_was_stored_is_there_after_a_crash_and_half_a_file_is_not() {
        let root = tempfile::tempdir().unwrap();
        let spool = Spool::open(root.path(), &["slack"]).unwrap();
        spool.store("slack", key(2), b"2").unwrap();
        spool.store("slack", key(1), b"1").unwrap();
        let half = root.path().join(format!("queue/slack/{}.new", key(3)));
        std::fs::write(&half, "{").unwrap();
        assert!(
            Spool::open(root.path(), &["slack"])
                .unwrap_err()
                .to_string()
                .contains("another herald")
        );
        drop(spool);

        let spool = Spool::open(root.path(), &["slack"]).unwrap();
        spool.clean("slack").unwrap();
        assert!(!half.exists());
        let keys = || spool.list("queue", "slack").unwrap().keys;
        assert_eq!(keys(), [key(1), key(2)]);
        assert_eq!(spool.read("slack", key(1)).unwrap(), b"1");
        spool.remove("slack", key(1)).unwrap();
        spool.remove("slack", key(1)).unwrap();
        spool.set_aside("slack", key(2)).unwrap();
        assert_eq!((keys(), spool.failed("slack")), (vec![], 1));
    }

    #[test]
    fn what_cannot_be_stored_leaves_nothing_behind() {
        let root = tempfile::tempdir().unwrap();
        let spool = Spool::open(root.path(), &["slack"]).unwrap();
        let path = spool.folder("queue", "slack").path(key(1));
        // The rename, the last step but one, fails because a directory has the target's name.
        std::fs::create_dir(&path).unwrap();
        spool.store("slack", key(1), b"1").unwrap_err();
        assert!(!path.with_extension("new").exists() && path.is_dir());
        std::fs::remove_dir(&path).unwrap();
        spool.store("slack", key(1), b"1").unwrap();
    }

    #[test]
    fn what_is_not_brought_to_the_disk_is_gone_if_it_is_new_and_there_if_it_is_not() {
        let root = tempfile::tempdir().unwrap();
        let spool = Spool::open(root.path(), &["slack"]).unwrap();
        spool.store("slack", key(1), b"1").unwrap();
        REFUSED.set(true);
        for number in [1, 2] {
            spool.store("slack", key(number), b"2").unwrap_err();
        }
        REFUSED.set(false);
        assert_eq!(spool.list("queue", "slack").unwrap().keys, [key(1)]);
        assert_eq!(spool.read("slack", key(1)).unwrap(), b"2");
    }

    #[test]
    fn a_directory_that_cannot_be_used_is_named() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = format!("{:#}", Spool::open(&file, &["log"]).unwrap_err());
        assert!(
            error.contains("/file is a file") && error.contains("--state-dir"),
            "{error}"
        );
        let lock = root.path().join("lock");
        std::os::unix::fs::symlink(&file, &lock).unwrap();
        let error = format!("{:#}", Spool::open(root.path(), &["log"]).unwrap_err());
        assert!(
            error.contains("/lock: ") && error.contains("--state-dir"),
            "{error}"
        );
    }
}

//! Notifications on disk: one file each and target, complete or absent.
//!
//! ```text
//! <state>/queue/<target>/<key>.json    accepted, not delivered yet
//! <state>/failed/<target>/<key>.json   given up: to be looked at, and moved back when the cause is mended
//! ```
//!
//! The key is the file's name ([`crate::key`]). Everything else in these directories is somebody else's: it is
//! neither opened nor followed nor removed.

use std::ffi::{OsStr, OsString};
use std::fs::{DirEntry, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use owned::{Directory, Owner};
use rustix::fs::OFlags;
use uuid::Uuid;

use crate::stats::Storage;

/// More are not kept; the oldest go.
const MAX_FAILED: usize = 1000;

/// Far more than any notification takes ([`crate::intake::BODY_LIMIT`]).
const MAX_FILE: u64 = 16 << 20;

/// Of each directory that is made.
const MODE: u32 = 0o700;

/// What is in a directory.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Of notifications, oldest first.
    pub(crate) keys: Vec<Uuid>,
    /// Names of everything else.
    pub(crate) foreign: Vec<OsString>,
}

/// The directory and its lock.
#[derive(Debug)]
pub(crate) struct Spool {
    /// Leads into the directory that is held, whatever is done with those above it.
    root: PathBuf,
    _held: Directory,
    /// Held for as long as the process lives, however it ends.
    _lock: File,
}

impl Spool {
    /// Creates what is missing, but nothing where it is not used; the error names the directory. Two processes on one directory
    /// would deliver all twice.
    pub(crate) fn open(root: &Path, targets: &[&str]) -> Result<Self> {
        let shown = root.display();
        let hint = "choose another directory with --state-dir";
        let cannot_use = || format!("cannot use {shown}: {hint}");
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
        lock.try_lock()
            .with_context(|| format!("another herald uses {shown}: {hint}"))?;
        Ok(Self {
            root,
            _held: held,
            _lock: lock,
        })
    }

    /// On disk for good when this returns, file and name. When it fails, nothing is left of it: a partial file would
    /// keep the room that the next notification needs.
    pub(crate) fn store(&self, target: &str, key: Uuid, content: &[u8]) -> io::Result<()> {
        let path = self.path("queue", target, key);
        let staged = path.with_extension("new");
        let remove = |path: &Path| drop(std::fs::remove_file(path));
        write(&staged, content)
            .and_then(|()| std::fs::rename(&staged, &path))
            .inspect_err(|_| remove(&staged))?;
        self.sync("queue", target).inspect_err(|_| remove(&path))
    }

    /// Whether the disk takes so many bytes now.
    pub(crate) fn probe(&self, target: &str, size: usize) -> io::Result<()> {
        let path = self
            .path("queue", target, Uuid::now_v7())
            .with_extension("new");
        let written = write(&path, &vec![b' '; size]);
        std::fs::remove_file(&path).ok();
        written
    }

    /// The content of a file. One that was put in its place may be anything.
    pub(crate) fn read(&self, target: &str, key: Uuid) -> io::Result<Vec<u8>> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(careful())
            .open(self.path("queue", target, key))?;
        let about = file.metadata()?;
        if !about.is_file() || about.len() > MAX_FILE {
            let problem = format!("allowed: a regular file of at most {MAX_FILE} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        let mut content = Vec::with_capacity(usize::try_from(about.len()).unwrap_or(0));
        file.take(MAX_FILE).read_to_end(&mut content)?;
        Ok(content)
    }

    /// Delivered, for good when this returns: it would be sent again, perhaps behind what came after it. It may be gone
    /// already.
    pub(crate) fn remove(&self, target: &str, key: Uuid) -> io::Result<()> {
        match std::fs::remove_file(self.path("queue", target, key)) {
            Ok(()) => self.sync("queue", target),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Given up. Once it has moved this is no error, whatever the disk says then.
    pub(crate) fn set_aside(&self, target: &str, key: Uuid) -> io::Result<()> {
        let (from, to) = (
            self.path("queue", target, key),
            self.path("failed", target, key),
        );
        std::fs::rename(from, to)?;
        if let Err(error) = self.keep_aside(target) {
            Storage::SetAside.failed();
            tracing::error!(%key, to = target, %error, "what was set aside in failed/ may be back in queue/ after a power cut");
        }
        Ok(())
    }

    /// What was set aside stays there, the newest only.
    fn keep_aside(&self, target: &str) -> io::Result<()> {
        // The new place first: in between it may be in both, but not in none.
        self.sync("failed", target)?;
        self.sync("queue", target)?;
        let failed = self.list("failed", target)?;
        for key in failed.keys.iter().rev().skip(MAX_FAILED) {
            std::fs::remove_file(self.path("failed", target, *key)).ok();
        }
        Ok(())
    }

    /// How many were set aside.
    pub(crate) fn failed(&self, target: &str) -> usize {
        self.list("failed", target)
            .map_or(0, |listing| listing.keys.len())
    }

    /// Removes what was written only in part: it was never accepted.
    pub(crate) fn clean(&self, target: &str) -> io::Result<()> {
        for entry in std::fs::read_dir(self.root.join("queue").join(target))? {
            let entry = entry?;
            if key(&entry, "new").is_some() {
                // What stays is neither read nor in the way.
                std::fs::remove_file(entry.path()).ok();
            }
        }
        Ok(())
    }

    /// What is in `queue` or `failed`.
    pub(crate) fn list(&self, kind: &str, target: &str) -> io::Result<Listing> {
        let mut listing = Listing::default();
        for entry in std::fs::read_dir(self.root.join(kind).join(target))? {
            let entry = entry?;
            match key(&entry, "json") {
                Some(key) => listing.keys.push(key),
                // It is written at this moment.
                None if key(&entry, "new").is_some() => {}
                None => listing.foreign.push(entry.file_name()),
            }
        }
        listing.keys.sort_unstable();
        listing.foreign.sort_unstable();
        Ok(listing)
    }

    fn path(&self, kind: &str, target: &str, key: Uuid) -> PathBuf {
        self.root
            .join(kind)
            .join(target)
            .join(format!("{key}.json"))
    }

    /// A name is in its directory only once that is on disk too.
    fn sync(&self, kind: &str, target: &str) -> io::Result<()> {
        sync(&self.root.join(kind).join(target))
    }
}

/// Each directory is looked at before anything is made in it.
fn hold(root: &Path, targets: &[&str]) -> Result<Directory> {
    let held = trusted(Directory::make(root, MODE)?)?;
    for kind in ["queue", "failed"] {
        let kind = trusted(held.child(kind, Some(MODE))?)?;
        for target in targets {
            trusted(kind.child(target, Some(MODE))?)?;
        }
    }
    Ok(held)
}

/// For root it has to be root's own: who could write to it could lead root's hand elsewhere.
fn trusted(directory: Directory) -> Result<Directory> {
    match Owner::of_this_process() {
        root @ Owner { uid: 0, .. } => directory.check(root),
        _ => Ok(directory),
    }
}

/// The directories have to be there after a power cut as well; with those above that were made for them. Of others' we may
/// not be allowed to open all.
fn keep_names(root: &Path, targets: &[&str]) -> io::Result<()> {
    for kind in ["queue", "failed"] {
        for target in targets {
            sync(&root.join(kind).join(target))?;
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

fn sync(directory: &Path) -> io::Result<()> {
    #[cfg(test)]
    tests::note_sync(directory)?;
    File::open(directory)?.sync_all()
}

/// Neither follows a link nor waits for the other end of a pipe.
fn careful() -> i32 {
    (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed()
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// The key of a regular file whose name is one, as herald writes it.
fn key(entry: &DirEntry, extension: &str) -> Option<Uuid> {
    let name = entry.file_name();
    let path = Path::new(&name);
    let stem = path.file_stem().and_then(OsStr::to_str)?;
    let key = Uuid::parse_str(stem).ok()?;
    crate::key::given(key)?;
    let ours = path.extension()? == extension && key.to_string() == stem;
    (ours && entry.file_type().ok()?.is_file()).then_some(key)
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    thread_local! {
        /// Directories whose names were brought to the disk.
        static SYNCED: RefCell<Vec<PathBuf>> = RefCell::default();
        /// Whether the disk refuses to.
        static REFUSED: Cell<bool> = const { Cell::new(false) };
    }

    pub(super) fn note_sync(directory: &Path) -> io::Result<()> {
        SYNCED.with_borrow_mut(|all| all.push(directory.canonicalize().unwrap()));
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
        // As they are noted: without links, which a temporary directory may lie behind.
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
        let path = spool.path("queue", "slack", key(1));
        // The last step but one, the rename, fails: what it would replace is a directory.
        std::fs::create_dir(&path).unwrap();
        spool.store("slack", key(1), b"1").unwrap_err();
        assert!(!path.with_extension("new").exists() && path.is_dir());
        std::fs::remove_dir(&path).unwrap();
        spool.store("slack", key(1), b"1").unwrap();
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

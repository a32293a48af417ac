//! Notifications on disk: one file each and target, complete or absent.
//!
//! ```text
//! <state>/queue/<target>/<key>.json    accepted, not delivered yet
//! <state>/failed/<target>/<key>.json   refused for good by the target: to be looked at, and moved back when it is mended
//! ```

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// More are not kept; the oldest go.
const MAX_FAILED: usize = 1000;

/// The directory and its lock.
#[derive(Debug)]
pub(crate) struct Spool {
    root: PathBuf,
    /// Held for as long as the process lives, however it ends.
    _lock: File,
}

impl Spool {
    /// Creates what is missing; the error names the directory. Two processes on one directory would deliver all twice.
    pub(crate) fn open(root: &Path, targets: &[&str]) -> Result<Self> {
        let shown = root.display();
        let hint = "choose another directory with --state-dir";
        for target in targets {
            for kind in ["queue", "failed"] {
                let directory = root.join(kind).join(target);
                let mut builder = DirBuilder::new();
                builder.recursive(true).mode(0o700);
                builder
                    .create(&directory)
                    .with_context(|| format!("cannot use {}: {hint}", directory.display()))?;
            }
        }
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(root.join("lock"))
            .with_context(|| format!("cannot write in {shown}: {hint}"))?;
        lock.try_lock()
            .with_context(|| format!("another herald uses {shown}: {hint}"))?;
        Ok(Self {
            root: root.to_owned(),
            _lock: lock,
        })
    }

    /// On disk for good when this returns, file and name.
    pub(crate) fn store(&self, target: &str, key: &str, content: &[u8]) -> io::Result<()> {
        let path = self.path("queue", target, key);
        let staged = path.with_extension("new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&staged)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&staged, &path)?;
        self.sync("queue", target)
    }

    /// Delivered. It may be gone already.
    pub(crate) fn remove(&self, target: &str, key: &str) -> io::Result<()> {
        match std::fs::remove_file(self.path("queue", target, key)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Refused for good.
    pub(crate) fn set_aside(&self, target: &str, key: &str) -> io::Result<()> {
        let (from, to) = (
            self.path("queue", target, key),
            self.path("failed", target, key),
        );
        std::fs::rename(from, to)?;
        self.sync("failed", target)?;
        let mut failed = self.keys("failed", target)?;
        failed.sort();
        for key in failed.iter().rev().skip(MAX_FAILED) {
            std::fs::remove_file(self.path("failed", target, key))?;
        }
        Ok(())
    }

    /// How many were set aside.
    pub(crate) fn failed(&self, target: &str) -> usize {
        self.keys("failed", target).map_or(0, |keys| keys.len())
    }

    /// What an earlier process left, oldest first. Half-written files were never accepted and are removed.
    pub(crate) fn load(&self, target: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
        let directory = self.root.join("queue").join(target);
        for entry in std::fs::read_dir(&directory)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "new") {
                std::fs::remove_file(path)?;
            }
        }
        let mut keys = self.keys("queue", target)?;
        keys.sort();
        keys.into_iter()
            .map(|key| {
                Ok((
                    key.clone(),
                    std::fs::read(self.path("queue", target, &key))?,
                ))
            })
            .collect()
    }

    fn keys(&self, kind: &str, target: &str) -> io::Result<Vec<String>> {
        let names = std::fs::read_dir(self.root.join(kind).join(target))?;
        names
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .filter_map(|name: io::Result<String>| match name {
                Ok(name) => name.strip_suffix(".json").map(|key| Ok(key.to_owned())),
                Err(error) => Some(Err(error)),
            })
            .collect()
    }

    fn path(&self, kind: &str, target: &str, key: &str) -> PathBuf {
        self.root
            .join(kind)
            .join(target)
            .join(format!("{key}.json"))
    }

    /// A name is in its directory only once that is on disk too.
    fn sync(&self, kind: &str, target: &str) -> io::Result<()> {
        File::open(self.root.join(kind).join(target))?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stored_is_there_after_a_crash_and_half_a_file_is_not() {
        let root = tempfile::tempdir().unwrap();
        let spool = Spool::open(root.path(), &["slack"]).unwrap();
        spool.store("slack", "b", b"2").unwrap();
        spool.store("slack", "a", b"1").unwrap();
        std::fs::write(root.path().join("queue/slack/c.new"), "{").unwrap();
        assert!(
            Spool::open(root.path(), &["slack"])
                .unwrap_err()
                .to_string()
                .contains("another herald")
        );
        drop(spool);

        let spool = Spool::open(root.path(), &["slack"]).unwrap();
        let loaded = spool.load("slack").unwrap();
        assert_eq!(
            loaded,
            [
                ("a".to_owned(), b"1".to_vec()),
                ("b".to_owned(), b"2".to_vec())
            ]
        );
        spool.remove("slack", "a").unwrap();
        spool.remove("slack", "a").unwrap();
        spool.set_aside("slack", "b").unwrap();
        assert_eq!(
            (spool.load("slack").unwrap().len(), spool.failed("slack")),
            (0, 1)
        );
        assert!(!root.path().join("queue/slack/c.new").exists());
    }

    #[test]
    fn a_directory_that_cannot_be_used_is_named() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = format!("{:#}", Spool::open(&file, &["log"]).unwrap_err());
        assert!(
            error.contains("/file/queue/log") && error.contains("--state-dir"),
            "{error}"
        );
    }
}

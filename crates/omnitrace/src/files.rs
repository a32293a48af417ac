//! Files that other processes read: complete or absent, never half-written; and locks.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};

/// Writes a file that only its owner can read, by rename.
pub fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    let staged = staged(path);
    let write = || -> io::Result<()> {
        std::fs::remove_file(&staged).or_else(missing_is_fine)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&staged)?;
        file.write_all(content)?;
        std::fs::rename(&staged, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Creates a directory with its parents; an existing one keeps its mode.
pub fn create_directory(path: &Path, mode: u32) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .with_context(|| format!("cannot create the directory {}", path.display()))
}

/// Removes a directory tree that may be absent.
pub fn remove_tree(path: &Path) -> Result<()> {
    std::fs::remove_dir_all(path)
        .or_else(missing_is_fine)
        .with_context(|| format!("cannot remove {}", path.display()))
}

/// Removes a file that may be absent.
pub fn remove_file(path: &Path) -> Result<()> {
    std::fs::remove_file(path)
        .or_else(missing_is_fine)
        .with_context(|| format!("cannot remove {}", path.display()))
}

/// Takes an exclusive lock without waiting; `None` when another process holds it.
///
/// The kernel lets go of it when the process ends, however it ends, and children do not inherit it
/// (`O_CLOEXEC`): a lock is never stale.
pub fn try_lock(path: &Path) -> Result<Option<Flock<File>>> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot open the lock {}", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

fn staged(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    PathBuf::from(name)
}

fn missing_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound {
        Ok(())
    } else {
        Err(error)
    }
}

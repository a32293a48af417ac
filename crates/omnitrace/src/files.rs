//! Files that other processes read: complete or absent, never half-written; and locks.
//!
//! They are kept in directories of this user's own, which nobody else can write to ([`own_directory`]). What is opened is checked,
//! not what was there before ([`owned`]).

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg, OFlag};
use owned::{Directory, Owner, Place};

/// How a user chooses where all of them are.
pub const DATA_DIR: &str = "--data-dir";

/// Writes a file that only its owner can read, by rename.
pub fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    write_private_for(path, content, Owner::of_this_process())
}

/// The same for another user, in a directory of that user's.
pub fn write_private_for(path: &Path, content: &[u8], owner: Owner) -> Result<()> {
    let other = (owner != Owner::of_this_process()).then_some(owner);
    Place::of(path, owner)
        .context(DATA_DIR)?
        .replace(content, 0o600, other)
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Far more than any of these files has: `owner` may be a user who wants to fill this process's memory.
const MOST_BYTES: u64 = 1 << 20;

/// Reads a file of `owner`.
pub fn read_of(path: &Path, owner: Owner) -> Result<String> {
    let mut text = String::new();
    owned::open(path, OFlag::O_RDONLY, owner)
        .context(DATA_DIR)?
        .take(MOST_BYTES)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text)
}

/// The same for a file of this user's.
pub fn read(path: &Path) -> Result<String> {
    read_of(path, Owner::of_this_process())
}

/// A directory that is this user's own, made with `mode` if it is missing. Returns where it really is.
pub fn own_directory(path: &Path, mode: u32) -> Result<PathBuf> {
    let directory = Directory::open_own(path, Some(mode)).context(DATA_DIR)?;
    Ok(directory.path().to_owned())
}

/// The mode for root, whose Postgres runs as another user and must enter the directory.
pub fn data_directory_mode() -> u32 {
    match nix::unistd::Uid::effective().is_root() {
        true => 0o711,
        false => 0o700,
    }
}

/// Removes a file of `owner`'s directory that may be absent.
pub fn remove_file(path: &Path, owner: Owner) -> Result<()> {
    Place::of(path, owner)
        .context(DATA_DIR)?
        .remove()
        .with_context(|| format!("cannot remove {}", path.display()))
}

/// Takes an exclusive lock without waiting; `None` when another process holds it.
///
/// The kernel lets go of it when the process ends, however it ends, and children do not inherit it
/// (`O_CLOEXEC`): a lock is never stale.
pub fn try_lock(path: &Path) -> Result<Option<Flock<File>>> {
    let file = owned::open(
        path,
        OFlag::O_RDWR | OFlag::O_CREAT,
        Owner::of_this_process(),
    )?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_lock_is_held_by_one() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().canonicalize().unwrap().join("lock");
        let first = try_lock(&path).unwrap();
        assert!(first.is_some());
        assert!(try_lock(&path).unwrap().is_none());
        drop(first);
        assert!(try_lock(&path).unwrap().is_some());
    }

    #[test]
    fn a_private_file_is_replaced_as_a_whole() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().canonicalize().unwrap().join("state.json");
        std::fs::write(&path, "a longer text that was there before").unwrap();
        write_private(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            std::fs::read_dir(root.path()).unwrap().count(),
            1,
            "nothing is left beside it"
        );
    }
}

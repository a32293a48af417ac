//! Files that other processes read: complete or absent, never half-written; and locks.
//!
//! They are kept in directories of this user's own, which nobody else can write to ([`own_directory`]). No link is followed on
//! the way to them, and what was opened is checked, not what was there before ([`crate::owned`]).

use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg, OFlag};

use crate::owned::{self, Owner};

/// Writes a file that only its owner can read, by rename.
pub fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    write_private_for(path, content, Owner::of_this_process())
}

/// The same for another user, in a directory of that user's.
pub fn write_private_for(path: &Path, content: &[u8], owner: Owner) -> Result<()> {
    let place = owned::Place::of(path, owner)?;
    let write = || -> io::Result<()> {
        let staged = format!("{}.{}.new", place.name(), std::process::id());
        place.remove(&staged)?;
        let mut file = place.create(&staged)?;
        file.write_all(content)?;
        if owner != Owner::of_this_process() {
            fchown(&file, Some(owner.uid), Some(owner.gid))?;
        }
        place.rename(&staged, &place.name())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Reads a file of `owner`.
pub fn read_of(path: &Path, owner: Owner) -> Result<String> {
    let mut text = String::new();
    owned::open(path, OFlag::O_RDONLY, owner)?
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text)
}

/// The same for one of this user's.
pub fn read(path: &Path) -> Result<String> {
    read_of(path, Owner::of_this_process())
}

/// Writes what somebody asked for, where they asked for it: any directory will do, but no link is followed, and no file is changed
/// that has a second name.
pub fn write_output(path: &Path, text: &str) -> Result<()> {
    let mut file = owned::open_output(path)?;
    let regular = file.metadata()?.is_file();
    let mut write = || {
        if regular {
            file.set_len(0)?;
        }
        file.write_all(text.as_bytes())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Creates a directory with its parents, all with `mode` whatever the umask; existing ones are left as they are.
pub fn create_directory(path: &Path, mode: u32) -> Result<()> {
    let create = || -> io::Result<()> {
        let missing = path.ancestors().take_while(|ancestor| {
            let named = !ancestor.as_os_str().is_empty();
            named && !ancestor.exists()
        });
        let mut missing: Vec<&Path> = missing.collect();
        missing.reverse();
        for directory in missing {
            match std::fs::create_dir(directory) {
                // Another process was faster.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                result => {
                    result?;
                    owned::made(directory)?.set_permissions(Permissions::from_mode(mode))?;
                }
            }
        }
        // Says what is wrong when something else than a directory is there.
        std::fs::read_dir(path).map(drop)
    };
    create().with_context(|| format!("cannot use the directory {}", path.display()))
}

/// A directory that is this user's own, made with `mode` if it is missing. Returns where it really is.
pub fn own_directory(path: &Path, mode: u32) -> Result<PathBuf> {
    if path.symlink_metadata().is_err() {
        create_directory(path, mode)?;
    }
    owned::directory(path)
}

/// For root, whose Postgres runs as another user: it has to pass through.
pub fn data_directory_mode() -> u32 {
    match nix::unistd::Uid::effective().is_root() {
        true => 0o711,
        false => 0o700,
    }
}

/// Removes a directory tree that may be absent.
pub fn remove_tree(path: &Path) -> Result<()> {
    std::fs::remove_dir_all(path)
        .or_else(missing_is_fine)
        .with_context(|| format!("cannot remove {}", path.display()))
}

/// Removes a file of `owner`'s directory that may be absent.
pub fn remove_file(path: &Path, owner: Owner) -> Result<()> {
    let place = owned::Place::of(path, owner)?;
    place
        .remove(&place.name())
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

fn missing_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound {
        Ok(())
    } else {
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn created_directories_have_the_mode_whatever_the_umask_and_existing_ones_keep_theirs() {
        let root = tempfile::tempdir().unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        std::fs::set_permissions(root.path(), Permissions::from_mode(0o701)).unwrap();
        create_directory(&root.path().join("a/b"), 0o711).unwrap();
        create_directory(&root.path().join("a/b"), 0o700).unwrap();
        assert_eq!(mode(root.path()), 0o701);
        assert_eq!(
            (mode(&root.path().join("a")), mode(&root.path().join("a/b"))),
            (0o711, 0o711)
        );

        std::fs::write(root.path().join("file"), "").unwrap();
        let error = create_directory(&root.path().join("file"), 0o700).unwrap_err();
        assert!(error.to_string().contains("/file"), "{error}");
    }

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

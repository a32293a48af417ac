//! Files that other processes read: complete or absent, never half-written; and locks.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
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
                    std::fs::set_permissions(directory, Permissions::from_mode(mode))?;
                }
            }
        }
        // Says what is wrong when something else than a directory is there.
        std::fs::read_dir(path).map(drop)
    };
    create().with_context(|| format!("cannot use the directory {}", path.display()))
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
        let path = root.path().join("lock");
        let first = try_lock(&path).unwrap();
        assert!(first.is_some());
        assert!(try_lock(&path).unwrap().is_none());
        drop(first);
        assert!(try_lock(&path).unwrap().is_some());
    }

    #[test]
    fn a_private_file_is_replaced_as_a_whole() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("state.json");
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

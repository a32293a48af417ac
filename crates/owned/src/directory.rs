//! Opens directories step by step, and works with the names in them.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::{File, Metadata, Permissions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat, renameat};
use nix::sys::stat::{Mode, fstatat, mkdirat, mode_t};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::refusal::{not_ours, open_to_others, refused, strange_link};
use crate::{CAREFULLY, Owner, about, reopen};

/// Directories that may be entered but not listed are on the way, too.
#[cfg(target_os = "linux")]
const ENTER: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(CAREFULLY);
#[cfg(not(target_os = "linux"))]
const ENTER: OFlag = OFlag::O_DIRECTORY.union(CAREFULLY);

/// More in one path are a circle, as they are for the kernel.
const MOST_LINKS: usize = 40;

/// The maximum depth of a tree to remove. Each level needs a descriptor and some stack, and another user may have made the
/// tree.
const MOST_LEVELS: usize = 100;

/// A directory, held open. Whoever owns the directories above it cannot put another one in its place.
#[derive(Debug)]
pub struct Directory {
    descriptor: OwnedFd,
    path: PathBuf,
}

impl Directory {
    /// Walks to a directory. Of the links on the way those of root and of this process's user are followed.
    pub fn open(path: &Path) -> Result<Self> {
        walk(path, None)
    }

    /// The same; it creates missing directories, all with `mode` whatever the umask.
    pub fn make(path: &Path, mode: u32) -> Result<Self> {
        walk(path, Some(mode))
    }

    /// Opens a directory that belongs to this process's user, that no other user can write to, and that is not a link.
    pub fn open_own(path: &Path, make: Option<u32>) -> Result<Self> {
        let path = absolute(path)?;
        let directory = match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => walk(parent, make)?.child(name, make)?,
            _ => walk(&path, make)?,
        };
        directory.check(Owner::of_this_process())
    }

    /// The path at the time of opening, without links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path for functions that accept only paths. It leads into this directory even after a rename, but only this process
    /// can use it, and only while the directory is open.
    pub fn bridge(&self) -> PathBuf {
        #[cfg(target_os = "linux")]
        {
            use std::os::fd::AsRawFd;
            format!("/proc/self/fd/{}", self.descriptor.as_raw_fd()).into()
        }
        #[cfg(not(target_os = "linux"))]
        self.path.clone()
    }

    /// A directory in this one, not a link; created with that mode if it is missing.
    pub fn child(&self, name: impl AsRef<OsStr>, make: Option<u32>) -> Result<Self> {
        let name = name.as_ref();
        let made = match (self.enter(name), make) {
            (Err(Errno::ENOENT), Some(mode)) => self.add(name, mode),
            (result, _) => result.map_err(io::Error::from),
        };
        let attempt = if make.is_some() {
            "make or open"
        } else {
            "open"
        };
        made.map_err(|why| refused(attempt, &self.path.join(name), why))
    }

    /// Makes a directory that is not there yet, with what the umask leaves of `mode`.
    pub fn create(&self, name: impl AsRef<OsStr>, mode: u32) -> io::Result<Self> {
        let name = name.as_ref();
        mkdirat(self, name, permissions(mode))?;
        let made = self.enter(name)?;
        // The owner of this directory can have replaced the new one.
        match made.is_ours()? && names_in(made.as_fd())?.is_empty() {
            true => Ok(made),
            false => Err(Errno::EEXIST.into()),
        }
    }

    /// Writes a file that is not there yet.
    pub fn write_new(&self, name: impl AsRef<OsStr>, content: &[u8]) -> io::Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | CAREFULLY;
        let mode = Mode::from_bits_truncate(0o666);
        File::from(openat(self, name.as_ref(), flags, mode)?).write_all(content)
    }

    /// Removes all that is in it.
    pub fn clear(&self) -> io::Result<()> {
        for name in names_in(self.as_fd())? {
            remove_tree(self.as_fd(), &name, MOST_LEVELS)?;
        }
        Ok(())
    }

    /// Refuses a directory that is not `owner`'s, or that others can write to.
    pub fn check(self, owner: Owner) -> Result<Self> {
        let found = about(&self.descriptor)?;
        if found.uid() != owner.uid {
            bail!("{}", not_ours(&self.path, found.uid(), owner.uid));
        }
        if found.mode() & 0o022 != 0 {
            bail!("{}", open_to_others(&self.path, found.mode()));
        }
        Ok(self)
    }

    /// Changes its owner.
    pub fn give_to(&self, owner: Owner) -> io::Result<()> {
        fchown(reopen(&self.descriptor)?, Some(owner.uid), Some(owner.gid))
    }

    /// Whether a path leads to this very directory.
    pub fn is_at(&self, path: &Path) -> bool {
        let id = |found: Metadata| (found.dev(), found.ino());
        let there = path.metadata().map(id).ok();
        there.is_some() && there == about(self).map(id).ok()
    }

    /// Whether there is such a file in it or below it.
    pub fn has(&self, name: impl AsRef<OsStr>) -> bool {
        fstatat(self, name.as_ref(), AtFlags::AT_SYMLINK_NOFOLLOW).is_ok()
    }

    /// Moves a name to another directory, and replaces the target.
    pub fn rename(
        &self,
        from: impl AsRef<OsStr>,
        into: &Self,
        to: impl AsRef<OsStr>,
    ) -> io::Result<()> {
        Ok(renameat(self, from.as_ref(), into, to.as_ref())?)
    }

    /// Removes a file that may be absent.
    pub fn remove(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        let removed = unlinkat(self, name.as_ref(), UnlinkatFlags::NoRemoveDir);
        Ok(missing_is_fine(removed)?)
    }

    /// Removes a directory if nothing is in it.
    pub fn remove_empty(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        Ok(unlinkat(self, name.as_ref(), UnlinkatFlags::RemoveDir)?)
    }

    /// Removes a directory with its content, if it exists; of a link, it removes only the link.
    pub fn remove_tree(&self, name: impl AsRef<OsStr>) -> Result<()> {
        let name = name.as_ref();
        let shown = self.path.join(name);
        CString::new(name.as_encoded_bytes())
            .map_err(io::Error::from)
            .and_then(|name| Ok(remove_tree(self.as_fd(), &name, MOST_LEVELS)?))
            .with_context(|| format!("cannot remove {}", shown.display()))
    }

    fn root() -> Result<Self> {
        let descriptor = open("/", ENTER, Mode::empty()).context("cannot enter /")?;
        let path = PathBuf::from("/");
        Ok(Self { descriptor, path })
    }

    fn enter(&self, name: &OsStr) -> nix::Result<Self> {
        let descriptor = openat(self, name, ENTER, Mode::empty())?;
        let path = match self.path.parent() {
            Some(parent) if name == ".." => parent.to_owned(),
            None if name == ".." => self.path.clone(),
            _ => self.path.join(name),
        };
        Ok(Self { descriptor, path })
    }

    fn add(&self, name: &OsStr, mode: u32) -> io::Result<Self> {
        match mkdirat(self, name, permissions(mode)) {
            // Another process was faster.
            Err(Errno::EEXIST) => Ok(self.enter(name)?),
            made => {
                made?;
                let added = self.enter(name)?;
                added.set_mode(mode)?;
                Ok(added)
            }
        }
    }

    /// Sets the mode of a new directory. A directory that has replaced it keeps its mode, unless it is as empty.
    fn set_mode(&self, mode: u32) -> io::Result<()> {
        if !self.is_ours()? {
            return Ok(());
        }
        let mode = Permissions::from_mode(mode);
        match reopen(self) {
            Ok(opened) if names_in(opened.as_fd())?.is_empty() => {
                File::from(opened).set_permissions(mode)
            }
            Ok(_) => Ok(()),
            // The umask has taken its owner's own rights.
            Err(Errno::EACCES) => std::fs::set_permissions(self.bridge(), mode),
            Err(why) => Err(why.into()),
        }
    }

    fn is_ours(&self) -> io::Result<bool> {
        Ok(about(self)?.uid() == Owner::of_this_process().uid)
    }

    /// The target of a link, if root or this process's user made the link.
    fn link(&self, name: &OsStr) -> Result<PathBuf> {
        let path = self.path.join(name);
        let (found, target) = look(self, name).map_err(|why| refused("open", &path, why))?;
        let Some(target) = target else {
            return Err(refused("open", &path, Errno::ENOTDIR.into()));
        };
        if ![0, Owner::of_this_process().uid].contains(&found.uid()) {
            bail!("{}", strange_link(&path, found.uid()));
        }
        Ok(target)
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

fn walk(path: &Path, make: Option<u32>) -> Result<Directory> {
    let mut at = Directory::root()?;
    let mut left = steps(&absolute(path)?);
    let mut links = 0;
    while let Some(name) = left.pop() {
        match at.enter(&name) {
            Ok(next) => at = next,
            Err(Errno::ENOTDIR | Errno::ELOOP) => {
                let target = at.link(&name)?;
                links += 1;
                if links > MOST_LINKS {
                    bail!("{} leads through too many links", path.display());
                }
                if target.is_absolute() {
                    at = Directory::root()?;
                }
                left.extend(steps(&target));
            }
            Err(_) => at = at.child(&name, make)?,
        }
    }
    Ok(at)
}

/// The last one first.
fn steps(path: &Path) -> Vec<OsString> {
    path.components()
        .rev()
        .filter(|step| matches!(step, Component::Normal(_) | Component::ParentDir))
        .map(|step| step.as_os_str().to_owned())
        .collect()
}

pub(crate) fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("no usable path: \"{}\"", path.display()))
}

/// The metadata of a name, and the target if it is a link: both of the same file.
#[cfg(target_os = "linux")]
fn look(directory: &Directory, name: &OsStr) -> io::Result<(Metadata, Option<PathBuf>)> {
    let opened = openat(directory, name, OFlag::O_PATH | CAREFULLY, Mode::empty())?;
    let found = about(&opened)?;
    let target = match found.is_symlink() {
        true => Some(nix::fcntl::readlinkat(&opened, "")?.into()),
        false => None,
    };
    Ok((found, target))
}

/// Links cannot be opened on this system, so another user can replace one between the two calls.
#[cfg(not(target_os = "linux"))]
fn look(directory: &Directory, name: &OsStr) -> io::Result<(Metadata, Option<PathBuf>)> {
    let path = directory.path.join(name);
    let found = path.symlink_metadata()?;
    let target = match found.is_symlink() {
        true => Some(path.read_link()?),
        false => None,
    };
    Ok((found, target))
}

fn names_in(directory: BorrowedFd<'_>) -> nix::Result<Vec<CString>> {
    let mut listing = Dir::from_fd(reopen(directory)?)?;
    let names = listing
        .iter()
        .map(|entry| Ok(entry?.file_name().to_owned()));
    names
        .filter(|name| !matches!(name, Ok(name) if [c".", c".."].contains(&name.as_c_str())))
        .collect()
}

fn remove_tree(directory: BorrowedFd<'_>, name: &CStr, levels: usize) -> nix::Result<()> {
    match unlinkat(directory, name, UnlinkatFlags::NoRemoveDir) {
        // The name is a directory: Linux and POSIX have different errors for it.
        Err(Errno::EISDIR | Errno::EPERM) => {}
        removed => return missing_is_fine(removed),
    }
    let levels = levels.checked_sub(1).ok_or(Errno::ENAMETOOLONG)?;
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | CAREFULLY;
    let inner = match openat(directory, name, flags, Mode::empty()) {
        Err(Errno::ENOENT) => return Ok(()),
        opened => opened?,
    };
    for name in names_in(inner.as_fd())? {
        remove_tree(inner.as_fd(), &name, levels)?;
    }
    missing_is_fine(unlinkat(directory, name, UnlinkatFlags::RemoveDir))
}

fn missing_is_fine(result: nix::Result<()>) -> nix::Result<()> {
    match result {
        Err(Errno::ENOENT) => Ok(()),
        result => result,
    }
}
/// Its bits are as wide as the platform has them: 32 on Linux, 16 on macOS.
fn permissions(mode: u32) -> Mode {
    Mode::from_bits_truncate(mode as mode_t)
}

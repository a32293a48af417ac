//! Whose a file is. Who runs this as root in a directory of another user must not write where that user's links lead.
//!
//! The directory is opened component by component, and no link is followed; it has to belong to the right user, and nobody else may
//! write to it. What is opened in it has to be an ordinary file of that user with one name. All of this is asked of the opened
//! descriptor, so nothing can change between the question and the use.

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open as open_at_path, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, UnlinkatFlags, User, unlinkat};

/// A link is an error, a FIFO does not block, and children inherit nothing.
const CAREFULLY: OFlag = OFlag::O_NOFOLLOW
    .union(OFlag::O_NONBLOCK)
    .union(OFlag::O_CLOEXEC);
/// Directories that may be entered but not listed are on the way, too.
#[cfg(target_os = "linux")]
const ENTER: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(CAREFULLY);
#[cfg(not(target_os = "linux"))]
const ENTER: OFlag = OFlag::O_DIRECTORY.union(CAREFULLY);

/// The user that files belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Its group's.
    pub gid: u32,
}

impl Owner {
    /// The one that this process acts for.
    pub fn of_this_process() -> Self {
        Self {
            uid: Uid::effective().as_raw(),
            gid: Gid::effective().as_raw(),
        }
    }
}

/// A name in a directory of the right user, held open.
pub struct Place {
    directory: OwnedFd,
    name: OsString,
}

impl Place {
    /// Opens the directory of `path`, which is absolute and without links.
    pub fn of(path: &Path, owner: Owner) -> Result<Self> {
        let (directory, name) = parts(path)?;
        let opened =
            enter(directory).with_context(|| format!("cannot enter {}", directory.display()))?;
        let metadata = File::from(opened.try_clone()?).metadata()?;
        check_directory(directory, &metadata, owner)?;
        Ok(Self {
            directory: opened,
            name,
        })
    }

    /// Its last part.
    pub fn name(&self) -> String {
        self.name.to_string_lossy().into_owned()
    }

    /// A new file, for this user alone.
    pub fn create(&self, name: &str) -> io::Result<File> {
        self.open(name, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL)
    }

    fn open(&self, name: &str, flags: OFlag) -> io::Result<File> {
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        Ok(openat(&self.directory, name, flags | CAREFULLY, mode)?.into())
    }

    /// Gives a file another name, in the place of the one that had it.
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(renameat(&self.directory, from, &self.directory, to)?)
    }

    /// Removes a file that may be absent.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match unlinkat(&self.directory, name, UnlinkatFlags::NoRemoveDir) {
            Err(Errno::ENOENT) => Ok(()),
            result => Ok(result?),
        }
    }
}

/// Opens a file of `owner`'s; nothing is cut before it was looked at.
pub fn open(path: &Path, flags: OFlag, owner: Owner) -> Result<File> {
    let place = Place::of(path, owner)?;
    let file = place
        .open(&place.name(), flags)
        .map_err(|why| refused(path, why))?;
    let metadata = file.metadata()?;
    check_file(path, &metadata)?;
    if metadata.uid() != owner.uid {
        bail!("{}", not_ours(path, &metadata, owner.uid));
    }
    Ok(file)
}

/// Opens a file for what a command prints, wherever it is.
pub fn open_output(path: &Path) -> Result<File> {
    let mode = Mode::from_bits_truncate(0o644);
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT;
    let standard = ["/dev/stdout", "/dev/stderr", "/dev/null", "/dev/fd"];
    if standard.iter().any(|device| path.starts_with(device)) {
        return Ok(open_at_path(path, flags | OFlag::O_CLOEXEC, mode)?.into());
    }
    let file: File = open_at_path(path, flags | CAREFULLY, mode)
        .map_err(|why| refused(path, why.into()))?
        .into();
    check_file(path, &file.metadata()?)?;
    Ok(file)
}

/// Where a directory of this user's really is; the directory itself is no link.
pub fn directory(path: &Path) -> Result<PathBuf> {
    let shown = path.display();
    let found = path.symlink_metadata().with_context(|| shown.to_string())?;
    if !found.is_dir() {
        bail!("{}", refusal(path, &found));
    }
    let real = path.canonicalize().with_context(|| shown.to_string())?;
    let opened = enter(&real).map_err(|why| refused(path, why))?;
    let metadata = File::from(opened).metadata()?;
    check_directory(path, &metadata, Owner::of_this_process())?;
    Ok(real)
}

/// A directory that was made a moment ago.
pub fn made(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | CAREFULLY;
    Ok(open_at_path(path, flags, Mode::empty())?.into())
}

fn parts(path: &Path) -> Result<(&Path, OsString)> {
    match (path.parent(), path.file_name()) {
        (Some(directory), Some(name)) => Ok((directory, name.to_owned())),
        _ => bail!("{} is no file", path.display()),
    }
}

fn enter(path: &Path) -> io::Result<OwnedFd> {
    let mut directory = open_at_path("/", ENTER, Mode::empty())?;
    for component in std::path::absolute(path)?.components() {
        if let Component::Normal(_) | Component::ParentDir = component {
            directory = openat(&directory, component.as_os_str(), ENTER, Mode::empty())?;
        }
    }
    Ok(directory)
}

fn check_directory(path: &Path, metadata: &Metadata, owner: Owner) -> Result<()> {
    if metadata.uid() != owner.uid {
        bail!("{}", not_ours(path, metadata, owner.uid));
    }
    if metadata.mode() & 0o022 != 0 {
        bail!(
            "{} can be written by others (mode {:o}): make it private (`chmod go-w`), or choose another directory with --data-dir",
            path.display(),
            metadata.mode() & 0o7777
        );
    }
    Ok(())
}

fn check_file(path: &Path, metadata: &Metadata) -> Result<()> {
    if !metadata.is_file() {
        bail!("{}", refusal(path, metadata));
    }
    if metadata.nlink() > 1 {
        bail!(
            "{} has {} names (hard links), so that writing to it would change another file, too; its owner is {}. {WAY_OUT}",
            path.display(),
            metadata.nlink(),
            user(metadata.uid())
        );
    }
    Ok(())
}

const WAY_OUT: &str = "Remove it, or choose another place (--data-dir, --output)";

/// Why the kernel did not open it: what is there says more than the error's number.
fn refused(path: &Path, why: io::Error) -> anyhow::Error {
    match path.symlink_metadata() {
        Ok(found) if !found.is_file() => anyhow!("{}", refusal(path, &found)),
        _ => anyhow::Error::new(why).context(format!("cannot open {}", path.display())),
    }
}

fn refusal(path: &Path, found: &Metadata) -> String {
    let kind = found.file_type();
    let what = match () {
        () if kind.is_symlink() => "a symbolic link",
        () if kind.is_fifo() => "a FIFO",
        () if kind.is_dir() => "a directory",
        () if kind.is_file() => "a file",
        () => "a device or socket",
    };
    format!(
        "{} is {what}, and its owner is {}: not used. {WAY_OUT}",
        path.display(),
        user(found.uid())
    )
}

fn not_ours(path: &Path, found: &Metadata, wanted: u32) -> String {
    format!(
        "{} belongs to {}, not to {}: not used. Run this as its owner, or choose another directory with --data-dir",
        path.display(),
        user(found.uid()),
        user(wanted)
    )
}

/// `mallory (uid 1000)`.
fn user(uid: u32) -> String {
    let name = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    let name = name.map_or_else(|| "nobody here".to_owned(), |user| user.name);
    format!("{name} (uid {uid})")
}

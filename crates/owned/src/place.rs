//! Files: a name in an open directory.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use crate::directory::absolute;
use crate::refusal::{many_names, not_ours, refusal, refused};
use crate::{CAREFULLY, Directory, Owner};

/// A name in a directory.
pub struct Place {
    directory: Directory,
    name: OsString,
}

impl Place {
    /// In a directory of `owner`, which no other user can write to.
    pub fn of(path: &Path, owner: Owner) -> Result<Self> {
        let Self { directory, name } = Self::anywhere(path)?;
        let directory = directory.check(owner)?;
        Ok(Self { directory, name })
    }

    /// In any directory. Its owner can remove the file, but not redirect the write.
    fn anywhere(path: &Path) -> Result<Self> {
        let path = absolute(path)?;
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            bail!("{} is no file", path.display());
        };
        let (directory, name) = (Directory::open(directory)?, name.to_owned());
        Ok(Self { directory, name })
    }

    /// Replaces the file as a whole: it writes a new file beside it and renames that.
    pub fn replace(&self, content: &[u8], mode: u32, owner: Option<Owner>) -> io::Result<()> {
        let staged = self.beside(&format!(".{}.new", std::process::id()));
        self.directory.remove(&staged)?;
        let write = || {
            let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
            let mut file = self.file(&staged, flags)?;
            file.write_all(content)?;
            if let Some(owner) = owner {
                fchown(&file, Some(owner.uid), Some(owner.gid))?;
            }
            file.set_permissions(Permissions::from_mode(mode))?;
            file.sync_all()?;
            self.directory.rename(&staged, &self.directory, &self.name)
        };
        write().inspect_err(|_| drop(self.directory.remove(&staged)))
    }

    /// Renames the file to its name with this ending, and replaces the target.
    pub fn set_aside(&self, ending: &str) -> io::Result<()> {
        let aside = self.beside(ending);
        self.directory.rename(&self.name, &self.directory, aside)
    }

    /// Removes a file that may be absent.
    pub fn remove(&self) -> io::Result<()> {
        self.directory.remove(&self.name)
    }

    /// Removes a directory tree that may be absent.
    pub fn remove_tree(&self) -> Result<()> {
        self.directory.remove_tree(&self.name)
    }

    /// An ordinary file, and none with a second name if it is to be changed.
    fn open(&self, flags: OFlag) -> Result<File> {
        let path = self.path();
        let file = self
            .file(&self.name, flags)
            .map_err(|why| refused(attempt(flags), &path, why))?;
        let found = file.metadata()?;
        if !found.is_file() {
            bail!("{}", refusal(&path, &found));
        }
        if found.nlink() > 1 && flags.intersects(OFlag::O_WRONLY | OFlag::O_RDWR) {
            bail!("{}", many_names(&path, &found));
        }
        Ok(file)
    }

    fn file(&self, name: &OsString, flags: OFlag) -> io::Result<File> {
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        Ok(openat(&self.directory, name.as_os_str(), flags | CAREFULLY, mode)?.into())
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join(&self.name)
    }

    fn beside(&self, ending: &str) -> OsString {
        let mut name = self.name.clone();
        name.push(ending);
        name
    }
}

fn attempt(flags: OFlag) -> &'static str {
    match flags.contains(OFlag::O_CREAT) {
        true => "make or open",
        false => "open",
    }
}

/// Removes a directory if nothing is in it.
pub fn remove_empty(path: &Path) -> Result<()> {
    let place = Place::anywhere(path)?;
    Ok(place.directory.remove_empty(&place.name)?)
}

/// Opens a file of `owner` in a directory of the same owner; it truncates nothing before the check.
pub fn open(path: &Path, flags: OFlag, owner: Owner) -> Result<File> {
    let file = Place::of(path, owner)?.open(flags)?;
    let found = file.metadata()?;
    if found.uid() != owner.uid {
        bail!("{}", not_ours(path, found.uid(), owner.uid));
    }
    Ok(file)
}

/// Writes a file at the path that the user named. Any directory is allowed, but it follows no link of another user, and
/// changes no file that is a link or has a second name. An existing file keeps its owner and mode.
pub fn write_output(path: &Path, content: &[u8]) -> Result<()> {
    let shown = || format!("cannot write {}", path.display());
    let standard = ["/dev/stdout", "/dev/stderr", "/dev/null", "/dev/fd"];
    if standard.iter().any(|device| path.starts_with(device)) {
        let opened = OpenOptions::new().write(true).open(path);
        return opened
            .and_then(|mut device| device.write_all(content))
            .with_context(shown);
    }
    let place = Place::anywhere(path)?;
    let existing = match place.directory.has(&place.name) {
        true => Some(place.open(OFlag::O_WRONLY)?),
        false => None,
    };
    put(&place, existing, content).with_context(shown)
}

/// Whether [`write_output`] can make a file in this directory. Nothing that is there is touched.
pub fn try_output(directory: &Path) -> Result<()> {
    let directory = Directory::open(directory)?;
    let name = format!(".try.{}", std::process::id());
    let written = directory.write_new(&name, b"");
    let shown = || format!("cannot make {}", directory.path().join(&name).display());
    written.with_context(shown)?;
    Ok(directory.remove(&name)?)
}

fn put(place: &Place, existing: Option<File>, content: &[u8]) -> io::Result<()> {
    let Some(mut file) = existing else {
        return place.replace(content, 0o644, None);
    };
    let found = file.metadata()?;
    match place.replace(content, found.mode() & 0o777, Some(Owner::of(&found))) {
        // Only the content can be replaced: the directory or the file belongs to another user, or the file is a mount of its
        // own.
        Err(why) if IN_PLACE.contains(&why.kind()) => {
            file.set_len(0)?;
            file.write_all(content)?;
            file.sync_all()
        }
        result => result,
    }
}

const IN_PLACE: [ErrorKind; 3] = [
    ErrorKind::PermissionDenied,
    ErrorKind::ResourceBusy,
    ErrorKind::ReadOnlyFilesystem,
];

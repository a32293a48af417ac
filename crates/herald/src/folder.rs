//! A directory of files that are named by keys ([`crate::key`]): each is complete or absent. Other files in it do not belong
//! to herald, which neither opens, follows nor removes them.

use std::ffi::{OsStr, OsString};
use std::fs::{DirEntry, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use uuid::Uuid;

/// Far more than any notification takes ([`crate::intake::BODY_LIMIT`]).
const MAX_FILE: u64 = 16 << 20;

/// The content of a directory.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// The keys of herald's files, oldest first.
    pub(crate) keys: Vec<Uuid>,
    /// Names of everything else.
    pub(crate) foreign: Vec<OsString>,
}

/// The directory. Whoever holds it keeps what its path leads through.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Writes file and name to the disk before it returns, and replaces an existing file. If it fails, it leaves no new
    /// file, which would occupy the space of the next one; an existing file stays, in its old or new form.
    pub(crate) fn store(&self, key: Uuid, content: &[u8]) -> io::Result<()> {
        let path = self.path(key);
        let staged = path.with_extension("new");
        let remove = |path: &Path| drop(std::fs::remove_file(path));
        let is_new = std::fs::symlink_metadata(&path)
            .is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        write(&staged, content)
            .and_then(|()| std::fs::rename(&staged, &path))
            .inspect_err(|_| remove(&staged))?;
        self.sync().inspect_err(|_| {
            if is_new {
                remove(&path);
            }
        })
    }

    /// Whether the disk takes so many bytes now.
    pub(crate) fn probe(&self, size: usize) -> io::Result<()> {
        let path = self.path(Uuid::now_v7()).with_extension("new");
        let written = write(&path, &vec![b' '; size]);
        std::fs::remove_file(&path).ok();
        written
    }

    /// The content of a file. One that was put in its place may be anything.
    pub(crate) fn read(&self, key: Uuid) -> io::Result<Vec<u8>> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(careful())
            .open(self.path(key))?;
        let about = file.metadata()?;
        if !about.is_file() || about.len() > MAX_FILE {
            let problem = format!("allowed: a regular file of at most {MAX_FILE} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        let mut content = Vec::with_capacity(usize::try_from(about.len()).unwrap_or(0));
        file.take(MAX_FILE).read_to_end(&mut content)?;
        Ok(content)
    }

    /// Removed for good when this returns. It may be gone already.
    pub(crate) fn remove(&self, key: Uuid) -> io::Result<()> {
        match std::fs::remove_file(self.path(key)) {
            Ok(()) => self.sync(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Moves a file into another directory; the move is durable once both directories are flushed.
    pub(crate) fn hand_over(&self, key: Uuid, to: &Self) -> io::Result<()> {
        std::fs::rename(self.path(key), to.path(key))
    }

    /// Keeps the newest only.
    pub(crate) fn keep_newest(&self, most: usize) -> io::Result<()> {
        for key in self.list()?.keys.iter().rev().skip(most) {
            std::fs::remove_file(self.path(*key)).ok();
        }
        Ok(())
    }

    /// Removes partly written files.
    pub(crate) fn clean(&self) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.0)? {
            let entry = entry?;
            if key(&entry, "new").is_some() {
                // A remaining file is neither read nor an obstacle.
                std::fs::remove_file(entry.path()).ok();
            }
        }
        Ok(())
    }

    pub(crate) fn list(&self) -> io::Result<Listing> {
        let mut listing = Listing::default();
        for entry in std::fs::read_dir(&self.0)? {
            let entry = entry?;
            match key(&entry, "json") {
                Some(key) => listing.keys.push(key),
                // Another thread is writing it now.
                None if key(&entry, "new").is_some() => {}
                None => listing.foreign.push(entry.file_name()),
            }
        }
        listing.keys.sort_unstable();
        listing.foreign.sort_unstable();
        Ok(listing)
    }

    /// A name is in its directory only once that is on disk too.
    pub(crate) fn sync(&self) -> io::Result<()> {
        sync(&self.0)
    }

    pub(crate) fn path(&self, key: Uuid) -> PathBuf {
        self.0.join(format!("{key}.json"))
    }
}

pub(crate) fn sync(directory: &Path) -> io::Result<()> {
    #[cfg(test)]
    crate::spool::tests::note_sync(directory)?;
    File::open(directory)?.sync_all()
}

/// Neither follows a link nor waits for the other end of a pipe.
pub(crate) fn careful() -> i32 {
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

/// The key of a regular file whose name is a key in herald's spelling.
fn key(entry: &DirEntry, extension: &str) -> Option<Uuid> {
    let name = entry.file_name();
    let path = Path::new(&name);
    let stem = path.file_stem().and_then(OsStr::to_str)?;
    let key = Uuid::parse_str(stem).ok()?;
    crate::key::given(key)?;
    let ours = path.extension()? == extension && key.to_string() == stem;
    (ours && entry.file_type().ok()?.is_file()).then_some(key)
}

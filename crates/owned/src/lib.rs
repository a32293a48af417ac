//! Checks the owner of files. If root uses a directory of another user, that user's links must not redirect what root writes.
//!
//! A [`Directory`] is reached by one walk and then held open; a [`Place`] is a name in one. Everything is done relative to the
//! opened directory, and asked of the opened file, so nothing can change between the question and the use.
//!
//! An error names the file and the way out. The program adds the name of its option (`.context("--data-dir")`).

mod directory;
mod place;
mod refusal;

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid};

pub use directory::Directory;
pub use place::{Place, open, remove_empty, try_output, write_output};

/// A link is an error, a FIFO does not block, and children inherit nothing.
const CAREFULLY: OFlag = OFlag::O_NOFOLLOW
    .union(OFlag::O_NONBLOCK)
    .union(OFlag::O_CLOEXEC);

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

    fn of(found: &Metadata) -> Self {
        Self {
            uid: found.uid(),
            gid: found.gid(),
        }
    }
}

fn about(opened: impl AsFd) -> io::Result<Metadata> {
    File::from(opened.as_fd().try_clone_to_owned()?).metadata()
}

/// A directory that is open only as a step on the way can neither be listed nor changed.
fn reopen(directory: impl AsFd) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    openat(directory, ".", flags, Mode::empty())
}

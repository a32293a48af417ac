//! Errors about refused files: the path, the owner, and the way out.

use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use anyhow::anyhow;
use nix::unistd::{Uid, User};

/// The caller names its own option instead.
const ELSEWHERE: &str = "choose another directory";

/// The owner that Linux reports for ids without a mapping in this user namespace, and NFS for a root that it does not trust.
const UNKNOWN: u32 = 65_534;

/// Why the kernel refused the `attempt`: the existing file explains more than the error number.
pub fn refused(attempt: &str, path: &Path, why: io::Error) -> anyhow::Error {
    let wrong_kind = matches!(
        why.kind(),
        ErrorKind::NotADirectory | ErrorKind::IsADirectory
    );
    let shown = path.display();
    match path.symlink_metadata() {
        Ok(found) if wrong_kind || !(found.is_file() || found.is_dir()) => {
            anyhow!("{}", refusal(path, &found))
        }
        _ => anyhow::Error::new(why).context(format!("cannot {attempt} {shown}: {ELSEWHERE}")),
    }
}

/// The error for a file of the wrong type.
pub fn refusal(path: &Path, found: &Metadata) -> String {
    let kind = found.file_type();
    let what = match () {
        () if kind.is_symlink() => "a symbolic link",
        () if kind.is_fifo() => "a FIFO",
        () if kind.is_dir() => "a directory",
        () if kind.is_file() => "a file",
        () => "a device or socket",
    };
    format!(
        "{} is {what}, and its owner is {}: not used. Remove it, or {ELSEWHERE}",
        path.display(),
        user(found.uid())
    )
}

/// The error for a link on the path.
pub fn strange_link(path: &Path, owner: u32) -> String {
    let us = Uid::effective().as_raw();
    format!(
        "{} is a symbolic link, and its owner is {}: not followed, since only links of {} are. \
         Name the directory that it leads to, give the link to its user (`chown -h {us}`), or {ELSEWHERE}",
        path.display(),
        user(owner),
        match us {
            0 => user(0),
            us => format!("{} and {}", user(us), user(0)),
        }
    )
}

/// The error for a file with hard links.
pub fn many_names(path: &Path, found: &Metadata) -> String {
    format!(
        "{} has {} names (hard links), so that writing to it would change another file, too; its owner is {}. Remove it, or {ELSEWHERE}",
        path.display(),
        found.nlink(),
        user(found.uid())
    )
}

/// The error for a file of another user.
pub fn not_ours(path: &Path, owner: u32, wanted: u32) -> String {
    let shown = path.display();
    let (is, should) = (user(owner), user(wanted));
    let way_out = match owner {
        UNKNOWN => format!(
            "This id stands for owners that are not known here: in a container run with the user id that owns the mounted directory outside \
             (`--user`, `--userns=keep-id`), on NFS that maps root to nobody as an ordinary user; or {ELSEWHERE} on a disk of this machine"
        ),
        _ => format!(
            "Run this as its owner, give it to the user (`chown -R {wanted} {shown}`), or {ELSEWHERE}"
        ),
    };
    format!("{shown} belongs to {is}, not to {should}: not used. {way_out}")
}

/// The error for a directory that others can write to.
pub fn open_to_others(path: &Path, mode: u32) -> String {
    format!(
        "{} can be written by others (mode {:o}): make it private (`chmod go-w`), or {ELSEWHERE}",
        path.display(),
        mode & 0o7777
    )
}

/// `mallory (uid 1000)`.
fn user(uid: u32) -> String {
    let name = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    let name = name.map_or_else(|| "nobody here".to_owned(), |user| user.name);
    format!("{name} (uid {uid})")
}

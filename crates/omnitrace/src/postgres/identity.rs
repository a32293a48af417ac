//! The user that the server runs as. `initdb` and `postgres` refuse root.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::unistd::{Gid, Uid, User};
use owned::Owner;

/// An unprivileged user to change to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User name, for messages.
    pub name: String,
    /// User id.
    pub uid: Uid,
    /// Its primary group.
    pub gid: Gid,
}

impl Identity {
    /// `None` when this process is not root and needs no change; else `postgres`, else `nobody`.
    pub fn for_server() -> Result<Option<Self>> {
        if !Uid::effective().is_root() {
            return Ok(None);
        }
        for name in ["postgres", "nobody"] {
            if let Some(user) =
                User::from_name(name).with_context(|| format!("cannot look up the user {name}"))?
            {
                return Ok(Some(Self {
                    name: user.name,
                    uid: user.uid,
                    gid: user.gid,
                }));
            }
        }
        bail!(
            "PostgreSQL refuses to run as root, and there is neither a user `postgres` nor `nobody` to run it as; add one (`useradd --system postgres`) or start as an ordinary user"
        )
    }

    /// Lets a command run as this user, with none of root's groups.
    pub fn apply(&self, command: &mut Command) {
        command.uid(self.uid.as_raw()).gid(self.gid.as_raw());
    }

    /// The user as an owner of files.
    pub fn owner(&self) -> Owner {
        Owner {
            uid: self.uid.as_raw(),
            gid: self.gid.as_raw(),
        }
    }

    /// The first directory on the way to `path` that this user may not enter.
    pub fn blocked_at(&self, path: &Path) -> Option<PathBuf> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let mut ancestors: Vec<&Path> = path.ancestors().collect();
        ancestors.reverse();
        ancestors
            .into_iter()
            .find(|ancestor| {
                std::fs::metadata(ancestor)
                    .is_ok_and(|found| found.is_dir() && !self.may_enter(&found))
            })
            .map(Path::to_owned)
    }

    /// Tests the mode's execute bit of the class this user falls into. It ignores access lists; with those the result may be
    /// a wrong "no".
    fn may_enter(&self, directory: &Metadata) -> bool {
        let bit = if directory.uid() == self.uid.as_raw() {
            0o100
        } else if directory.gid() == self.gid.as_raw() {
            0o010
        } else {
            0o001
        };
        directory.mode() & bit != 0
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_directory_closed_to_others_is_found() {
        let root = tempfile::tempdir().unwrap();
        std::fs::set_permissions(root.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let closed = root.path().join("closed");
        std::fs::create_dir_all(closed.join("inner")).unwrap();
        std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o700)).unwrap();
        let stranger = Identity {
            name: "stranger".into(),
            uid: Uid::from_raw(54_321),
            gid: Gid::from_raw(54_321),
        };

        assert_eq!(stranger.blocked_at(&closed.join("inner")), Some(closed));
        assert_eq!(stranger.blocked_at(root.path()), None);
    }
}

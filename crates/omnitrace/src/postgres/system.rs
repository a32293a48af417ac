//! Server binaries that are installed on the machine.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Installation;
use super::identity::Identity;

/// The oldest version that the PostgreSQL project still maintained when this was written (Ubuntu 22.04 has it).
const OLDEST: u32 = 14;

/// A directory with one sub-directory per version: `<base>/<prefix><version>/bin`.
#[derive(Debug, Clone)]
pub struct Root {
    /// For example `/usr/lib/postgresql`.
    pub base: PathBuf,
    /// The text before the version: empty, or `pgsql-`.
    pub prefix: &'static str,
}

/// Where Debian, Ubuntu, the PostgreSQL project's own packages and Homebrew put servers, off the `PATH`.
pub fn default_roots() -> Vec<Root> {
    let roots = [
        ("/usr/lib/postgresql", ""),
        ("/usr", "pgsql-"),
        ("/opt/homebrew/opt", "postgresql@"),
        ("/usr/local/opt", "postgresql@"),
    ];
    roots
        .map(|(base, prefix)| Root {
            base: base.into(),
            prefix,
        })
        .into()
}

/// The first usable installation: on `path`, then in `roots`, newest version first. The error lists the candidates and why
/// each was rejected.
pub fn find(
    path: &OsStr,
    roots: &[Root],
    user: Option<&Identity>,
) -> Result<Installation, Vec<String>> {
    let mut passed_over = Vec::new();
    let on_path = std::env::split_paths(path).filter(|directory| directory.is_absolute());
    for directory in on_path.chain(roots.iter().flat_map(newest_first)) {
        if !directory.join("postgres").is_file() {
            continue;
        }
        match check(&directory, user) {
            Ok(installation) => return Ok(installation),
            Err(reason) => passed_over.push(format!("{}: {reason}", directory.display())),
        }
    }
    if passed_over.is_empty() {
        passed_over.push(
            "no `postgres` on the PATH, in /usr/lib/postgresql/*/bin or in /usr/pgsql-*/bin"
                .to_owned(),
        );
    }
    Err(passed_over)
}

fn newest_first(root: &Root) -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir(&root.base)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry
                .file_name()
                .to_str()?
                .strip_prefix(root.prefix)?
                .parse()
                .ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, bin)| bin).collect()
}

fn check(directory: &Path, user: Option<&Identity>) -> Result<Installation, String> {
    // A link on the PATH points to the real directory, where `initdb` and the libraries are.
    let postgres = directory
        .join("postgres")
        .canonicalize()
        .map_err(|error| error.to_string())?;
    let bin = postgres
        .parent()
        .ok_or("has no parent directory")?
        .to_owned();
    if !bin.join("initdb").is_file() {
        return Err("has `postgres` but no `initdb` beside it".to_owned());
    }
    if let Some((user, blocked)) = user.and_then(|user| Some((user, user.blocked_at(&bin)?))) {
        return Err(format!(
            "the user {}, as which the server would run, may not enter {}",
            user.name,
            blocked.display()
        ));
    }
    installation(bin, "system")
}

/// Asks the server for its version, which also shows that it runs on this machine.
pub fn installation(bin: PathBuf, source: &'static str) -> Result<Installation, String> {
    let output = Command::new(bin.join("postgres"))
        .arg("--version")
        .output()
        .map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() {
        let problem = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(format!(
            "`postgres --version` ended with {}: {problem}",
            output.status
        ));
    }
    let Some((version, major)) = parse_version(&said) else {
        return Err(format!("`postgres --version` said {said:?}"));
    };
    if major < OLDEST {
        return Err(format!(
            "is version {version}; the oldest supported is {OLDEST}"
        ));
    }
    Ok(Installation {
        bin,
        version,
        major,
        source,
    })
}

/// `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)` -> (`15.14`, 15); `18beta1` and `19devel` work too.
fn parse_version(said: &str) -> Option<(String, u32)> {
    let version = said
        .strip_prefix("postgres (PostgreSQL) ")?
        .split_whitespace()
        .next()?;
    let digits = version
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(version.len());
    Some((version.to_owned(), version[..digits].parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn fake(bin: &Path, version: &str) {
        std::fs::create_dir_all(bin).unwrap();
        for program in ["postgres", "initdb"] {
            std::fs::write(
                bin.join(program),
                format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n"),
            )
            .unwrap();
            std::fs::set_permissions(bin.join(program), PermissionsExt::from_mode(0o755)).unwrap();
        }
    }

    #[test]
    fn the_newest_version_is_taken_by_number_and_the_path_comes_first() {
        let root = tempfile::tempdir().unwrap();
        for version in ["9", "14", "100"] {
            fake(
                &root.path().join(version).join("bin"),
                &format!("{version}.1 (Debian)"),
            );
        }
        let roots = [Root {
            base: root.path().to_owned(),
            prefix: "",
        }];
        assert_eq!(find(OsStr::new(""), &roots, None).unwrap().version, "100.1");

        let on_path = root.path().join("mine");
        fake(&on_path, "16.2");
        let found = find(on_path.as_os_str(), &roots, None).unwrap();
        assert_eq!(
            (found.version.as_str(), found.major, found.source),
            ("16.2", 16, "system")
        );
    }

    #[test]
    fn what_is_passed_over_is_said() {
        let root = tempfile::tempdir().unwrap();
        fake(&root.path().join("old"), "9.6.24");
        fake(&root.path().join("half"), "16.1");
        std::fs::remove_file(root.path().join("half/initdb")).unwrap();
        let path =
            std::env::join_paths([root.path().join("old"), root.path().join("half")]).unwrap();
        let reasons = find(&path, &[], None).unwrap_err();
        assert!(
            reasons[0].contains("9.6.24") && reasons[0].contains("oldest supported"),
            "{reasons:?}"
        );
        assert!(reasons[1].contains("no `initdb`"), "{reasons:?}");
    }

    #[test]
    fn versions_are_read_as_the_server_says_them() {
        assert_eq!(
            parse_version("postgres (PostgreSQL) 18.6"),
            Some(("18.6".into(), 18))
        );
        assert_eq!(
            parse_version("postgres (PostgreSQL) 19devel"),
            Some(("19devel".into(), 19))
        );
        assert_eq!(parse_version("mysqld 8"), None);
    }
}

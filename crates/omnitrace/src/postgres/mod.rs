//! Postgres, from wherever it can be had: `DATABASE_URL`, the machine's own packages, a download.
//!
//! The order and every path are the same for `omnitrace up`, for the role `omnitrace postgres` and for the tests.
//!
//! - [`find`]: which server binaries to use ([`system`], else [`download`]).
//! - [`identity`]: the user the server runs as (`initdb` refuses root), and directories that user can reach.
//! - [`cluster`]: the private data directory; [`recover`]: what a crashed run left in it.
//! - [`server`]: the running server; [`role`]: the process that supervises it.

pub mod cluster;
pub mod download;
pub mod external;
pub mod identity;
pub mod recover;
pub mod role;
pub mod server;
pub mod system;

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::environment;
use identity::Identity;

/// The sources of server binaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Installed, else downloaded.
    Auto,
    /// Installed only.
    System,
    /// Downloaded only.
    Download,
}

/// The options of [`find`].
#[derive(Debug, Clone)]
pub struct Options {
    /// `OMNITRACE_POSTGRES`.
    pub choice: Choice,
    /// `PATH`.
    pub path: OsString,
    /// Directories of versioned installations, such as `/usr/lib/postgresql`.
    pub roots: Vec<system::Root>,
    /// The directory of downloads (`OMNITRACE_CACHE_DIR`).
    pub cache: PathBuf,
    /// Base URL of the Maven repository (`OMNITRACE_POSTGRES_URL`).
    pub repository: String,
}

/// Server binaries that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// Directory of `postgres` and `initdb`.
    pub bin: PathBuf,
    /// The server's own notation: `15.14`.
    pub version: String,
    /// First number of the version: data directories of different ones are not compatible.
    pub major: u32,
    /// `system` or `download`.
    pub source: &'static str,
}

/// Gets the steps that take long.
pub type Progress<'a> = &'a (dyn Fn(&str) + Sync);

impl Options {
    /// Reads the settings from the environment.
    pub fn from_environment(user: Option<&Identity>) -> Result<Self> {
        let choice = match environment::text("OMNITRACE_POSTGRES")?.as_deref() {
            None | Some("auto") => Choice::Auto,
            Some("system") => Choice::System,
            Some("download") => Choice::Download,
            Some(other) => bail!(
                "OMNITRACE_POSTGRES: got {other:?}; allowed: auto (default), system, download"
            ),
        };
        Ok(Self {
            choice,
            path: environment::path("PATH")?
                .unwrap_or_default()
                .into_os_string(),
            roots: system::default_roots(),
            cache: download::cache_directory(user.is_some())?,
            repository: environment::text("OMNITRACE_POSTGRES_URL")?
                .unwrap_or_else(|| download::MAVEN_CENTRAL.to_owned()),
        })
    }
}

/// Finds server binaries that `user` (`None`: this process's own user) can run.
pub async fn find(
    options: &Options,
    user: Option<&Identity>,
    progress: Progress<'_>,
) -> Result<Installation> {
    let mut passed_over = Vec::new();
    if options.choice != Choice::Download {
        match system::find(&options.path, &options.roots, user) {
            Ok(installation) => return Ok(installation),
            Err(reasons) => passed_over = reasons,
        }
    }
    if options.choice == Choice::System {
        bail!(
            "{}",
            not_found(
                &passed_over,
                "a download is switched off (OMNITRACE_POSTGRES=system)"
            )
        );
    }
    match download::install(&options.cache, &options.repository, user, progress).await {
        Ok(installation) => Ok(installation),
        Err(error) => bail!(
            "{}",
            not_found(&passed_over, &format!("the download failed: {error:#}"))
        ),
    }
}

fn not_found(passed_over: &[String], download: &str) -> String {
    let mut lines = vec!["no PostgreSQL server to run:".to_owned()];
    lines.extend(passed_over.iter().map(|reason| format!("  - {reason}")));
    lines.push(format!("  - {download}"));
    lines.push(
        "install the server (Debian, Ubuntu: `apt-get install postgresql`; Fedora: `dnf install postgresql-server`; \
         macOS: `brew install postgresql@18`), or name one that runs: DATABASE_URL=postgres://user:password@host/database"
            .to_owned(),
    );
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing_anywhere(choice: Choice) -> Options {
        Options {
            choice,
            path: OsString::new(),
            roots: Vec::new(),
            cache: std::env::temp_dir().join(format!("omnitrace-no-cache-{}", std::process::id())),
            repository: "http://127.0.0.1:1".to_owned(),
        }
    }

    #[tokio::test]
    async fn nothing_installed_and_no_download_names_the_package_to_install() {
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        for choice in [Choice::Auto, Choice::System, Choice::Download] {
            let options = nothing_anywhere(choice);
            let error = find(&options, None, &|_| {})
                .await
                .expect_err("nothing to find")
                .to_string();
            assert!(error.contains("apt-get install postgresql"), "{error}");
            assert!(error.contains("DATABASE_URL"), "{error}");
            std::fs::remove_dir_all(&options.cache).ok();
        }
    }
}

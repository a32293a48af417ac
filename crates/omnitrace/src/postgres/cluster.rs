//! The private data directory: its location, its owner, and its creation.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::fcntl::Flock;
use nix::sys::signal::Signal;
use owned::{Directory, Owner};

use super::identity::Identity;
use super::{Installation, Progress, recover};
use crate::{files, orphan};

/// Superuser and database of the private server.
pub const USER: &str = "omnitrace";

/// Inside the data directory, so that one rename creates both.
const PASSWORD_FILE: &str = "omnitrace.password";
const NEW_PASSWORD: &str = "password.new";

const DATA: &str = "data";
/// The data directory while `initdb` runs.
const UNFINISHED: &str = "data.new";

/// A crashed run's supervisor may still be stopping its server when the next run starts.
const LOCK_DEADLINE: Duration = Duration::from_secs(30);

/// A data directory that no other process uses while this value lives.
pub struct Cluster {
    /// `PGDATA`.
    pub data: PathBuf,
    /// The superuser's password.
    pub password: String,
    _lock: Flock<std::fs::File>,
}

/// The directory of the server's files: below `data_dir`, unless the server's user cannot enter it.
pub fn home(data_dir: &Path, user: Option<&Identity>, progress: Progress<'_>) -> Result<PathBuf> {
    let data_dir = files::own_directory(data_dir, files::data_directory_mode())?;
    let Some((user, blocked)) = user.and_then(|user| Some((user, user.blocked_at(&data_dir)?)))
    else {
        return Ok(data_dir.join("postgres"));
    };
    let mut hasher = DefaultHasher::new();
    data_dir.hash(&mut hasher);
    let elsewhere = PathBuf::from(format!("/var/lib/omnitrace/{:016x}", hasher.finish()));
    progress(&format!(
        "the server runs as the user {}, which may not enter {}: its data is kept in {}",
        user.name,
        blocked.display(),
        elsewhere.display()
    ));
    Ok(elsewhere)
}

/// Opens the data directory below `home`: takes its lock, cleans up after a crashed run, runs `initdb` if necessary.
pub async fn open(
    home: &Path,
    installation: &Installation,
    user: Option<&Identity>,
    progress: Progress<'_>,
) -> Result<Cluster> {
    let home = Directory::open_own(home, Some(0o755)).context(files::DATA_DIR)?;
    let lock = lock(home.path(), progress).await?;
    let private = home
        .child(installation.major.to_string(), Some(0o700))
        .context(files::DATA_DIR)?;
    let owner = user.map_or_else(Owner::of_this_process, Identity::owner);
    let shown = private.path().display();
    if user.is_some() {
        private
            .give_to(owner)
            .with_context(|| format!("cannot give {shown} to the server's user"))?;
    }
    let data = private.path().join(DATA);
    for name in [DATA, UNFINISHED] {
        recover::stop_orphans(&private, name, owner, progress).await?;
    }
    private.remove_tree(UNFINISHED)?;
    if private.has(Path::new(DATA).join("PG_VERSION")) {
        // Postgres itself takes it for valid when *any* process has that id by now, and would refuse to start.
        private
            .child(DATA, None)
            .and_then(|data| data.check(owner))
            .context(files::DATA_DIR)?
            .remove("postmaster.pid")
            .with_context(|| format!("cannot remove {}/postmaster.pid", data.display()))?;
    } else {
        private.remove_tree(DATA)?;
        initialise(installation, user, &private, progress).await?;
    }
    let password = files::read_of(&data.join(PASSWORD_FILE), owner).with_context(|| {
        format!("the password of the private server is gone; remove {shown} to start afresh")
    })?;
    Ok(Cluster {
        data,
        password,
        _lock: lock,
    })
}

/// Runs `initdb` beside the final place, then renames once, so that a partly created directory is never used.
async fn initialise(
    installation: &Installation,
    user: Option<&Identity>,
    private: &Directory,
    progress: Progress<'_>,
) -> Result<()> {
    progress(&format!(
        "creating a data directory with PostgreSQL {}",
        installation.version
    ));
    let owner = user.map_or_else(Owner::of_this_process, Identity::owner);
    let password_file = new_password(private.path(), owner)?;
    let mut command = command(
        &installation.bin.join("initdb"),
        user,
        private.path(),
        Signal::SIGTERM,
    );
    command
        .arg("--pgdata")
        .arg(private.path().join(UNFINISHED))
        .arg("--pwfile")
        .arg(&password_file)
        .args([
            "--username",
            USER,
            "--auth",
            "scram-sha-256",
            "--encoding",
            "UTF8",
            "--locale",
            "C",
        ])
        .stdin(Stdio::null());
    let output = tokio::process::Command::from(command)
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| match user {
            Some(user) => format!("cannot run initdb as the user {}", user.name),
            None => "cannot run initdb".to_owned(),
        })?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!(
            "initdb ended with {}:\n{}",
            output.status,
            String::from_utf8_lossy(&said).trim()
        );
    }
    // That user owns both directories, so their names are not resolved again.
    let unfinished = private
        .child(UNFINISHED, None)
        .and_then(|unfinished| unfinished.check(owner))
        .context(files::DATA_DIR)?;
    private.rename(NEW_PASSWORD, &unfinished, PASSWORD_FILE)?;
    private.rename(UNFINISHED, private, DATA)?;
    Ok(())
}

/// A random password in a file that only `owner`, who runs `initdb`, and root can read.
fn new_password(private: &Path, owner: Owner) -> Result<PathBuf> {
    let half = || uuid::Uuid::new_v4().simple();
    let file = private.join(NEW_PASSWORD);
    // That user owns the directory already, so the file changes its owner before it gets its name.
    files::write_private_for(&file, format!("{}{}", half(), half()).as_bytes(), owner)?;
    Ok(file)
}

/// A server program with an environment of its own, in a directory that its user can enter.
pub fn command(
    program: &Path,
    user: Option<&Identity>,
    directory: &Path,
    on_orphaned: Signal,
) -> Command {
    let mut command = Command::new(program);
    // A user's PGDATA, PGOPTIONS, LC_* and so on are about other servers.
    command
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .current_dir(directory);
    if let Some(user) = user {
        user.apply(&mut command);
    }
    orphan::die_with_parent(&mut command, on_orphaned);
    command
}

/// The lock for using the server's files.
pub fn lock_path(home: &Path) -> PathBuf {
    home.join("lock")
}

async fn lock(home: &Path, progress: Progress<'_>) -> Result<Flock<std::fs::File>> {
    let path = lock_path(home);
    let start = Instant::now();
    let mut told = false;
    loop {
        if let Some(lock) = files::try_lock(&path).context(files::DATA_DIR)? {
            return Ok(lock);
        }
        if !told {
            progress(&format!(
                "waiting for the process that uses {}",
                home.display()
            ));
            told = true;
        }
        if start.elapsed() > LOCK_DEADLINE {
            bail!(
                "another process uses the Postgres data in {}; stop it, or choose another --data-dir",
                home.display()
            );
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

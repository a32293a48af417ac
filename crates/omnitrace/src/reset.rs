//! `omnitrace reset`: removes what the other commands have written.
//!
//! Only names that they write are removed: `--data-dir` may name a directory that holds other files of its user.

use std::fs::File;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use nix::fcntl::Flock;
use owned::{Directory, Owner, Place};

use crate::files::{self, DATA_DIR};
use crate::postgres::identity::Identity;
use crate::postgres::{cluster, download};
use crate::terminal::{quoted, say};
use crate::up::standard;
use crate::up::state::lock_path;

/// Examples of `omnitrace help reset`.
pub const EXAMPLES: &str = "\
Examples:
  omnitrace reset                                       orders, logs, alerts of .omnitrace
  omnitrace reset --all --yes                           … and the PostgreSQL; do not ask";

/// The files that `up` and `postgres` write in a data directory. The lock is last: it is held until all others are gone.
const IN_DATA_DIR: [&str; 9] = [
    "postgres",
    standard::DIRECTORY,
    "logs",
    "herald",
    "alerts.json",
    "scrape.json",
    "state.json",
    "targets.json",
    "up.lock",
];

/// `omnitrace reset`.
#[derive(Debug, Args)]
pub struct ResetArgs {
    /// Directory of the stack
    #[arg(long, value_name = "DIR", default_value = ".omnitrace")]
    data_dir: PathBuf,
    /// Remove the PostgreSQL that was downloaded, too; stacks in other directories may run it
    #[arg(long)]
    all: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Prints the files, and removes them if the user confirms.
pub fn run(args: &ResetArgs) -> Result<ExitCode> {
    let user = Identity::for_server()?;
    let mut written = OwnFiles::default();
    if args.data_dir.is_dir() {
        written.add_stack(&args.data_dir, user.as_ref())?;
    }
    if args.all {
        written.add_downloads(&download::cache_directory(user.is_some())?)?;
    }
    if written.paths.is_empty() {
        say("nothing to remove");
        return Ok(ExitCode::SUCCESS);
    }
    say("to be removed:");
    for path in &written.paths {
        say(&format!("  {}", shown(path)));
    }
    if !args.yes && !confirmed()? {
        say("nothing was removed");
        return Ok(ExitCode::FAILURE);
    }
    written.remove()?;
    Ok(ExitCode::SUCCESS)
}

fn confirmed() -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("nothing was removed: there is no terminal to ask on; --yes removes without asking");
    }
    say("remove all of it? [y/N]");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// The files that this program has written, and the locks that keep other processes from using them meanwhile.
#[derive(Default)]
struct OwnFiles {
    paths: Vec<PathBuf>,
    directories: Vec<PathBuf>,
    locks: Vec<Flock<File>>,
}

impl OwnFiles {
    fn add_stack(&mut self, data_dir: &Path, user: Option<&Identity>) -> Result<()> {
        let server = cluster::home(data_dir, user, &|_| {})?;
        let [stack_lock, server_lock] = [lock_path(data_dir), cluster::lock_path(&server)];
        // Without a lock of this program, files with these names belong to another program.
        if !is_file(&stack_lock) && !is_file(&server_lock) {
            return Ok(());
        }
        let data_dir = own_directory(data_dir, DATA_DIR)?;
        let in_use = "it is in use: `omnitrace stop` ends a stack";
        self.lock(&stack_lock, DATA_DIR, in_use)?;
        if is_file(&server_lock) {
            self.lock(&server_lock, DATA_DIR, in_use)?;
        }
        let names = IN_DATA_DIR.map(|name| data_dir.join(name));
        let elsewhere = (!server.starts_with(&data_dir)).then_some(server);
        let paths = elsewhere.into_iter().chain(names);
        self.paths.extend(paths.filter(|path| path.exists()));
        self.directories.push(data_dir);
        Ok(())
    }

    fn add_downloads(&mut self, cache: &Path) -> Result<()> {
        if !cache.is_dir() {
            return Ok(());
        }
        let cache = own_directory(cache, download::CACHE_DIR)?;
        let in_use = "a process downloads PostgreSQL now";
        self.lock(&download::lock_path(&cache), download::CACHE_DIR, in_use)?;
        let mut paths = Vec::new();
        for entry in cache.read_dir()? {
            let path = entry?.path();
            if download::wrote(&path) {
                paths.push(path);
            }
        }
        paths.sort_by_key(|path| *path == download::lock_path(&cache));
        self.paths.extend(paths);
        self.directories.push(cache);
        Ok(())
    }

    fn lock(&mut self, path: &Path, option: &'static str, in_use: &str) -> Result<()> {
        match files::try_lock(path).context(option)? {
            Some(lock) => self.locks.push(lock),
            None => bail!("nothing was removed from {}: {in_use}", shown(path)),
        }
        Ok(())
    }

    fn remove(self) -> Result<()> {
        for path in &self.paths {
            Place::of(path, Owner::of_this_process())?.remove_tree()?;
        }
        for directory in &self.directories {
            let name = shown(directory);
            match owned::remove_empty(directory) {
                Ok(()) => say(&format!("removed {name}")),
                Err(_) => say(&format!(
                    "removed all of this program's in {name}; the rest stays"
                )),
            }
        }
        Ok(())
    }
}

/// A file itself, not what a link leads to.
fn is_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_file())
}

fn own_directory(path: &Path, option: &'static str) -> Result<PathBuf> {
    let directory = Directory::open_own(path, None).context(option)?;
    Ok(directory.path().to_owned())
}

fn shown(path: &Path) -> String {
    quoted(&path.display().to_string())
}

//! Scenario files, records and reports on disk.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use gameday::{Mode, Record, Scenario, fits};

use super::args::Files;
use crate::files;

/// A scenario, and what identifies the content of its file.
pub struct Read {
    pub scenario: Scenario,
    pub hash: String,
}

/// The scenarios that are asked for, by name. Every file is read: a mistake in one is not left for later.
pub fn scenarios(args: &Files) -> Result<Vec<Read>> {
    let shown = args.scenarios.display();
    let entries = std::fs::read_dir(&args.scenarios).with_context(|| {
        format!("cannot read the scenarios in {shown}: --scenarios names another directory")
    })?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            found.push(read(&path)?);
        }
    }
    found.sort_by(|a, b| a.scenario.name.cmp(&b.scenario.name));
    let known = found
        .iter()
        .map(|read| read.scenario.name.as_str())
        .collect::<Vec<_>>()
        .join(", ");
    if known.is_empty() {
        bail!("no scenario (*.toml) in {shown}: --scenarios names another directory");
    }
    for pattern in &args.only {
        if !found.iter().any(|read| fits(pattern, &read.scenario.name)) {
            bail!("--only {pattern}: no such scenario; there are: {known}");
        }
    }
    found.retain(|read| {
        args.only.is_empty()
            || args
                .only
                .iter()
                .any(|pattern| fits(pattern, &read.scenario.name))
    });
    Ok(found)
}

fn read(path: &Path) -> Result<Read> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
    let name = path.file_stem().and_then(|name| name.to_str());
    let usable = |name: &&str| {
        name.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let Some(name) = name.filter(usable) else {
        bail!("{shown}: the name of a scenario has letters, digits, - and _ only");
    };
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    Ok(Read {
        scenario: Scenario::parse(name, &shown, &text)?,
        hash: format!("{:016x}", hasher.finish()),
    })
}

fn run_name(mode: Mode, scenario: &str, repeat: u32) -> String {
    format!("{}-{scenario}-{repeat}", mode.as_str())
}

/// The directory of records and reports.
pub struct Out {
    directory: PathBuf,
}

impl Out {
    pub fn new(directory: &Path) -> Result<Self> {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {} (--out)", directory.display()))?;
        let directory = directory.canonicalize()?;
        Ok(Self { directory })
    }

    /// Where a run's stack keeps its files.
    pub fn stack(&self, mode: Mode, scenario: &str, repeat: u32) -> PathBuf {
        self.directory
            .join("stacks")
            .join(run_name(mode, scenario, repeat))
    }

    fn record_path(&self, mode: Mode, scenario: &str, repeat: u32) -> PathBuf {
        self.directory
            .join("records")
            .join(run_name(mode, scenario, repeat) + ".json")
    }

    /// A run that is finished.
    pub fn record(&self, mode: Mode, scenario: &str, repeat: u32) -> Option<Record> {
        let text = std::fs::read(self.record_path(mode, scenario, repeat)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    pub fn keep(&self, record: &Record) -> Result<()> {
        let path = self.record_path(record.mode, &record.scenario, record.repeat);
        self.write(&path, &serde_json::to_vec_pretty(record)?)
    }

    /// Every record, in the order of scenario, mode and repeat. A file that cannot be read is an error: it would be missing in
    /// the numbers.
    pub fn records(&self) -> Result<Vec<Record>> {
        let directory = self.directory.join("records");
        let Ok(entries) = std::fs::read_dir(&directory) else {
            return Ok(Vec::new());
        };
        let mut records = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                let text = std::fs::read(&path).with_context(|| path.display().to_string())?;
                let record: Record = serde_json::from_slice(&text).with_context(|| {
                    format!("{} is no record of a game day: remove it", path.display())
                })?;
                records.push(record);
            }
        }
        records
            .sort_by(|a, b| (a.mode, &a.scenario, a.repeat).cmp(&(b.mode, &b.scenario, b.repeat)));
        Ok(records)
    }

    pub fn report(&self, name: &str, text: &[u8]) -> Result<PathBuf> {
        let path = self.directory.join(name);
        self.write(&path, text)?;
        Ok(path)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        }
        files::write_private(path, bytes)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

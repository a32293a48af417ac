//! `state.json` describes a running stack for other commands; `targets.json` lists the targets for the console's scraper.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use owned::Owner;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::replicas::service_of;
use super::scrape::Scraped;
use crate::files;

/// A running stack. Only its owner can read the file: it holds the URL of the private database.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct State {
    /// Process id of `omnitrace up`.
    pub pid: u32,
    /// Everything is up and the probe went through.
    pub ready: bool,
    /// The parts, in start order.
    pub parts: Vec<Part>,
    /// Private database, unless `DATABASE_URL` named one.
    pub database_url: Option<String>,
    /// A part that ends stops all.
    #[serde(default)]
    pub no_restart: bool,
    /// The caller's rules, which the console reads when it starts.
    #[serde(default)]
    pub rules: Option<PathBuf>,
    /// Services of others that are scraped.
    #[serde(default)]
    pub scraped: Vec<Scraped>,
    /// The file of Prometheus's targets in a stack of `--standard`; else the console scrapes, and its file is [`targets_path`].
    #[serde(default)]
    pub prometheus_targets: Option<PathBuf>,
}

/// One child process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Part {
    /// Role (postgres, console, herald, downstream, data, gateway, probe), from the second instance of a service on with a
    /// number (`data-2`); or a part of the standard stack.
    pub name: String,
    /// Process id.
    pub pid: u32,
    /// The start time of the process, as an opaque number: it distinguishes a later process with the same id.
    pub started: Option<u64>,
    /// How often it was started again after it had ended by itself.
    #[serde(default)]
    pub restarts: u32,
    /// `http://ip:port`; instances of a service share one; none for Postgres.
    pub url: Option<String>,
    /// `http://ip:port` of the private listener; only services have one.
    pub admin_url: Option<String>,
    /// A 200 from here means "ready"; none for Postgres.
    #[serde(default)]
    pub ready_url: Option<String>,
    /// `http://ip:port` for OTLP over gRPC; only the console has one.
    #[serde(default)]
    pub otlp_grpc_url: Option<String>,
    /// `http://ip:port` for OTLP over HTTP only, beside `url`; only the console has one.
    #[serde(default)]
    pub otlp_http_url: Option<String>,
}

impl Part {
    /// Its addresses beside `url`, and what each is for.
    pub fn other_urls(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [
            ("admin", &self.admin_url),
            ("OTLP/gRPC", &self.otlp_grpc_url),
            ("OTLP/HTTP", &self.otlp_http_url),
        ];
        all.into_iter()
            .filter_map(|(what, url)| Some((what, url.as_deref()?)))
    }

    /// True while this very process runs.
    pub fn is_alive(&self) -> bool {
        self.started.is_some() && started(self.pid) == self.started
    }
}

impl State {
    /// URL of a part.
    pub fn url(&self, name: &str) -> Option<&str> {
        self.part(name)?.url.as_deref()
    }

    /// A part by name.
    pub fn part(&self, name: &str) -> Option<&Part> {
        self.parts.iter().find(|part| part.name == name)
    }

    /// The same; the error lists the parts.
    pub fn known_part(&self, name: &str) -> Result<&Part> {
        let known = || {
            self.parts
                .iter()
                .map(|part| part.name.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        };
        self.part(name)
            .with_context(|| format!("no part {name:?} runs here; there are: {}", known()))
    }

    /// The same, to change it.
    pub fn part_mut(&mut self, name: &str) -> Option<&mut Part> {
        self.parts.iter_mut().find(|part| part.name == name)
    }

    /// The process `pid` is the part `name` from now on; the addresses stay.
    pub fn begin(&mut self, name: &str, pid: u32) {
        let started = started(pid);
        match self.part_mut(name) {
            Some(part) => {
                (part.pid, part.started) = (pid, started);
                part.restarts += 1;
            }
            None => self.parts.push(Part {
                name: name.to_owned(),
                pid,
                started,
                restarts: 0,
                url: None,
                admin_url: None,
                ready_url: None,
                otlp_grpc_url: None,
                otlp_http_url: None,
            }),
        }
    }

    /// The parts that have an admin listener.
    pub fn services(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parts
            .iter()
            .filter_map(|part| Some((part.name.as_str(), part.admin_url.as_deref()?)))
    }

    /// Writes `state.json` and the file of targets.
    pub fn write(&self, data_dir: &Path) -> Result<()> {
        files::write_private(&path(data_dir), &serde_json::to_vec_pretty(self)?)?;
        let targets = match &self.prometheus_targets {
            Some(path) => path.clone(),
            None => targets_path(data_dir),
        };
        files::write_private(&targets, &serde_json::to_vec_pretty(&self.targets())?)
    }

    /// Removes both files.
    pub fn remove(data_dir: &Path) {
        for path in [path(data_dir), targets_path(data_dir)] {
            files::remove_file(&path, Owner::of_this_process()).ok();
        }
    }

    /// The targets of the console or of Prometheus, in the format `file_sd`.
    fn targets(&self) -> Vec<Value> {
        let is_standard = self.prometheus_targets.is_some();
        // The configuration of Prometheus has herald. It also takes the service's name from each series: as a label of the
        // target it would rename that of the series.
        let herald = self.url("herald").filter(|_| !is_standard);
        let service = |(name, url): (&str, &str)| {
            let targets = [url.trim_start_matches("http://")];
            match is_standard {
                true => json!({"targets": targets}),
                false => json!({"targets": targets, "labels": {"service_name": service_of(name)}}),
            }
        };
        self.services()
            .map(service)
            .chain(self.scraped.iter().map(Scraped::target))
            .chain(herald.map(herald_target))
            .collect()
    }

    /// `host:port` of all that the console or Prometheus is to scrape.
    pub fn instances(&self) -> Vec<String> {
        let address = |target: Value| Some(target["targets"][0].as_str()?.to_owned());
        self.targets().into_iter().filter_map(address).collect()
    }

    /// Reads `state.json`; `None` when there is none, or one of another version.
    pub fn read(data_dir: &Path) -> Option<Self> {
        serde_json::from_str(&files::read(&path(data_dir)).ok()?).ok()
    }

    /// The stack that runs in `data_dir` now; the error says what to do if there is none.
    pub fn running(data_dir: &Path) -> Result<Self> {
        let shown = data_dir.display();
        let start = "start one with `omnitrace up`, or name its directory with --data-dir";
        if !data_dir.is_dir() {
            bail!("no stack runs in {shown}: there is no such directory; {start}");
        }
        let data_dir = owned::Directory::open_own(data_dir, None).context(files::DATA_DIR)?;
        let data_dir = data_dir.path();
        if files::try_lock(&lock_path(data_dir))
            .context(files::DATA_DIR)?
            .is_some()
        {
            bail!("no stack runs in {shown}; {start}");
        }
        // A file that a killed `up` has left does not describe the running one.
        let holder = files::read(&lock_path(data_dir)).unwrap_or_default();
        let is_its_own = |state: &Self| holder.trim() == state.pid.to_string();
        Self::read(data_dir).filter(is_its_own).with_context(|| {
            format!("the stack in {shown} has only just begun to start; try again")
        })
    }
}

/// Has the name of `deploy/prometheus/prometheus.yml`: herald is not a service, and no objective covers it.
fn herald_target(url: &str) -> Value {
    json!({"targets": [url.trim_start_matches("http://")], "labels": {"job": "herald"}})
}

/// The lock that `omnitrace up` holds.
pub fn lock_path(data_dir: &Path) -> PathBuf {
    data_dir.join("up.lock")
}

/// The file of the console's targets, in Prometheus's `file_sd` format.
pub fn targets_path(data_dir: &Path) -> PathBuf {
    data_dir.join("targets.json")
}

/// The state file.
pub fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("state.json")
}

/// Start time of a process in clock ticks since boot: field 22 of `/proc/<pid>/stat`.
#[cfg(target_os = "linux")]
pub fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field, the name in parentheses, may hold spaces.
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
    let state = fields.next()?;
    if state == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// Start time of a process, as `ps` writes it: a hash of that text, which the caller's language and time zone must not change.
#[cfg(not(target_os = "linux"))]
pub fn started(pid: u32) -> Option<u64> {
    use std::hash::{DefaultHasher, Hash, Hasher};

    let listed = std::process::Command::new("ps")
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .args(["-o", "stat=", "-o", "lstart=", "-p", &pid.to_string()])
        .output()
        .ok()?;
    let text = String::from_utf8(listed.stdout).ok()?;
    let (state, start) = text.trim().split_once(' ')?;
    if state.starts_with('Z') {
        return None;
    }
    let mut hasher = DefaultHasher::new();
    start.trim().hash(&mut hasher);
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_process_with_the_same_id_is_another_one() {
        let mut part = Part {
            name: "data".into(),
            pid: std::process::id(),
            started: started(std::process::id()),
            restarts: 0,
            url: None,
            admin_url: None,
            ready_url: None,
            otlp_grpc_url: None,
            otlp_http_url: None,
        };
        assert!(part.is_alive());
        part.started = part.started.map(|ticks| ticks - 1);
        assert!(!part.is_alive());
    }
}

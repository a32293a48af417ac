//! The targets to scrape, from a file in the format of Prometheus's `file_sd`.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Deserialize;

use crate::samples::{Labels, sanitized};

/// The maximum size of the file; a thousand targets need a tenth of it.
const MAX_FILE: u64 = 1 << 20;

/// The most targets.
const MAX_TARGETS: usize = 1_000;

/// The job of targets that name none: `deploy/prometheus/prometheus.yml` uses this name for the targets of its file, and
/// rules select it.
const JOB: &str = "services";

/// One target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// `host:port`.
    pub address: String,
    /// The scraped URL: `http://host:port/metrics`, or as `__scheme__` and `__metrics_path__` say.
    pub url: String,
    /// `service_name`, else empty.
    pub service_name: String,
    /// Labels that every sample gets, sorted, `job` and `instance` among them.
    pub labels: Labels,
}

impl Target {
    /// Its label `job`, which every target has.
    pub fn job(&self) -> &str {
        let found = self.labels.iter().find(|(name, _)| &**name == "job");
        found.map_or(JOB, |(_, job)| job)
    }
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    targets: Vec<String>,
    #[serde(default)]
    labels: std::collections::BTreeMap<String, String>,
}

/// Reads the list.
pub(crate) fn parse(text: &str) -> Result<Vec<Target>, String> {
    let groups: Vec<Group> = serde_json::from_str(text).map_err(|why| why.to_string())?;
    let mut targets: Vec<Target> = Vec::new();
    for group in groups {
        for address in &group.targets {
            let target = target(address, &group.labels)?;
            if !targets.iter().any(|known| known.address == target.address) {
                targets.push(target);
            }
        }
    }
    if targets.len() > MAX_TARGETS {
        return Err(format!(
            "{} targets are more than {MAX_TARGETS}",
            targets.len()
        ));
    }
    Ok(targets)
}

fn target(
    address: &str,
    group: &std::collections::BTreeMap<String, String>,
) -> Result<Target, String> {
    let scheme = group.get("__scheme__").map_or("http", String::as_str);
    let path = group
        .get("__metrics_path__")
        .map_or("/metrics", String::as_str);
    if scheme != "http" {
        return Err(format!(
            "target {address:?}: scheme {scheme:?} is not supported, only http"
        ));
    }
    if address.contains(['/', '?', '#', '@']) || address.trim().is_empty() {
        return Err(format!("target {address:?}: expected host:port"));
    }
    let url = format!("{scheme}://{address}{path}");
    reqwest::Url::parse(&url).map_err(|why| format!("target {address:?}: {why}"))?;
    let mut labels: Labels = group
        .iter()
        .filter(|(name, _)| !name.starts_with("__"))
        .map(|(name, value)| (sanitized(name), value.clone()))
        .collect();
    for (name, value) in [("job", JOB), ("instance", address)] {
        if !labels.iter().any(|(known, _)| known == name) {
            labels.push((name.into(), value.into()));
        }
    }
    labels.sort();
    Ok(Target {
        address: address.into(),
        url,
        service_name: group.get("service_name").cloned().unwrap_or_default(),
        labels,
    })
}

/// The file, read again when it changes.
#[derive(Debug)]
pub(crate) struct TargetsFile {
    path: PathBuf,
    /// The modification time and size of the last read.
    seen: Option<Option<(SystemTime, u64)>>,
}

impl TargetsFile {
    /// The file has not been read yet.
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            seen: None,
        }
    }

    /// The targets, if the file may have changed since the last call. An error is reported once per change.
    pub fn poll(&mut self) -> Option<Result<Vec<Target>, String>> {
        let metadata = std::fs::metadata(&self.path);
        let now = metadata
            .ok()
            .and_then(|data| Some((data.modified().ok()?, data.len())));
        if self.seen == Some(now) {
            return None;
        }
        self.seen = Some(now);
        let read = match now {
            Some((_, size)) if size > MAX_FILE => {
                Err(format!("it is larger than {MAX_FILE} bytes"))
            }
            _ => std::fs::read_to_string(&self.path).map_err(|why| why.to_string()),
        };
        let targets = read.and_then(|text| parse(&text));
        Some(targets.map_err(|why| format!("{}: {why}", self.path.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_sd_is_read() {
        let text = r#"[{"targets":["127.0.0.1:9080"],"labels":{"service_name":"gateway","env":"demo"}},
            {"targets":["[::1]:1","h:2","h:2"],"labels":{"__metrics_path__":"/m"}},{}]"#;
        let targets = parse(text).expect("a good file");
        assert_eq!(targets.len(), 3);
        assert_eq!(targets[0].url, "http://127.0.0.1:9080/metrics");
        assert_eq!(targets[0].service_name, "gateway");
        let names: Vec<_> = targets[0]
            .labels
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(names, ["env", "instance", "job", "service_name"]);
        assert_eq!(targets[1].url, "http://[::1]:1/m");
    }

    #[test]
    fn bad_files_are_explained() {
        for (text, why) in [
            ("", "EOF"),
            ("{}", "expected a sequence"),
            (r#"[{"targets":["http://h:1/m"]}]"#, "expected host:port"),
            (r#"[{"targets":["h:99999999"]}]"#, "h:99999999"),
            (
                r#"[{"targets":["h:1"],"labels":{"__scheme__":"https"}}]"#,
                "only http",
            ),
            (
                r#"[{"targets":["h:1"],"labels":{"a":1}}]"#,
                "expected a string",
            ),
        ] {
            let said = parse(text).expect_err(text);
            assert!(said.contains(why), "{text}: {said}");
        }
    }
}

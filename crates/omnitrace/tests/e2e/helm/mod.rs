//! What `deploy/helm/omnitrace` promises, asked of what Helm renders: `just test-helm`. No cluster is needed for that.

mod calls;
mod files;
mod node_logs;
mod pods;
mod references;
pub(crate) mod rendering;
mod values;

use std::path::PathBuf;

use crate::harness::{repository, run_tool};

/// Namespace that everything is rendered for.
pub(crate) const NAMESPACE: &str = "shop";

fn chart(file: &str) -> PathBuf {
    repository("deploy/helm/omnitrace").join(file)
}

pub(crate) fn path(file: &str) -> String {
    chart(file).display().to_string()
}

/// Runs Helm on the chart with a profile and values that change it: whether it succeeded, and what it said.
fn helm(command: &[&str], profile: Option<&str>, set: &[&str]) -> (bool, String) {
    let chart = path("");
    let mut arguments = command.to_vec();
    arguments.extend([chart.as_str(), "--namespace", NAMESPACE]);
    let profile = profile.map(|profile| path(&format!("values-{profile}.yaml")));
    if let Some(profile) = &profile {
        arguments.extend(["--values", profile]);
    }
    for value in set {
        arguments.extend(["--set", value]);
    }
    let (succeeded, said) = run_tool("helm", &arguments);
    // It tells of every link that it follows.
    let said = said.lines().filter(|line| !line.contains("symbolic link"));
    (succeeded, said.map(|line| format!("{line}\n")).collect())
}

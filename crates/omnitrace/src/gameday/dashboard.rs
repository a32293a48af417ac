//! The queries of a dashboard as its address sets its variables.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use url::Url;

/// Grafana's own variables, as they are over the last minutes of a stack that is scraped every 5 s.
const BUILT_IN: [(&str, &str); 5] = [
    ("__rate_interval", "1m"),
    ("__interval", "15s"),
    ("__range", "5m"),
    ("__range_s", "300"),
    ("__interval_ms", "15000"),
];

/// The PromQL of each panel of the dashboard that `url` (`…/d/UID?var-NAME=VALUE`) leads to.
pub fn queries(directory: &Path, url: &Url) -> Result<Vec<String>> {
    let mut path = url.path_segments().into_iter().flatten();
    let uid = path
        .find(|part| *part == "d")
        .and_then(|_| path.next())
        .context("no dashboard in the address")?;
    let dashboard = find(directory, uid)?;
    let mut variables: Vec<(String, String)> = url
        .query_pairs()
        .filter_map(|(name, value)| {
            Some((name.strip_prefix("var-")?.to_owned(), value.into_owned()))
        })
        .collect();
    variables.extend(BUILT_IN.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let mut others: Vec<String> = dashboard
        .pointer("/templating/list")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|variable| Some(variable["name"].as_str()?.to_owned()))
        .collect();
    others.retain(|name| !variables.iter().any(|(known, _)| known == name));
    // A variable that the address does not set is at "All".
    variables.extend(others.into_iter().map(|name| (name, ".*".to_owned())));
    // The longer name first, since the shorter one may begin it.
    variables.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    let mut found = Vec::new();
    collect(&dashboard["panels"], &mut found);
    if found.is_empty() {
        bail!("the dashboard {uid} has no query");
    }
    Ok(found
        .into_iter()
        .map(|query| substituted(query, &variables))
        .collect())
}

fn find(directory: &Path, uid: &str) -> Result<Value> {
    let entries = std::fs::read_dir(directory)
        .with_context(|| format!("cannot read {}", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            let text = std::fs::read_to_string(&path)?;
            let dashboard: Value =
                serde_json::from_str(&text).with_context(|| path.display().to_string())?;
            if dashboard["uid"] == uid {
                return Ok(dashboard);
            }
        }
    }
    bail!("no dashboard {uid} in {}", directory.display())
}

/// Panels may hold panels. Queries of other languages have another data source.
fn collect<'a>(panels: &'a Value, found: &mut Vec<&'a str>) {
    for panel in panels.as_array().into_iter().flatten() {
        collect(&panel["panels"], found);
        for target in panel["targets"].as_array().into_iter().flatten() {
            let source = if target["datasource"].is_null() {
                &panel["datasource"]
            } else {
                &target["datasource"]
            };
            if source["type"] == "prometheus" {
                found.extend(target["expr"].as_str());
            }
        }
    }
}

fn substituted(query: &str, variables: &[(String, String)]) -> String {
    variables
        .iter()
        .fold(query.to_owned(), |query, (name, value)| {
            query
                .replace(&format!("${{{name}}}"), value)
                .replace(&format!("${name}"), value)
        })
}

//! What `deploy/compose.yaml` gives a container: its arguments and its environment.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::Config;

/// The file, and the values of its `${VARIABLES}`.
pub struct Compose {
    file: Value,
    variables: BTreeMap<String, String>,
}

impl Compose {
    /// Reads the file. Each variable that `variables` does not have gets its default.
    pub fn read(deploy: &Path, variables: BTreeMap<String, String>) -> Result<Self> {
        let config = Config::read(deploy, "compose.yaml")?;
        let file = serde_saphyr::from_str(config.text()).context("deploy/compose.yaml")?;
        Ok(Self { file, variables })
    }

    /// The value of a variable that is set.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// The `command` of a service. The value of an option that is a path in the container becomes its place on this machine.
    pub fn arguments(&self, service: &str, places: &[(&str, String)]) -> Result<Vec<String>> {
        let command = self.file["services"][service]["command"].as_array();
        let command = command.with_context(|| missing(&format!("services.{service}.command")))?;
        let mut arguments = Vec::new();
        for argument in command {
            let argument = self.expand(argument)?;
            let path = argument
                .split_once('=')
                .filter(|(_, value)| value.starts_with('/'));
            arguments.push(match path {
                None => argument,
                Some((option, path)) => {
                    let place = places.iter().find(|(container, _)| *container == path);
                    let (_, place) = place.with_context(|| {
                        format!("deploy/compose.yaml: {service} has {argument}, and that path has no place without a container")
                    })?;
                    format!("{option}={place}")
                }
            });
        }
        Ok(arguments)
    }

    /// The `environment` of a service.
    pub fn environment(&self, service: &str) -> Result<Vec<(String, String)>> {
        let path = format!("services.{service}.environment");
        self.map(
            &self.file["services"][service]["environment"],
            &path,
            |_| true,
        )
    }

    /// The variables about telemetry that all services have. Addresses and switches of a service are the caller's own.
    pub fn telemetry(&self) -> Result<Vec<(String, String)>> {
        let about_telemetry =
            |name: &str| name.starts_with("OTEL_") || name == "OMNITRACE_EXEMPLAR_INTERVAL_MS";
        self.map(&self.file["x-telemetry"], "x-telemetry", about_telemetry)
    }

    fn map(
        &self,
        map: &Value,
        path: &str,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<(String, String)>> {
        let map = map.as_object().with_context(|| missing(path))?;
        let wanted = map.iter().filter(|(name, _)| wanted(name));
        wanted
            .map(|(name, value)| Ok((name.clone(), self.expand(value)?)))
            .collect()
    }

    /// Replaces `${NAME:-default}`.
    fn expand(&self, value: &Value) -> Result<String> {
        let Some(text) = value.as_str() else {
            bail!("deploy/compose.yaml: {value} is not a text");
        };
        let mut expanded = String::new();
        let mut rest = text;
        while let Some((before, from)) = rest.split_once("${") {
            let (variable, after) = from
                .split_once('}')
                .with_context(|| format!("deploy/compose.yaml: {text}: a variable without end"))?;
            let (name, default) = variable.split_once(":-").with_context(|| {
                format!("deploy/compose.yaml: {text}: the variable {variable} has no default")
            })?;
            expanded.push_str(before);
            expanded.push_str(self.variables.get(name).map_or(default, String::as_str));
            rest = after;
        }
        expanded.push_str(rest);
        Ok(expanded)
    }
}

fn missing(path: &str) -> String {
    format!("deploy/compose.yaml has no {path} any more")
}

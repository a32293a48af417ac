//! Where each part listens on this machine.

use std::collections::BTreeMap;

/// Every `host:port` of the Compose network that a file of `deploy/` names or that its host listens on.
const NAMES: [&str; 18] = [
    "collector:4317",
    "collector:4318",
    "collector:8888",
    "collector:8889",
    "collector:8890",
    "collector:13133",
    "jaeger:4317",
    "jaeger:4318",
    "jaeger:8888",
    "jaeger:13133",
    "jaeger:16685",
    "jaeger:16686",
    "loki:3100",
    "prometheus:9090",
    "alertmanager:9093",
    "postgres-exporter:9187",
    "blackbox:9115",
    "herald:9095",
];

/// The address on this machine for each address of the Compose network.
#[derive(Debug, Clone)]
pub struct Addresses {
    local: BTreeMap<String, String>,
}

impl Addresses {
    /// Asks `choose` for the `ip:port` of each address.
    ///
    /// # Errors
    /// The error of `choose`.
    pub fn choose<E>(mut choose: impl FnMut(&'static str) -> Result<String, E>) -> Result<Self, E> {
        let pairs = NAMES.map(|name| Ok((name.to_owned(), choose(name)?)));
        let local = pairs.into_iter().collect::<Result<_, E>>()?;
        Ok(Self { local })
    }

    /// `ip:port` for `host:port` of the Compose network.
    ///
    /// # Panics
    /// If there is no such address.
    pub fn of(&self, name: &str) -> &str {
        self.local
            .get(name)
            .unwrap_or_else(|| panic!("no such address: {name}"))
    }

    /// Points an address somewhere else, or adds one.
    pub fn set(&mut self, name: &str, to: &str) {
        self.local.insert(name.to_owned(), to.to_owned());
    }

    /// The port alone.
    pub fn port(&self, name: &str) -> &str {
        let address = self.of(name);
        address.rsplit_once(':').map_or(address, |(_, port)| port)
    }

    /// `http://ip:port`.
    pub fn url(&self, name: &str) -> String {
        format!("http://{}", self.of(name))
    }

    /// All pairs.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.local
            .iter()
            .map(|(name, local)| (name.as_str(), local.as_str()))
    }
}

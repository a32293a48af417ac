//! A file of `deploy/` on its way to this machine.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::Addresses;

/// The text of a configuration, and its name below `deploy/`.
pub struct Config {
    name: String,
    text: String,
}

impl Config {
    /// Reads `deploy/<name>`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(deploy: &Path, name: &str) -> Result<Self> {
        let path = deploy.join(name);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self::made(name, text))
    }

    /// A configuration that `deploy/` does not have.
    pub fn made(name: &str, text: String) -> Self {
        let name = name.to_owned();
        Self { name, text }
    }

    /// Replaces every `from`.
    ///
    /// # Errors
    /// The text has no `from`: the program would run with something else than the caller believes.
    pub fn replace(mut self, from: &str, to: &str) -> Result<Self> {
        if !self.text.contains(from) {
            bail!("deploy/{} has no {from:?} any more", self.name);
        }
        self.text = self.text.replace(from, to);
        Ok(self)
    }

    /// Replaces the addresses that `host` itself listens on.
    pub fn listen(mut self, host: &str, addresses: &Addresses) -> Self {
        for (name, local) in addresses.iter() {
            if let Some(port) = name.strip_prefix(&format!("{host}:")) {
                self.text = self.text.replace(&format!("0.0.0.0:{port}"), local);
            }
        }
        self
    }

    /// Replaces the address of a collector's or Jaeger's metrics of itself, which has host and port apart.
    ///
    /// # Errors
    /// The text has no such address.
    pub fn own_metrics(self, local: &str) -> Result<Self> {
        let of = |host: &str, port: &str| format!("host: {host}\n                port: {port}");
        let (host, port) = local.rsplit_once(':').unwrap_or((local, "8888"));
        self.replace(&of("0.0.0.0", "8888"), &of(host, port))
    }

    /// Replaces the addresses that it calls.
    pub fn call(mut self, addresses: &Addresses) -> Self {
        self.text = local(&self.text, addresses);
        self
    }

    /// The text so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Writes it into `directory`; returns its path.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(self, directory: &Path) -> Result<String> {
        let path = directory.join(self.name.replace('/', "-"));
        std::fs::write(&path, self.text)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path.display().to_string())
    }
}

/// `text` with the addresses of this machine.
pub fn local(text: &str, addresses: &Addresses) -> String {
    let mut text = text.to_owned();
    for (name, local) in addresses.iter() {
        text = text.replace(name, local);
    }
    text
}

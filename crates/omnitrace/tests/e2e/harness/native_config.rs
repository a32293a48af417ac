//! The files in `deploy/` for programs that run side by side on one machine: unchanged but for addresses and paths.

use nix::fcntl::{Flock, FlockArg};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};

/// Every `host:port` of the compose network that a configuration may name.
const ADDRESSES: [&str; 25] = [
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
    // Stand-ins of the native stack, see `native_logs`.
    "console:8000",
    "victorialogs:9428",
    "prometheus:9090",
    "alertmanager:9093",
    "postgres-exporter:9187",
    "blackbox:9115",
    "probe:9080",
    "herald:9095",
    "load:9646",
    "grafana:3000",
    "gateway:8080",
    "postgres:5432",
];

static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

/// Below the range from which the kernel takes ports for outgoing connections: one that was free stays free.
pub fn free_port() -> u16 {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 10_000;
    let start = (std::process::id() % u32::from(COUNT)) as u16;
    loop {
        let port = FIRST + (start + NEXT_PORT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        if claim(port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Another test process at the same time takes another port: this one's is locked until it ends, however it ends.
fn claim(port: u16) -> bool {
    let user = nix::unistd::geteuid();
    let path = std::env::temp_dir().join(format!("omnitrace-test-port-{user}-{port}.lock"));
    let file = std::fs::File::create(path).expect("a lock file");
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => {
            std::mem::forget(lock);
            true
        }
        Err(_) => false,
    }
}

/// Where each part of the stack is on this machine.
#[derive(Debug, Clone)]
pub struct Addresses {
    local: BTreeMap<String, String>,
}

impl Addresses {
    /// A free port for every address.
    pub fn new() -> Self {
        let local = ADDRESSES
            .iter()
            .map(|name| ((*name).to_owned(), format!("127.0.0.1:{}", free_port())))
            .collect();
        Self { local }
    }

    /// `ip:port` on this machine for `host:port` of the compose network.
    pub fn of(&self, name: &str) -> &str {
        self.local
            .get(name)
            .unwrap_or_else(|| panic!("no such address: {name}"))
    }

    /// Points an address somewhere else.
    pub fn set(&mut self, name: &str, to: &str) {
        self.local.insert(name.to_owned(), to.to_owned());
    }

    /// The port alone.
    pub fn port(&self, name: &str) -> &str {
        self.of(name).rsplit(':').next().expect("ip:port")
    }

    /// `http://ip:port`.
    pub fn url(&self, name: &str) -> String {
        format!("http://{}", self.of(name))
    }
}

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .find(|directory| directory.join("Cargo.lock").is_file());
    root.expect("the workspace").join(path)
}

/// A configuration on its way to this machine.
pub struct Config {
    name: String,
    text: String,
}

impl Config {
    /// Reads `deploy/<name>`.
    pub fn of(name: &str) -> Self {
        let path = repository("deploy").join(name);
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self {
            name: name.to_owned(),
            text,
        }
    }

    /// A file that only tests have.
    pub fn made(name: &str, text: String) -> Self {
        let name = name.to_owned();
        Self { name, text }
    }

    /// Replaces what stands there; a text that does not stand there is an error, or the test would run something else.
    pub fn replace(mut self, from: &str, to: &str) -> Self {
        assert!(
            self.text.contains(from),
            "deploy/{} has no {from:?} any more",
            self.name
        );
        self.text = self.text.replace(from, to);
        self
    }

    /// Where `part` finds its certificate, in a directory of deploy/tls/certificates.sh.
    pub fn certificates(mut self, directory: Option<&Path>, part: &str) -> Self {
        if let Some(directory) = directory {
            let own = directory.join(part).display().to_string();
            self.text = self.text.replace("/etc/omnitrace/tls", &own);
        }
        self
    }

    /// The addresses that `host` itself listens on.
    pub fn listen(mut self, host: &str, addresses: &Addresses) -> Self {
        for (name, local) in &addresses.local {
            if let Some(port) = name.strip_prefix(&format!("{host}:")) {
                self.text = self.text.replace(&format!("0.0.0.0:{port}"), local);
            }
        }
        self
    }

    /// Every address that it calls.
    pub fn call(mut self, addresses: &Addresses) -> Self {
        for (name, local) in &addresses.local {
            self.text = self.text.replace(name.as_str(), local);
        }
        self
    }

    /// The text, for a program that gets it in another way than a file of this machine.
    pub fn into_text(self) -> String {
        self.text
    }

    /// Writes it into `directory`; returns its path.
    pub fn write(self, directory: &Path) -> String {
        let path = directory.join(self.name.replace('/', "-"));
        std::fs::write(&path, self.text)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path.display().to_string()
    }
}

/// A service's side of mutual TLS, as in compose.tls.yaml: variables, and the files of its directory.
pub fn client_tls(own: &Path) -> [(&'static str, String); 3] {
    [
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "ca.crt"),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "tls.crt"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "tls.key"),
    ]
    .map(|(variable, file)| (variable, own.join(file).display().to_string()))
}

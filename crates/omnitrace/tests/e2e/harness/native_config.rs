//! Free ports for the parts of a [`super::NativeStack`], and the files of `deploy/`.

use std::convert::Infallible;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};

use nix::fcntl::{Flock, FlockArg};
use standard::{Addresses, Config};

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

/// A free port for every address of the standard stack, and for those of the further stores, see `native_logs` and
/// `native_engines`.
pub fn addresses() -> Addresses {
    let free = || format!("127.0.0.1:{}", free_port());
    let mut addresses = Addresses::choose(|_| Ok::<_, Infallible>(free())).expect("free ports");
    for own in [
        "console:8000",
        "victorialogs:9428",
        "victoriametrics:8428",
        "cassandra:7000",
        "cassandra:9042",
        "probe:9080",
    ] {
        addresses.set(own, &free());
    }
    addresses
}

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .find(|directory| directory.join("Cargo.lock").is_file());
    root.expect("the workspace").join(path)
}

/// The directory `deploy` of the repository.
pub fn deploy() -> PathBuf {
    repository("deploy")
}

/// Reads `deploy/<name>`.
pub fn config(name: &str) -> Config {
    Config::read(&deploy(), name).expect("a file of deploy/")
}

/// Where `part` finds its certificate, in a directory of deploy/tls/certificates.sh.
pub fn certified(config: Config, directory: Option<&Path>, part: &str) -> Config {
    const MOUNTED: &str = "/etc/omnitrace/tls";
    match directory {
        Some(directory) if config.text().contains(MOUNTED) => {
            let own = directory.join(part).display().to_string();
            config.replace(MOUNTED, &own).expect("it is there")
        }
        _ => config,
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

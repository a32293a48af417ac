//! The console's settings. It reads no environment: the command line passes them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use listen::Hosts;

use crate::access::Access;
use crate::cors::Origins;

/// The minimum memory. Below it a quarter of the budget, the maximum of a trace, could not hold a trace.
const MIN_MEMORY: u64 = 8 << 20;

/// Settings of [`crate::run()`].
#[derive(Debug, Clone)]
pub struct Settings {
    /// The listening address. Port 0 chooses a free port, which the log line `listening` names.
    pub listen: SocketAddr,
    /// The port of OTLP over gRPC, on the same IP address.
    pub otlp_grpc: OtlpPort,
    /// The port of OTLP over HTTP, beside that of `listen`.
    pub otlp_http: OtlpPort,
    /// Budget for traces, logs, metrics and requests under way, in bytes.
    pub memory_bytes: u64,
    /// The largest body of a request, as sent and once inflated, in bytes. What the budget has no room for is refused too.
    pub max_body_bytes: u64,
    /// The targets, in the format of Prometheus's `file_sd`; read again when the file changes.
    pub targets_file: Option<PathBuf>,
    /// Rules in Prometheus's format; without a file, the bundled ones.
    pub rules_file: Option<PathBuf>,
    /// The file that keeps alerts over a restart, if any.
    pub state_file: Option<PathBuf>,
    /// The receivers of alerts.
    pub notify: Notify,
    /// The URL of the herald whose alerts and silences the pages show and change.
    pub herald_url: Option<String>,
    /// Which clients the console answers.
    pub access: Access,
    /// Time between two scrapes of a target.
    pub scrape_interval: Duration,
    /// Names that it answers to, beside its own address and `localhost`.
    pub allowed_hosts: Hosts,
    /// Pages elsewhere that may send OTLP.
    pub allowed_origins: Origins,
    /// Standard input is a pipe from the parent: shut down at its end.
    pub parent_pipe: bool,
}

/// A port for OTLP only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtlpPort {
    /// None.
    Off,
    /// This one, if nobody else has it.
    IfFree(u16),
    /// This one; 0 is any free one.
    Required(u16),
}

/// The receivers of alerts, in the format of Alertmanager's webhook.
#[derive(Debug, Clone, Default)]
pub struct Notify {
    /// URL that pages and tickets are posted to.
    pub url: Option<String>,
    /// URL that the alert that always fires is posted to once per minute.
    pub watchdog_url: Option<String>,
    /// Secret of both, sent as a bearer token.
    pub secret: Option<String>,
}

/// Reads a size in bytes: `268435456`, `256MiB`, `1GiB`, `512KiB`, `256MB` (powers of ten).
///
/// # Errors
/// A sentence that says what was given and what is allowed; less than 8 MiB is refused.
pub fn parse_memory(text: &str) -> Result<u64, String> {
    let bytes = parse_size(text)?;
    if bytes < MIN_MEMORY {
        return Err(format!("{text:?} is too small: at least 8MiB are needed"));
    }
    Ok(bytes)
}

/// Reads a size in bytes, see [`parse_memory`].
///
/// # Errors
/// A sentence that says what was given and what is allowed.
pub fn parse_size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 8] = [
        ("", 1),
        ("b", 1),
        ("kib", 1 << 10),
        ("mib", 1 << 20),
        ("gib", 1 << 30),
        ("kb", 1_000),
        ("mb", 1_000_000),
        ("gb", 1_000_000_000),
    ];
    let expected = "expected a size such as 256MiB, 1GiB or a number of bytes";
    let trimmed = text.trim();
    let digits = trimmed
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    if number.is_empty() {
        return Err(format!("{text:?} is no size: {expected}"));
    }
    let unit = unit.trim().to_ascii_lowercase();
    let scale = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, scale)| *scale);
    let scale = scale.ok_or_else(|| format!("{text:?} has an unknown unit: {expected}"))?;
    let bytes = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(scale));
    bytes.ok_or_else(|| format!("{text:?} is too large: {expected}"))
}

#[cfg(test)]
mod tests {
    use super::parse_memory;

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [
            ("8388608", 8 << 20),
            ("256MiB", 256 << 20),
            ("256 mib", 256 << 20),
            ("1GiB", 1 << 30),
            ("8192KiB", 8 << 20),
            ("10MB", 10_000_000),
        ] {
            assert_eq!(parse_memory(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_a_reason() {
        for (text, reason) in [
            ("", "no size"),
            ("MiB", "no size"),
            ("-1", "no size"),
            ("1.5GiB", "unknown unit"),
            ("256MiBs", "unknown unit"),
            ("99999999999999999999", "too large"),
            ("99999999999GiB", "too large"),
            ("7MiB", "too small"),
            ("0", "too small"),
        ] {
            let why = parse_memory(text).expect_err(text);
            assert!(why.contains(reason), "{text}: {why}");
        }
    }
}

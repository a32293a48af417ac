//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::profile::Profile;

const AFTER: &str = "\
Users browse /api/data (60 of 100 requests), order (25), read an order back (10) and ask /health (5), with a pause after
each. Every request is the root of a trace of its own, exported over OTLP as service `load`.

Exit code: 0 all thresholds held, 1 one did not, 2 the test could not be run.

Examples:
  loadtest --users 20 --duration 1m                             against http://127.0.0.1:8080
  loadtest --profile spike --users 80 --duration 3m --report-dir target/load
  loadtest --max-p95-ms 250 --max-error-share 0.001 --min-requests 1000 --json | jq .thresholds
  OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:8000 loadtest    its spans to the console of `omnitrace up`

OTEL_EXPORTER_OTLP_ENDPOINT (http://localhost:4318) and the other OTEL_* variables of docs/TELEMETRY.md say where spans go.";

/// A load test whose numbers can be compared with the servers' own.
#[derive(Debug, Clone, Parser)]
#[command(name = "loadtest", version, after_help = AFTER, args_conflicts_with_subcommands = true)]
pub struct Args {
    /// Something else than the load test
    #[command(subcommand)]
    pub command: Option<crate::cost::args::Command>,
    /// The public API: this machine or a bare service name
    #[arg(
        long,
        value_name = "URL",
        env = "GATEWAY_URL",
        default_value = "http://127.0.0.1:8080"
    )]
    pub target: String,
    /// Let the target be any host: ask its owners first
    #[arg(long)]
    pub allow_remote: bool,
    /// Shape of the load
    #[arg(long, value_enum, default_value = "steady")]
    pub profile: Profile,
    /// Users at the most
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub users: u32,
    /// How long, as 30s, 5m, 1h
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = duration)]
    pub duration: Duration,
    /// Shortest pause between a user's requests
    #[arg(long, value_name = "MS", default_value_t = 100)]
    pub think_min_ms: u64,
    /// Longest pause
    #[arg(long, value_name = "MS", default_value_t = 500)]
    pub think_max_ms: u64,
    /// Threshold: share of failed requests, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.01, value_parser = share)]
    pub max_error_share: f64,
    /// Threshold: 95th percentile, coordinated omission corrected
    #[arg(long, value_name = "MS", value_parser = milliseconds)]
    pub max_p95_ms: Option<f64>,
    /// Threshold: 99th percentile, coordinated omission corrected
    #[arg(long, value_name = "MS", value_parser = milliseconds)]
    pub max_p99_ms: Option<f64>,
    /// Threshold: a test with fewer requests says nothing
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub min_requests: u64,
    /// Write report.html, report.md and report.json into this directory
    #[arg(long, value_name = "DIR")]
    pub report_dir: Option<PathBuf>,
    /// Print the report as JSON instead of Markdown
    #[arg(long)]
    pub json: bool,
    /// Serve the clients' numbers as Prometheus metrics at /metrics while running
    #[arg(
        long,
        value_name = "ADDR",
        env = "LOADTEST_METRICS_LISTEN",
        default_value = "127.0.0.1:9646"
    )]
    pub metrics_listen: SocketAddr,
    /// No progress on stderr
    #[arg(long, short)]
    pub quiet: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    slo::Time::try_from(text.to_owned())
        .ok()
        .filter(|time| time.seconds() <= 86_400)
        .map(|time| Duration::from_secs(time.seconds()))
        .ok_or_else(|| {
            "give whole seconds, minutes or hours, as 30s, 5m or 1h30m; at most 24h".to_owned()
        })
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("give a number from 0 to 1, as 0.01 for one in a hundred".to_owned()),
    }
}

fn milliseconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(ms) if (0.0..=3_600_000.0).contains(&ms) => Ok(ms),
        _ => Err("give milliseconds, as 250".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn values() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("24h"), Ok(Duration::from_secs(86_400)));
        for bad in [
            "",
            "0s",
            "5",
            "1.5m",
            "25h",
            "-1s",
            "5x",
            "99999999999999999999s",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!(share("0.5"), Ok(0.5));
        for bad in ["-0.1", "1.1", "NaN", "x"] {
            assert!(share(bad).is_err(), "{bad}");
            assert!(milliseconds(&bad.replace("1.1", "inf")).is_err(), "{bad}");
        }
    }
}

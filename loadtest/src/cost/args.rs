//! The command line of the measurements.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand, value_parser};

use super::report::ROUTES;

/// Measurements beside the load test.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// What each signal costs: CPU per request, latency and throughput, step by step in turn (docs/OVERHEAD.md). Exit code 1: a request failed, or the services did not come to rest
    Overhead(OverheadArgs),
    /// The same handler in other frameworks, each with and without telemetry, in pairs. Exit code 1: a row has faults, such as spans or log lines that are missing
    Peers(PeersArgs),
    /// One process that makes spans at a fixed rate: what is lost, and how its memory grows; OTEL_BSP_* say how it queues. Exit code 1: something was lost, or fewer than 99 % of the rate were made
    Soak(SoakArgs),
    /// CPU time per span of the console and of Jaeger's memory store, in turn on one core, and how long searches take in a full console (docs/BENCHMARKS.md)
    Ingest(IngestArgs),
    /// What each part of the standard stack costs: CPU time and memory per span of collectors and Jaeger, bytes per span on disk, series per service (docs/SCALE.md). An error: a span that was sent did not arrive
    Scale(ScaleArgs),
    /// The process that `soak` watches
    #[command(hide = true)]
    Emit(SoakArgs),
    /// An OTLP/HTTP receiver that counts and answers 200, until standard input ends
    #[command(hide = true)]
    Sink,
}

/// How long and how often.
#[derive(Debug, Clone, Args)]
pub struct Pace {
    /// How often all steps are measured, there and back in turn
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// Length of one measurement in seconds; a fifth of it comes before, uncounted
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = value_parser!(u32).range(1..=600))]
    pub seconds: u32,
    /// Print JSON instead of Markdown
    #[arg(long)]
    pub json: bool,
}

/// `loadtest overhead`.
#[derive(Debug, Clone, Args)]
pub struct OverheadArgs {
    #[command(flatten)]
    pub pace: Pace,
    /// Open-loop rate in requests/s, the same for all routes; by default 60 % of what each route does at saturation without telemetry
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=100_000))]
    pub rate: Option<u32>,
    /// Measure this route; repeat it for others [default: all]
    #[arg(long = "route", value_name = "ROUTE", value_parser = PossibleValuesParser::new(ROUTES))]
    pub routes: Vec<String>,
    /// Connections at saturation
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = value_parser!(u32).range(1..=1000))]
    pub connections: u32,
    /// One round of 0.3 s at 50 requests/s with 4 connections: shows that it runs, and nothing about cost
    #[arg(long, conflicts_with_all = ["rounds", "seconds", "rate", "connections"])]
    pub quick: bool,
    /// The executable `omnitrace`; by default the one beside this
    #[arg(long, value_name = "FILE")]
    pub omnitrace: Option<PathBuf>,
}

impl OverheadArgs {
    /// With what `--quick` stands for.
    pub fn resolved(mut self) -> Self {
        if self.quick {
            (self.pace.rounds, self.pace.seconds) = (1, 1);
            (self.rate, self.connections) = (Some(50), 4);
        }
        self
    }

    /// What is asked for, in the order of [`ROUTES`].
    pub fn routes(&self) -> Vec<&'static str> {
        let asked =
            |route: &&str| self.routes.is_empty() || self.routes.iter().any(|one| one == route);
        ROUTES.into_iter().filter(asked).collect()
    }
}

/// `loadtest peers`.
#[derive(Debug, Clone, Args)]
pub struct PeersArgs {
    #[command(flatten)]
    pub pace: Pace,
    /// Requests/s. From 500 on ours drops log lines of one place (docs/OVERHEAD.md), and its row is faulty
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = value_parser!(u32).range(1..=100_000))]
    pub rate: u32,
    /// A name and the command that serves `GET /work` on the address in LISTEN; repeat it. The command is split at blanks, nothing can be quoted.
    /// Its process has to serve by itself: the CPU time of its children is not seen
    #[arg(long = "peer", value_name = "NAME=COMMAND", required = true, value_parser = peer)]
    pub peers: Vec<Peer>,
}

/// Somebody's server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// What the table calls it; `flask/50`: at 50 requests/s, whatever `--rate` says.
    pub name: String,
    /// Its own rate.
    pub rate: Option<u32>,
    /// Executable and arguments.
    pub command: Vec<String>,
}

/// `loadtest soak`.
#[derive(Debug, Clone, Args)]
pub struct SoakArgs {
    /// Spans/s
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub rate: u32,
    /// How long
    #[arg(long, value_name = "S", default_value_t = 600, value_parser = value_parser!(u32).range(1..=86_400))]
    pub seconds: u32,
    /// Print JSON instead of Markdown
    #[arg(long)]
    pub json: bool,
}

/// `loadtest ingest`.
#[derive(Debug, Clone, Args)]
pub struct IngestArgs {
    /// How often each backend is measured, each time in a new process
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// Requests of 512 spans each time; a tenth more comes before, uncounted
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = value_parser!(u32).range(1..=100_000))]
    pub batches: u32,
    /// Searches of each kind
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = value_parser!(u32).range(1..=100_000))]
    pub searches: u32,
    /// The core that the backends are kept to
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub core: u32,
    /// Jaeger's executable; without it the console is measured alone
    #[arg(long, value_name = "FILE")]
    pub jaeger: Option<PathBuf>,
    /// The executable `omnitrace`; by default the one beside this
    #[arg(long, value_name = "FILE")]
    pub omnitrace: Option<PathBuf>,
    /// Print JSON instead of Markdown
    #[arg(long)]
    pub json: bool,
}

/// `loadtest scale`.
#[derive(Debug, Clone, Args)]
pub struct ScaleArgs {
    /// How often each way of spans is measured, each time with new processes
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// Requests of 512 spans each time; a tenth more comes before, uncounted
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = value_parser!(u32).range(1..=100_000))]
    pub batches: u32,
    /// How long users ask every route of the stack whose series are counted, in seconds
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = value_parser!(u32).range(10..=3600))]
    pub seconds: u32,
    /// The core that collectors and Jaeger are kept to while spans are counted
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub core: u32,
    /// The directory deploy of a checkout; by default that of the current directory or above
    #[arg(long, value_name = "DIR")]
    pub deploy: Option<PathBuf>,
    /// The executable `omnitrace`; by default the one beside this
    #[arg(long, value_name = "FILE")]
    pub omnitrace: Option<PathBuf>,
    /// Print JSON instead of Markdown
    #[arg(long)]
    pub json: bool,
}

fn peer(text: &str) -> Result<Peer, String> {
    let wrong = || format!("{text:?} is no peer; give NAME=COMMAND, or NAME/RATE=COMMAND");
    let (name, command) = text.split_once('=').ok_or_else(wrong)?;
    let command: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
    let (name, rate) = match name.split_once('/') {
        Some((name, rate)) => (name, Some(rate.parse().map_err(|_| wrong())?)),
        None => (name, None),
    };
    if name.is_empty() || command.is_empty() || rate == Some(0) {
        return Err(wrong());
    }
    let name = name.to_owned();
    Ok(Peer {
        name,
        rate,
        command,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(clap::Parser)]
    struct Overhead {
        #[command(flatten)]
        args: OverheadArgs,
    }

    #[test]
    fn routes_are_all_or_those_that_are_asked_for() {
        let routes = |arguments: &[&str]| {
            let all = ["overhead"].iter().chain(arguments);
            Overhead::try_parse_from(all).map(|parsed| parsed.args.routes())
        };
        assert_eq!(routes(&[]).unwrap(), ROUTES);
        let two = ["--route", "/api/data", "--route", "/health"];
        assert_eq!(routes(&two).unwrap(), ["/health", "/api/data"]);
        let wrong = routes(&["--route", "/nowhere"]).unwrap_err().to_string();
        assert!(wrong.contains("/api/orders"), "{wrong}");
    }

    #[test]
    fn a_peer_has_a_name_and_a_command_and_may_have_a_rate() {
        let found = peer("flask/50=python app.py --threads 8").unwrap();
        assert_eq!((found.name.as_str(), found.rate), ("flask", Some(50)));
        assert_eq!(found.command, ["python", "app.py", "--threads", "8"]);
        assert_eq!(peer("go=./go").unwrap().rate, None);
        for bad in ["go", "=x", "go=", "go/0=x", "go/fast=x"] {
            assert!(peer(bad).is_err(), "{bad}");
        }
    }
}

//! The same handler elsewhere: each server with and without telemetry, in pairs.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::slice;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reqwest::{Client, Method, Request};
use serde::Serialize;
use serde_json::json;

use super::args::{Peer, PeersArgs};
use super::generator::{self, Load};
use super::process::{self, Process};
use super::report::{machine, number};
use super::sink::Sink;
use super::spread::Spread;

/// Spans and log lines that the handler makes per request.
const SPANS: u64 = 3;
const LINES: u64 = 1;
/// Less than any server takes for a request.
const LEAST_CPU_US: f64 = 1.0;

/// One measurement of one server.
#[derive(Debug, Default, Serialize)]
struct Sample {
    peer: String,
    round: u32,
    telemetry: bool,
    requests: u64,
    failed: u64,
    /// Whether it rested before and after.
    rested: bool,
    cpu_us: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// Lines that it wrote.
    lines: u64,
    /// What arrived at the sink.
    spans: u64,
    logs: u64,
}

impl Sample {
    /// Why it cannot be compared with others.
    fn faults(&self) -> impl Iterator<Item = &'static str> {
        let lacks = |seen, per_request| self.telemetry && seen < self.requests * per_request;
        let all = [
            (self.failed > 0, "requests failed"),
            (!self.rested, "no rest"),
            (lacks(self.spans, SPANS), "spans are missing"),
            (lacks(self.lines, LINES), "log lines are missing"),
        ];
        all.into_iter().filter(|(is, _)| *is).map(|(_, what)| what)
    }
}

/// Measures all peers and prints; true when no measurement has faults.
pub fn run(args: &PeersArgs) -> Result<bool> {
    distinct(&args.peers)?;
    let directory = tempfile::tempdir()?;
    let sink = Sink::start(directory.path())?;
    let client = generator::client()?;
    let (machine, load_before) = machine();
    let mut samples = vec![];
    for round in 1..=args.pace.rounds {
        for peer in &args.peers {
            // What the first of a pair leaves behind, such as a warm machine, is for each of both in turn.
            for telemetry in [round % 2 == 0, round % 2 != 0] {
                eprintln!(
                    "round {round} of {}: {}, telemetry {telemetry}",
                    args.pace.rounds, peer.name
                );
                let pair = Pair {
                    args,
                    peer,
                    round,
                    telemetry,
                };
                let sample = pair.measure(&client, &sink, directory.path());
                samples.push(sample.with_context(|| format!("peer {}", peer.name))?);
            }
        }
    }
    match args.pace.json {
        true => println!(
            "{:#}",
            json!({"machine": machine, "load_before": load_before, "samples": samples})
        ),
        false => println!(
            "{machine}; load average {load_before:.2} before\n\n{}",
            markdown(args, &samples)
        ),
    }
    Ok(samples
        .iter()
        .all(|sample| sample.faults().next().is_none()))
}

/// Two peers of one name would be one row.
fn distinct(peers: &[Peer]) -> Result<()> {
    let mut names = BTreeSet::new();
    for peer in peers {
        if !names.insert(&peer.name) {
            bail!(
                "--peer: {} is there twice; give each its own name",
                peer.name
            );
        }
    }
    Ok(())
}

/// A wrapper such as `sh -c` takes next to nothing, and its children are not seen.
fn serves_itself(cpu_us: f64) -> Result<()> {
    ensure!(
        cpu_us >= LEAST_CPU_US,
        "its process took {cpu_us:.2} µs of CPU per request: the command has to serve by itself, not a child of it"
    );
    Ok(())
}

struct Pair<'a> {
    args: &'a PeersArgs,
    peer: &'a Peer,
    round: u32,
    telemetry: bool,
}

impl Pair<'_> {
    fn start(&self, sink: &Sink, directory: &Path) -> Result<(Process, SocketAddr)> {
        // Free now, and nobody else is asked to take it.
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let (program, arguments) = self.peer.command.split_first().context("a command")?;
        let mut command = process::command(Path::new(program));
        command
            .args(arguments)
            .env("LISTEN", address.to_string())
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", &sink.url)
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
            .envs(process::DELAYS);
        if !self.telemetry {
            // How OpenTelemetry switches it off, and what is ours beside it.
            command
                .env("OTEL_SDK_DISABLED", "true")
                .env("OTEL_METRICS_EXPORTER", "none")
                .env("OTEL_PROPAGATORS", "none")
                .env("RUST_LOG", "off");
        }
        let mut process = Process::start(&self.peer.name, command, directory)?;
        process.reachable(address)?;
        Ok((process, address))
    }

    fn measure(&self, client: &Client, sink: &Sink, directory: &Path) -> Result<Sample> {
        let (mut process, address) = self.start(sink, directory)?;
        let request = Request::new(Method::GET, format!("http://{address}/work").parse()?);
        let load = Load::Rate(self.peer.rate.unwrap_or(self.args.rate));
        let time = Duration::from_secs(self.args.pace.seconds.into());
        tokio::runtime::Runtime::new()?.block_on(async {
            let received = sink.received().await?;
            let warm = generator::run(client, &request, load, time / 5).await?;
            let rested = process::rest(slice::from_ref(&process)).await?;
            let before = process.cpu()?;
            let outcome = generator::run(client, &request, load, time).await?;
            let rested = process::rest(slice::from_ref(&process)).await? && rested;
            let spent = process.cpu()? - before;
            let cpu_us = spent.as_secs_f64() * 1e6 / outcome.requests() as f64;
            serves_itself(cpu_us)?;
            let lines = process.lines()?;
            process.stop();
            let received = sink.received().await?.since(received);
            let requests = warm.requests() + outcome.requests();
            Ok(Sample {
                peer: self.peer.name.clone(),
                round: self.round,
                telemetry: self.telemetry,
                requests,
                failed: warm.failed + outcome.failed,
                rested,
                cpu_us,
                p50_ms: outcome.percentile_ms(0.5).context("an answer")?,
                p99_ms: outcome.percentile_ms(0.99).context("an answer")?,
                lines,
                spans: received.spans,
                logs: received.logs,
            })
        })
    }
}

fn markdown(args: &PeersArgs, samples: &[Sample]) -> String {
    let mut text = "| | requests/s | without µs | with µs | difference µs | p99 ms without | with | spans per request | log lines | log records | faults |\n|---|---|---|---|---|---|---|---|---|---|---|\n".to_owned();
    for peer in &args.peers {
        let of = |telemetry: bool| {
            samples
                .iter()
                .filter(move |sample| sample.peer == peer.name && sample.telemetry == telemetry)
        };
        let spread = |telemetry, value: fn(&Sample) -> f64, digits| {
            number(Spread::of(of(telemetry).map(value)), digits)
        };
        let pairs = of(false).zip(of(true));
        let difference = Spread::of(pairs.map(|(without, with)| with.cpu_us - without.cpu_us));
        let faults: BTreeSet<_> = of(false).chain(of(true)).flat_map(Sample::faults).collect();
        let faults = match faults.is_empty() {
            true => "none".to_owned(),
            false => Vec::from_iter(faults).join(", "),
        };
        let per_request = |count: fn(&Sample) -> u64| {
            let each = of(true).map(|sample| count(sample) as f64 / sample.requests as f64);
            number(Spread::of(each), 2)
        };
        text += &format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {faults} |\n",
            peer.name,
            peer.rate.unwrap_or(args.rate),
            spread(false, |sample| sample.cpu_us, 0),
            spread(true, |sample| sample.cpu_us, 0),
            number(difference, 0),
            spread(false, |sample| sample.p99_ms, 2),
            spread(true, |sample| sample.p99_ms, 2),
            per_request(|sample| sample.spans),
            per_request(|sample| sample.lines),
            per_request(|sample| sample.logs),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: &str) -> Peer {
        Peer {
            name: name.to_owned(),
            rate: None,
            command: vec!["true".to_owned()],
        }
    }

    fn whole() -> Sample {
        Sample {
            telemetry: true,
            requests: 100,
            rested: true,
            lines: 101,
            spans: 300,
            ..Sample::default()
        }
    }

    #[test]
    fn work_that_is_left_out_is_a_fault() {
        let faults = |sample: Sample| Vec::from_iter(sample.faults());
        assert!(faults(whole()).is_empty());
        let short = Sample {
            lines: 60,
            ..whole()
        };
        assert_eq!(faults(short), ["log lines are missing"]);
        let short = Sample {
            spans: 299,
            rested: false,
            failed: 1,
            ..whole()
        };
        assert_eq!(
            faults(short),
            ["requests failed", "no rest", "spans are missing"]
        );
        let without = Sample {
            telemetry: false,
            lines: 0,
            spans: 0,
            ..whole()
        };
        assert!(faults(without).is_empty());
    }

    #[test]
    fn names_are_distinct() {
        distinct(&[peer("go"), peer("axum")]).unwrap();
        let twice = distinct(&[peer("go"), peer("go")]).unwrap_err();
        assert!(twice.to_string().contains("--peer: go "), "{twice}");
    }

    #[test]
    fn a_process_that_takes_no_cpu_does_not_serve() {
        serves_itself(8.0).unwrap();
        let wrapper = serves_itself(0.02).unwrap_err().to_string();
        assert!(wrapper.contains("serve by itself"), "{wrapper}");
    }
}

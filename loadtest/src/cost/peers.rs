//! The same handler elsewhere: each server with and without telemetry, in pairs.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::{Client, Method, Request};
use serde::Serialize;
use serde_json::json;

use super::args::{Peer, PeersArgs};
use super::generator::{self, Load};
use super::process::{self, Process};
use super::report::{machine, number};
use super::sink::Sink;
use super::spread::Spread;

/// One measurement of one server.
#[derive(Debug, Serialize)]
struct Sample {
    peer: String,
    round: u32,
    telemetry: bool,
    requests: u64,
    failed: u64,
    cpu_us: f64,
    p50_ms: f64,
    p99_ms: f64,
    spans: u64,
    logs: u64,
}

/// Measures all peers and prints; true when every request was answered with success.
pub fn run(args: &PeersArgs) -> Result<bool> {
    let directory = tempfile::tempdir()?;
    let sink = Sink::start(directory.path())?;
    let client = generator::client()?;
    let (machine, load_before) = machine();
    let mut samples = vec![];
    for round in 1..=args.pace.rounds {
        for peer in &args.peers {
            for telemetry in [false, true] {
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
    Ok(samples.iter().all(|sample| sample.failed == 0))
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
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
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
            let before = process.cpu()?;
            let outcome = generator::run(client, &request, load, time).await?;
            let spent = process.cpu()? - before;
            process.stop();
            let received = sink.received().await?.since(received);
            let requests = warm.requests() + outcome.requests();
            Ok(Sample {
                peer: self.peer.name.clone(),
                round: self.round,
                telemetry: self.telemetry,
                requests,
                failed: warm.failed + outcome.failed,
                cpu_us: spent.as_secs_f64() * 1e6 / outcome.requests() as f64,
                p50_ms: outcome.percentile_ms(0.5).context("an answer")?,
                p99_ms: outcome.percentile_ms(0.99).context("an answer")?,
                spans: received.spans,
                logs: received.logs,
            })
        })
    }
}

fn markdown(args: &PeersArgs, samples: &[Sample]) -> String {
    let mut text = "| | requests/s | without µs | with µs | difference µs | p99 ms without | with | spans per request | log records per request |\n|---|---|---|---|---|---|---|---|---|\n".to_owned();
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
        text += &format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
            peer.name,
            peer.rate.unwrap_or(args.rate),
            spread(false, |sample| sample.cpu_us, 0),
            spread(true, |sample| sample.cpu_us, 0),
            number(difference, 0),
            spread(false, |sample| sample.p99_ms, 2),
            spread(true, |sample| sample.p99_ms, 2),
            spread(
                true,
                |sample| sample.spans as f64 / sample.requests as f64,
                2
            ),
            spread(
                true,
                |sample| sample.logs as f64 / sample.requests as f64,
                2
            ),
        );
    }
    text
}

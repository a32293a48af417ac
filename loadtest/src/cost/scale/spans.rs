//! Spans on their way through collectors into Jaeger's store, on one core.

use std::collections::BTreeMap;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use standard::{Addresses, Command, Config, Deployment};
use tempfile::TempDir;

use super::Bench;
use crate::cost::batches::{self, SPANS, TRACE};
use crate::cost::exposition;
use crate::cost::process::{self, Process, Reserved};

/// Requests after which the sender waits until all of them have come through: half a second of a core's work, so that no
/// collector times out and sends again.
const PORTION: usize = 8;
/// For a portion, and for the decisions of tail sampling.
const PATIENCE: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(100);

/// The tool of all collectors.
const COLLECTOR: &str = "otelcol";

/// What every span is counted in before sampling.
const COUNTED: &str = "traces_span_metrics_calls_total";
const DECIDED: &str = "otelcol_processor_tail_sampling_global_count_traces_sampled_total";
const WAITING: &str = "otelcol_processor_tail_sampling_sampling_traces_on_memory";
const ACCEPTED: &str = "otelcol_receiver_accepted_spans_total";
const TO_JAEGER: &str = "exporter=\"otlp_grpc/jaeger\"";
const SENT: &str = "otelcol_exporter_sent_spans_total";

/// What one measurement found.
#[derive(Debug, Serialize)]
pub struct Sample {
    /// Of collectors.
    pub tiers: u32,
    /// CPU time per span sent, in microseconds, by part.
    pub cpu_us: BTreeMap<&'static str, f64>,
    /// The most memory that was resident, by part.
    pub peak_kib: BTreeMap<&'static str, u64>,
    /// Sent, those of the warm-up included.
    pub sent: u64,
    /// In Jaeger.
    pub stored: u64,
    /// Jaeger's files when it has ended, per span in them.
    pub bytes_per_span: f64,
    /// The most traces seen to wait for their decision at the same time.
    pub waiting_traces: u64,
    /// Spans that came twice, because a busy machine answered too late.
    pub repeated: u64,
}

/// The running parts; a part comes after those that it sends to.
struct Way {
    names: Vec<&'static str>,
    processes: Vec<Process>,
    /// Where spans go.
    otlp: String,
    /// The collector that counts and exports.
    collector: Addresses,
    tiers: u32,
    waiting_traces: u64,
    repeated: u64,
    reserved: Reserved,
    directory: TempDir,
}

/// Sends spans through new processes; an error if one of them does not arrive.
pub async fn measure(bench: &Bench<'_>, tiers: u32) -> Result<Sample> {
    let mut way = Way::start(bench, tiers)?;
    let (first, end) = batches::numbers(bench.args.batches);
    way.send(bench, 0..first).await?;
    way.rest().await?;
    let before = way.cpu()?;
    way.send(bench, first..end).await?;
    let stored = way.arrived(end * SPANS).await?;
    way.rest().await?;
    let measured = (end - first) * SPANS;
    let spent = way.cpu()?.into_iter().zip(before);
    let spent = spent.map(|(after, before)| (after - before).as_secs_f64() * 1e6 / measured as f64);
    let cpu_us = way.names.iter().copied().zip(spent).collect();
    if tiers == 1 {
        let query = way.collector.url("jaeger:16686");
        batches::whole(&bench.client, &query, end * SPANS / TRACE - 1).await?;
    }
    let peaks = way.processes.iter().map(Process::peak_kib);
    let peaks: Vec<u64> = peaks.collect::<Result<_>>()?;
    way.processes.iter_mut().rev().for_each(Process::stop);
    let bytes = disk_usage(&way.directory.path().join("badger"))?;
    Ok(Sample {
        tiers,
        cpu_us,
        peak_kib: way.names.iter().copied().zip(peaks).collect(),
        sent: end * SPANS,
        stored,
        bytes_per_span: bytes as f64 / stored as f64,
        waiting_traces: way.waiting_traces,
        repeated: way.repeated,
    })
}

impl Way {
    fn start(bench: &Bench<'_>, tiers: u32) -> Result<Self> {
        let mut reserved = Reserved::default();
        let addresses = reserved.addresses()?;
        let mut way = Self {
            names: vec![],
            processes: vec![],
            otlp: addresses.url("collector:4318"),
            collector: addresses.clone(),
            tiers,
            waiting_traces: 0,
            repeated: 0,
            reserved,
            directory: tempfile::tempdir()?,
        };
        let place = way.directory.path().to_owned();
        let deployment = Deployment::new(&bench.deploy, &place, &addresses, BTreeMap::new())?;
        let listens = ["jaeger:4317", "jaeger:16686"].map(|name| addresses.of(name));
        way.run(
            bench,
            ("jaeger", "jaeger"),
            deployment.jaeger(vec![deployment.badger()?])?,
            &listens,
        )?;
        let (name, overlays) = match tiers {
            1 => ("collector", vec![]),
            _ => ("second tier", vec!["production.yaml", "tier2.yaml"]),
        };
        let overlays = overlays.into_iter();
        let overlays =
            overlays.map(|file| Config::read(&bench.deploy, &format!("collector/{file}")));
        let collector = deployment.collector(overlays.collect::<Result<_>>()?)?;
        let listens = ["collector:4317", "collector:4318"].map(|name| addresses.of(name));
        way.run(bench, (name, COLLECTOR), collector, &listens)?;
        if tiers > 1 {
            way.first_tier(bench)?;
        }
        Ok(way)
    }

    /// Starts a collector before the one that runs.
    fn first_tier(&mut self, bench: &Bench<'_>) -> Result<()> {
        let addresses = self.reserved.addresses()?;
        let place = self.directory.path().to_owned();
        let deployment = Deployment::new(&bench.deploy, &place, &addresses, BTreeMap::new())?;
        let second = self.collector.port("collector:4317");
        let command = deployment.first_tier("127.0.0.1", second)?;
        self.otlp = addresses.url("collector:4318");
        let listens = [addresses.of("collector:4318")];
        self.run(bench, ("first tier", COLLECTOR), command, &listens)
    }

    /// Starts a part by its name and tool, and waits until it listens.
    fn run(
        &mut self,
        bench: &Bench<'_>,
        (name, tool): (&'static str, &str),
        command: Command,
        listens: &[&str],
    ) -> Result<()> {
        let part = bench.on_core(tool, command)?;
        let mut process = Process::start(name, part, self.directory.path())?;
        for address in listens {
            process.reachable(address.parse()?)?;
        }
        self.names.push(name);
        self.processes.push(process);
        Ok(())
    }

    fn cpu(&self) -> Result<Vec<Duration>> {
        self.processes.iter().map(Process::cpu).collect()
    }

    async fn rest(&self) -> Result<()> {
        match process::rest(&self.processes).await? {
            true => Ok(()),
            false => bail!("{} do not come to rest", self.names.join(", ")),
        }
    }

    /// Sends, and waits meanwhile, so that no queue gets full.
    async fn send(&mut self, bench: &Bench<'_>, numbers: Range<u64>) -> Result<()> {
        for first in numbers.clone().step_by(PORTION) {
            let end = numbers.end.min(first + PORTION as u64);
            batches::send(&bench.client, &self.otlp, first..end).await?;
            let (name, label) = match self.tiers {
                1 => (SENT, TO_JAEGER),
                _ => (ACCEPTED, ""),
            };
            self.until("collector:8888", name, label, end * SPANS)
                .await?;
            if self.tiers > 1 {
                let waiting = self.read("collector:8888", WAITING, "").await?;
                self.waiting_traces = self.waiting_traces.max(waiting);
            }
        }
        Ok(())
    }

    /// Waits until all that was sent is counted, and what is to be kept is acknowledged by Jaeger. Answers how many that is.
    async fn arrived(&mut self, sent: u64) -> Result<u64> {
        let counted = self.until("collector:8889", COUNTED, "", sent).await?;
        let stored = match self.tiers {
            1 => sent,
            _ => {
                self.until("collector:8888", DECIDED, "", sent / TRACE)
                    .await?;
                let kept = self.read("collector:8888", DECIDED, "sampled=\"true\"");
                kept.await? * TRACE
            }
        };
        self.until("collector:8888", SENT, TO_JAEGER, stored)
            .await?;
        let received = self.until("jaeger:8888", ACCEPTED, "", stored).await?;
        self.repeated = (counted - sent).max(received - stored);
        Ok(stored)
    }

    async fn read(&self, address: &str, name: &str, label: &str) -> Result<u64> {
        let url = format!("{}/metrics", self.collector.url(address));
        let sum = exposition::sum(&url, name, label).await;
        sum.with_context(|| format!("{name} of {address}"))
    }

    /// Waits until a sum is as high as expected, and answers it. It is higher when an answer was late, and spans were sent again.
    async fn until(&self, address: &str, name: &str, label: &str, expected: u64) -> Result<u64> {
        let start = Instant::now();
        loop {
            let found = self.read(address, name, label).await?;
            if found >= expected {
                return Ok(found);
            }
            if start.elapsed() > PATIENCE {
                bail!(
                    "{name} of {address} is {found}, expected: {expected}; not all that was sent arrived"
                );
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// Bytes that the files below a directory take on disk.
fn disk_usage(directory: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        bytes += match entry.file_type()?.is_dir() {
            true => disk_usage(&entry.path())?,
            false => entry.metadata()?.blocks() * 512,
        };
    }
    Ok(bytes)
}

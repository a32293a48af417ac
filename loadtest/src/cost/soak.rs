//! Many spans through one process: is anything lost, and does its memory stay?

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use telemetry::names::process::{SPAN_EXPORTED, SPAN_PROCESSED};
use telemetry::{ServiceInfo, Settings, Telemetry};

use super::args::SoakArgs;
use super::process::{self, Process};
use super::report::machine;
use super::sink::Sink;

/// When memory is read the first time, and the second: caches are filled and queues have had their size by then.
const START: Duration = Duration::from_secs(1);
const SETTLED: Duration = Duration::from_secs(60);
/// The last batches may take so long.
const FLUSH: Duration = Duration::from_secs(30);
/// A server span with two children.
const SPANS: u32 = 3;
/// Share of the rate that has to be made: spans that were not made cannot be lost.
const KEPT: f64 = 0.99;

/// Watches a process that makes spans; true when none was lost and the rate was kept.
pub fn run(args: &SoakArgs) -> Result<bool> {
    let directory = tempfile::tempdir()?;
    let sink = Sink::start(directory.path())?;
    let mut command = process::command(&std::env::current_exe()?);
    command
        .args(["emit", "--rate", &args.rate.to_string()])
        .args(["--seconds", &args.seconds.to_string()])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &sink.url)
        .envs(std::env::vars().filter(|(name, _)| name.starts_with("OTEL_BSP_")));
    let mut emitter = Process::start("emit", command, directory.path())?;
    let memory = memory(&emitter, Duration::from_secs(args.seconds.into()))?;
    emitter.finished()?;
    let made = emitter.last_line()?;
    let received = tokio::runtime::Runtime::new()?.block_on(sink.received())?;
    let spans = made["spans"].as_u64().context("how many spans it made")?;
    let seconds = made["seconds"].as_f64().context("how long it took")?;
    let per_second = spans as f64 / seconds;
    let report = json!({
        "machine": machine().0,
        "seconds": seconds,
        "spans": spans,
        "asked_per_second": args.rate,
        "spans_per_second": per_second,
        "received": received.spans,
        "dropped": made["dropped"],
        "lost": spans.saturating_sub(received.spans),
        "cpu_us_per_span": made["cpu_us_per_span"],
        "resident_kib": memory,
    });
    match args.json {
        true => println!("{report:#}"),
        false => println!("{}", markdown(&report)),
    }
    let kept = keeps(per_second, args.rate);
    if !kept {
        eprintln!(
            "made {per_second:.0} spans per second of {}: this machine cannot, or not now; give a lower --rate",
            args.rate
        );
    }
    Ok(received.spans == spans && made["delivered"] == true && kept)
}

fn keeps(per_second: f64, asked: u32) -> bool {
    per_second >= f64::from(asked) * KEPT
}

/// Resident memory at the start, after a minute (or half of the time) and at the end.
fn memory(emitter: &Process, time: Duration) -> Result<Value> {
    let begun = Instant::now();
    let at = |moment: Duration| {
        std::thread::sleep(moment.saturating_sub(begun.elapsed()));
        emitter.resident_kib()
    };
    let start = at(START.min(time / 4))?;
    let settled = at(SETTLED.min(time / 2))?;
    let end = at(time.mul_f64(0.98))?;
    Ok(json!({"start": start, "settled": settled, "end": end}))
}

fn markdown(report: &Value) -> String {
    let mib = |moment: &str| {
        let kib = report["resident_kib"][moment].as_f64().unwrap_or(f64::NAN);
        format!("{:.1} MiB", kib / 1024.0)
    };
    format!(
        "{}\n\n| spans | per second | asked for | for | lost | CPU per span | RSS at the start | after a minute, or half of the time | at the end |\n|---|---|---|---|---|---|---|---|---|\n| {} | {:.0} | {} | {:.0} s | {} | {:.1} µs | {} | {} | {} |",
        report["machine"].as_str().unwrap_or_default(),
        report["spans"],
        report["spans_per_second"].as_f64().unwrap_or(f64::NAN),
        report["asked_per_second"],
        report["seconds"].as_f64().unwrap_or(f64::NAN),
        report["lost"],
        report["cpu_us_per_span"].as_f64().unwrap_or(f64::NAN),
        mib("start"),
        mib("settled"),
        mib("end")
    )
}

/// Makes spans at the rate, and says how many.
pub fn emit(args: &SoakArgs) -> Result<bool> {
    let telemetry = start_telemetry()?;
    let metrics = telemetry.metrics();
    let total = (u64::from(args.rate) * u64::from(args.seconds)).div_ceil(SPANS.into());
    let every = f64::from(SPANS) / f64::from(args.rate);
    let begun = Instant::now();
    for number in 0..total {
        let due = Duration::from_secs_f64(number as f64 * every);
        if let Some(early) = due.checked_sub(begun.elapsed()) {
            std::thread::sleep(early);
        }
        handle(number);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let delivered = telemetry.shutdown(FLUSH);
    let spans = total * u64::from(SPANS);
    let cpu = nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID.now()?;
    let cpu_us = Duration::from(cpu).as_secs_f64() * 1e6 / spans as f64;
    let result = json!({
        "spans": spans,
        "seconds": seconds,
        "delivered": delivered,
        "dropped": dropped(&metrics.render(None).body),
        "cpu_us_per_span": cpu_us,
    });
    println!("{result}");
    Ok(true)
}

/// Spans that the process itself knows to be lost: no room in the queue, or never accepted.
fn dropped(exposition: &str) -> u64 {
    let names = [SPAN_PROCESSED.name(), SPAN_EXPORTED.name()].map(|name| format!("{name}{{"));
    let of_spans = |line: &&str| names.iter().any(|name| line.starts_with(name));
    let failed = |line: &&str| !line.contains(r#"error_type="""#);
    let lines = exposition.lines().filter(of_spans).filter(failed);
    lines
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

fn start_telemetry() -> Result<Telemetry> {
    let settings: Settings = service::settings::Env::process().telemetry()?;
    let info = ServiceInfo {
        name: "soak".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    Ok(telemetry::init(info, &settings, &[])?)
}

/// One request's worth, with texts that redaction looks at.
fn handle(number: u64) {
    let server = tracing::info_span!(
        "GET /work",
        otel.kind = "server",
        http.request.method = "GET",
        http.route = "/work",
        url.path = "/work",
        user_agent.original = "soak/1",
        number
    );
    let _server = server.entered();
    tracing::info_span!(
        "look up",
        otel.kind = "client",
        db.system.name = "postgresql",
        db.query.text = "SELECT name FROM items WHERE id = $1"
    )
    .in_scope(|| {});
    tracing::info_span!(
        "call",
        otel.kind = "client",
        url.full = "http://127.0.0.1:8082/price",
        http.response.status_code = 200
    )
    .in_scope(|| {});
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_to_99_percent() {
        assert!(keeps(20_000.0, 20_000) && keeps(19_801.0, 20_000));
        assert!(!keeps(19_799.0, 20_000) && !keeps(0.0, 1));
    }
}

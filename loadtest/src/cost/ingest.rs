//! What spans cost the console and Jaeger's memory store, in turn on one core; and how long searches take in a full console.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use reqwest::{Client, Url};
use serde::Serialize;
use serde_json::{Value, json};

use super::args::IngestArgs;
use super::batches::{self, SENDERS, SPANS, TRACE};
use super::process::{self, Process, Reserved};
use super::report::machine;
use super::spread::Spread;
use super::{generator, overhead};

/// A backend that takes OTLP and answers Jaeger's query API.
struct Backend {
    process: Process,
    otlp: String,
    query: String,
}

/// What was measured.
#[derive(Serialize)]
struct Report {
    machine: String,
    load_before: f64,
    spans: u64,
    /// CPU time per span in microseconds, round by round.
    console_us: Vec<f64>,
    jaeger_us: Vec<f64>,
    /// Resident memory afterwards, in the last round.
    console_kib: u64,
    jaeger_kib: Option<u64>,
    /// What the console holds when the searches begin.
    held: Value,
    searches: Vec<Search>,
}

/// How long a kind of search takes.
#[derive(Serialize)]
struct Search {
    what: &'static str,
    /// Traces.
    found: usize,
    median_ms: f64,
    p99_ms: f64,
    cpu_ms: f64,
}

/// Measures and prints.
pub fn run(args: &IngestArgs) -> Result<bool> {
    let runtime = tokio::runtime::Runtime::new()?;
    let report = runtime.block_on(measure(args))?;
    match args.json {
        true => println!("{}", serde_json::to_string_pretty(&report)?),
        false => println!("{}", report.markdown()),
    }
    Ok(true)
}

async fn measure(args: &IngestArgs) -> Result<Report> {
    let (machine, load_before) = machine();
    let directory = tempfile::tempdir()?;
    let omnitrace = overhead::executable(args.omnitrace.as_deref())?;
    let client = generator::client()?;
    let mut report = Report {
        machine,
        load_before,
        spans: u64::from(args.batches) * SPANS,
        console_us: vec![],
        jaeger_us: vec![],
        console_kib: 0,
        jaeger_kib: None,
        held: Value::Null,
        searches: vec![],
    };
    for round in 1..=args.rounds {
        eprintln!("round {round} of {}", args.rounds);
        let console = console(&omnitrace, args, directory.path())?;
        report
            .console_us
            .push(ingest(&console, &client, args).await?);
        report.console_kib = console.process.resident_kib()?;
        if round == args.rounds {
            report.held = fill(&console, &client, args).await?;
            report.searches = searches(&console, &client, &report.held, args).await?;
        }
        drop(console);
        if let Some(jaeger) = &args.jaeger {
            let jaeger = self::jaeger(jaeger, args, directory.path())?;
            report.jaeger_us.push(ingest(&jaeger, &client, args).await?);
            report.jaeger_kib = Some(jaeger.process.resident_kib()?);
        }
    }
    Ok(report)
}

fn console(omnitrace: &Path, args: &IngestArgs, directory: &Path) -> Result<Backend> {
    let mut command = process::on_core(args.core, omnitrace);
    command.args(["console", "--listen", "127.0.0.1:0"]);
    let mut process = Process::start("console", command, directory)?;
    let address = process.listening()?["http_addr"].clone();
    let url = format!("http://{}", address.as_str().context("its address")?);
    Ok(Backend {
        process,
        otlp: url.clone(),
        query: url,
    })
}

/// Jaeger with nothing but OTLP/HTTP, its memory store and its query API.
fn jaeger(executable: &Path, args: &IngestArgs, directory: &Path) -> Result<Backend> {
    let mut reserved = Reserved::default();
    let mut free = || reserved.address();
    let (otlp, query, grpc) = (free()?, free()?, free()?);
    let at = |address| json!({"endpoint": address});
    let config = json!({
        "service": {
            "extensions": ["jaeger_storage", "jaeger_query"],
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}},
            "telemetry": {"logs": {"level": "error"}, "metrics": {"level": "none"}},
        },
        "extensions": {
            "jaeger_query": {"storage": {"traces": "memory"}, "http": at(query), "grpc": at(grpc)},
            "jaeger_storage": {"backends": {"memory": {"memory": {"max_traces": 1_000_000}}}},
        },
        "receivers": {"otlp": {"protocols": {"http": at(otlp)}}},
        "exporters": {"jaeger_storage_exporter": {"trace_storage": "memory"}},
    });
    let file = directory.join("jaeger.yaml");
    // JSON is YAML.
    std::fs::write(&file, config.to_string())?;
    let mut command = process::on_core(args.core, executable);
    command.arg("--config").arg(&file);
    let mut process = Process::start("jaeger", command, directory)?;
    process.reachable(otlp)?;
    process.reachable(query)?;
    Ok(Backend {
        process,
        otlp: format!("http://{otlp}"),
        query: format!("http://{query}"),
    })
}

/// CPU time per span in microseconds.
async fn ingest(backend: &Backend, client: &Client, args: &IngestArgs) -> Result<f64> {
    let (warm_up, end) = batches::numbers(args.batches);
    batches::send(client, &backend.otlp, 0..warm_up).await?;
    backend.process.rest().await?;
    let before = backend.process.cpu()?;
    batches::send(client, &backend.otlp, warm_up..end).await?;
    backend.process.rest().await?;
    let spent = backend.process.cpu()? - before;
    batches::whole(client, &backend.query, end * SPANS / TRACE - 1).await?;
    Ok(spent.as_secs_f64() * 1e6 / ((end - warm_up) * SPANS) as f64)
}

/// Sends until old traces have to go. Answers what the console says of itself then.
async fn fill(console: &Backend, client: &Client, args: &IngestArgs) -> Result<Value> {
    let (_, mut next) = batches::numbers(args.batches);
    loop {
        let stats = client.get(format!("{}/api/stats", console.query));
        let stats: Value = stats.send().await?.error_for_status()?.json().await?;
        if stats["evicted_traces"].as_u64() > Some(0) {
            let last = next * SPANS / TRACE - 1;
            return Ok(json!({"spans": stats["spans"], "traces": stats["traces"], "last": last}));
        }
        batches::send(client, &console.otlp, next..next + 50).await?;
        next += 50;
    }
}

/// Each kind of search, in turn.
async fn searches(
    console: &Backend,
    client: &Client,
    held: &Value,
    args: &IngestArgs,
) -> Result<Vec<Search>> {
    let last = held["last"].as_u64().context("a number")?;
    // Among the oldest, since a search begins with the newest; and of the first sender.
    let old = last - held["traces"].as_u64().context("a number")? / 10 * 9;
    let of_first = SPANS / TRACE * SENDERS.len() as u64;
    let old = old / of_first * of_first;
    let id = u128::from_be_bytes(batches::trace_id(old));
    let tags = |key: &str, value: &str| json!({ key: value }).to_string();
    let service = ("service", SENDERS[0]);
    let one = tags("url.path", &batches::path(old));
    let none = tags("url.path", "/nowhere");
    let unknown = tags("customer.tier", "gold");
    let trace = format!("/api/traces/{id:032x}");
    type Kind<'a> = (&'static str, &'a str, &'a [(&'a str, &'a str)]);
    let kinds: [Kind<'_>; 8] = [
        ("a trace by its id", &trace, &[]),
        (
            "the newest 20 of a service",
            "/api/traces",
            &[service, ("limit", "20")],
        ),
        ("the page's list", "/api/console/traces", &[]),
        (
            "failed ones of a service",
            "/api/traces",
            &[service, ("tags", r#"{"error":"true"}"#), ("limit", "20")],
        ),
        (
            "by an attribute, nothing found but one old trace",
            "/api/traces",
            &[service, ("tags", &one)],
        ),
        (
            "by an attribute of any service, nothing found",
            "/api/console/traces",
            &[("tags", &none)],
        ),
        (
            "by an attribute that no span has",
            "/api/console/traces",
            &[("tags", &unknown)],
        ),
        (
            "by a duration that no trace has",
            "/api/console/traces",
            &[("min_duration", "10s")],
        ),
    ];
    let mut found = vec![];
    for (what, path, parameters) in kinds {
        let url = Url::parse_with_params(&format!("{}{path}", console.query), parameters)?;
        found.push(search(console, client, what, &url, args.searches).await?);
    }
    Ok(found)
}

async fn search(
    console: &Backend,
    client: &Client,
    what: &'static str,
    url: &Url,
    count: u32,
) -> Result<Search> {
    let ask = async || anyhow::Ok(client.get(url.clone()).send().await?.error_for_status()?);
    let answer: Value = ask().await?.json().await?;
    let found = answer["data"].as_array().or(answer["traces"].as_array());
    let mut times = vec![];
    let before = console.process.cpu()?;
    for _ in 0..count {
        let begun = Instant::now();
        ask().await?.bytes().await?;
        times.push(begun.elapsed());
    }
    let cpu = (console.process.cpu()? - before) / count;
    times.sort_unstable();
    let at = |share: f64| ms(times[((times.len() - 1) as f64 * share).round() as usize]);
    Ok(Search {
        what,
        found: found.map_or(0, Vec::len),
        median_ms: at(0.5),
        p99_ms: at(0.99),
        cpu_ms: ms(cpu),
    })
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

impl Report {
    fn markdown(&self) -> String {
        let spread = |values: &[f64]| {
            let spread = Spread::of(values.iter().copied());
            spread.map_or(String::new(), |spread| format!("{spread:.2}"))
        };
        let ratios = self.console_us.iter().zip(&self.jaeger_us);
        let ratios: Vec<f64> = ratios.map(|(console, jaeger)| console / jaeger).collect();
        let mib = |kib: u64| format!("{:.0} MiB", kib as f64 / 1024.0);
        let mut rows = vec![
            format!(
                "{}; load average {:.2} before. {} spans each time, {} rounds.\n",
                self.machine,
                self.load_before,
                self.spans,
                self.console_us.len()
            ),
            "| | CPU per span, µs | RSS at the end |\n|---|---|---|".to_owned(),
            format!(
                "| console | {} | {} |",
                spread(&self.console_us),
                mib(self.console_kib)
            ),
        ];
        if let Some(kib) = self.jaeger_kib {
            rows.push(format!(
                "| Jaeger, memory store | {} | {} |",
                spread(&self.jaeger_us),
                mib(kib)
            ));
            rows.push(format!(
                "| console ÷ Jaeger, round by round | {} | |",
                spread(&ratios)
            ));
        }
        rows.push(format!(
            "\n{} spans of {} traces held:\n\n| search | found | median | p99 | CPU |\n|---|---|---|---|---|",
            self.held["spans"], self.held["traces"]
        ));
        let searches = self.searches.iter().map(|search| {
            format!(
                "| {} | {} | {:.1} ms | {:.1} ms | {:.1} ms |",
                search.what, search.found, search.median_ms, search.p99_ms, search.cpu_ms
            )
        });
        rows.extend(searches);
        rows.join("\n")
    }
}

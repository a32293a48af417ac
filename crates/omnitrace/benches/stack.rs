//! The numbers of docs/BENCHMARKS.md, measured on this machine: `cargo bench -p omnitrace --bench stack`.
//!
//! Start-up (data visible), memory of each part at 200 requests/s, spans lost at SIGTERM. Prints Markdown tables.
//! Nothing here asserts a time: a busy machine gives worse numbers, not a failure.

#[path = "../tests/e2e/harness/mod.rs"]
mod harness;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::{Child, Scrape, Stack, http, omnitrace};
use serde_json::Value;

const STARTS: usize = 5;
const FIRST_STARTS: usize = 3;
const RATE: u32 = 200;
const MEMORY_RUN: Duration = Duration::from_secs(30);
const FLUSH_RUNS: usize = 5;
const FLUSH_RUN: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() {
    println!("Machine: {}\n", machine());
    start_up().await;
    memory().await;
    flush().await;
}

fn machine() -> String {
    let text = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = text("/proc/cpuinfo").lines().find_map(|line| {
        line.strip_prefix("model name")?
            .split_once(':')
            .map(|(_, name)| name.trim().to_owned())
    });
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = text("/proc/meminfo")
        .lines()
        .find_map(|line| {
            line.strip_prefix("MemTotal:")?
                .trim()
                .strip_suffix(" kB")?
                .parse::<u64>()
                .ok()
        })
        .unwrap_or(0);
    format!(
        "{cores} cores, {} GiB, {}",
        memory / 1024 / 1024,
        cpu.unwrap_or_else(|| "unknown CPU".to_owned())
    )
}

/// An `omnitrace up` with every port free to choose, and its `ready` event.
async fn up(data_dir: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> (Child, Value) {
    let ports = [
        "gateway",
        "data",
        "downstream",
        "console",
        "otlp-grpc",
        "otlp-http",
        "herald",
        "gateway-admin",
        "data-admin",
        "downstream-admin",
    ];
    let mut command = omnitrace(["up", "--json", "--data-dir"]);
    command
        .arg(data_dir)
        .args(arguments)
        .envs(variables.iter().copied());
    for port in ports {
        command.arg(format!("--{port}-port")).arg("0");
    }
    let mut child = Child::spawn("up", command);
    let ready = child
        .wait_for("the ready event", |child| {
            child
                .json_lines()
                .into_iter()
                .find(|line| line["event"] == "ready")
        })
        .await;
    (child, ready)
}

async fn start_up() {
    println!(
        "## Data visible after the start\n\n| | runs | min | median | max |\n|---|---|---|---|---|"
    );
    let mut downloads = Vec::new();
    for _ in 0..FIRST_STARTS {
        let fresh = tempfile::tempdir().expect("temporary directory");
        let cache = fresh.path().join("cache");
        let variables = [
            ("OMNITRACE_POSTGRES", "download"),
            ("OMNITRACE_CACHE_DIR", cache.to_str().expect("UTF-8")),
        ];
        // An unprivileged Postgres must reach its files.
        open(fresh.path());
        downloads.push(seconds(up(&fresh.path().join("data"), &[], &variables).await).await);
    }
    row(
        "first start, PostgreSQL downloaded and initialised",
        downloads,
    );
    let directory = tempfile::tempdir().expect("temporary directory");
    open(directory.path());
    let data = directory.path().join("data");
    row(
        "first start, PostgreSQL on the machine, initialised",
        vec![seconds(up(&data, &[], &[]).await).await],
    );
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        starts.push(seconds(up(&data, &[], &[]).await).await);
    }
    row("later starts", starts);
}

fn open(directory: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755))
        .expect("own directory");
}

async fn seconds((mut child, ready): (Child, Value)) -> f64 {
    child.terminate().await;
    ready["visible_in_seconds"]
        .as_f64()
        .expect("visible_in_seconds")
}

fn row(what: &str, mut values: Vec<f64>) {
    values.sort_by(f64::total_cmp);
    let (min, median, max) = (
        values[0],
        values[values.len() / 2],
        values[values.len() - 1],
    );
    println!(
        "| {what} | {} | {min:.1} s | {median:.1} s | {max:.1} s |",
        values.len()
    );
}

/// Highest resident memory of each part while the built-in trickle runs.
async fn memory() {
    let directory = tempfile::tempdir().expect("temporary directory");
    open(directory.path());
    let data = directory.path().join("data");
    let rate = RATE.to_string();
    let (mut child, _) = up(&data, &["--load", &rate], &[]).await;
    let state: Value =
        serde_json::from_slice(&std::fs::read(data.join("state.json")).expect("state.json"))
            .expect("JSON");
    let parts = state["parts"].as_array().expect("parts");
    let gateway = parts
        .iter()
        .find(|part| part["name"] == "gateway")
        .expect("gateway")["admin_url"]
        .as_str()
        .expect("URL");
    let mut peaks: BTreeMap<&str, u64> = BTreeMap::new();
    let (before, start) = (served(gateway).await, Instant::now());
    while start.elapsed() < MEMORY_RUN {
        for part in parts {
            let name = part["name"].as_str().expect("name");
            let peak = peaks.entry(name).or_default();
            *peak = resident(part["pid"].as_u64().expect("pid")).max(*peak);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let rate = (served(gateway).await - before) / start.elapsed().as_secs_f64();
    println!(
        "\n## Memory at {rate:.0} requests/s for {} s\n\n| part | highest RSS |\n|---|---|",
        MEMORY_RUN.as_secs()
    );
    for (name, bytes) in peaks.into_iter().filter(|(name, _)| *name != "postgres") {
        println!("| {name} | {:.1} MiB |", bytes as f64 / 1024.0 / 1024.0);
    }
    child.terminate().await;
}

async fn served(admin: &str) -> f64 {
    let text = http()
        .get(format!("{admin}/metrics"))
        .send()
        .await
        .expect("metrics")
        .text()
        .await
        .expect("text");
    Scrape::parse("", text)
        .value("http_server_request_duration_seconds_count", &[])
        .unwrap_or(0.0)
}

fn resident(pid: u64) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib = status.lines().find_map(|line| {
        line.strip_prefix("VmRSS:")?
            .trim()
            .strip_suffix(" kB")?
            .parse::<u64>()
            .ok()
    });
    kib.unwrap_or(0) * 1024
}

/// SIGTERM under load: a trace whose answer was seen must be whole afterwards.
async fn flush() {
    let (mut answered, mut spans, mut broken) = (0, 0, 0);
    for _ in 0..FLUSH_RUNS {
        let stack = Stack::builder()
            .env_all("OTEL_BSP_MAX_QUEUE_SIZE", "100000")
            .start()
            .await;
        let (url, client) = (stack.url("gateway"), stack.client.clone());
        let ids = Arc::new(std::sync::Mutex::new(Vec::new()));
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / RATE);
        let start = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        let mut stack = Some(stack);
        let mut stopping = None;
        while start.elapsed() < FLUSH_RUN + Duration::from_millis(500) {
            ticks.tick().await;
            let (request, ids) = (client.get(format!("{url}/api/data")), Arc::clone(&ids));
            tasks.spawn(async move {
                if let Ok(response) = request.send().await
                    && response.status().is_success()
                    && let Some(id) = trace_id(&response)
                {
                    ids.lock().expect("ids").push(id);
                }
            });
            // The requests go on while the services are told to stop.
            if start.elapsed() > FLUSH_RUN
                && let Some(stack) = stack.take()
            {
                stopping = Some(tokio::spawn(stack.stop()));
            }
        }
        while tasks.join_next().await.is_some() {}
        let receiver = stopping.expect("stopped").await.expect("stopped in order");
        let all = receiver.spans();
        spans += all.len();
        let mut traces: BTreeMap<String, usize> = BTreeMap::new();
        for span in all {
            *traces.entry(span.trace_id).or_default() += 1;
        }
        let ids = ids.lock().expect("ids");
        answered += ids.len();
        // The most frequent size is the whole tree; a retried call may add to it, a loss takes away.
        let mut sizes: BTreeMap<usize, usize> = BTreeMap::new();
        for id in ids.iter() {
            *sizes
                .entry(traces.get(id).copied().unwrap_or(0))
                .or_default() += 1;
        }
        let whole = sizes
            .iter()
            .max_by_key(|(_, count)| **count)
            .map_or(0, |(size, _)| *size);
        broken += sizes.range(..whole).map(|(_, count)| count).sum::<usize>();
    }
    println!("\n## Spans lost between SIGTERM and exit, at {RATE} requests/s\n");
    println!(
        "| runs | answered requests | spans received | traces with a span missing |\n|---|---|---|---|"
    );
    println!("| {FLUSH_RUNS} | {answered} | {spans} | {broken} |");
}

fn trace_id(response: &reqwest::Response) -> Option<String> {
    let timing = response.headers().get("server-timing")?.to_str().ok()?;
    timing.split('-').nth(1).map(str::to_owned)
}

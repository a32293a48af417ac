//! `omnitrace up`: everything on one machine, each part a process of its own.
//!
//! [`run()`] claims the data directory ([`state`]), starts the children in order ([`stack`], [`child`], [`wiring`],
//! [`ports`]), puts several instances of a service behind one address ([`replicas`], [`balancer`]), sends the probe ([`probe`]), keeps the load going ([`load`]) and the children alive ([`supervisor`]), and
//! stops everything in the end.
//! Nothing outlives it: each child holds a pipe to this process, and stops when it closes.

mod announce;
mod balancer;
pub mod capture;
mod child;
mod crashed;
mod embedded;
mod inherited;
pub mod load;
pub mod ports;
pub mod probe;
pub mod replicas;
mod report;
pub mod scrape;
mod stack;
pub mod standard;
pub mod standard_args;
pub mod state;
pub mod stopped;
mod supervisor;
mod wiring;

use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use listen::StopSignals;
use nix::fcntl::Flock;
use serde_json::json;

use crate::cli::UpArgs;
use crate::{environment, files, notify};
use report::Report;
use stack::Stack;
use state::State;

/// Runs the stack until a signal asks it to stop, or the failure of a part.
pub fn run(args: &UpArgs) -> Result<ExitCode> {
    let report = Report::new(args);
    // One thread is enough for a few children and the load of `--load`.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(supervise(args, &report));
    if let Err(error) = &result {
        report.error(&format!("{error:#}"), running_stack(&args.data_dir));
    }
    result.map(|()| ExitCode::SUCCESS)
}

async fn supervise(args: &UpArgs, report: &Report) -> Result<()> {
    check(args)?;
    let _lock = claim(&args.data_dir).await?;
    let mut signals = StopSignals::install(environment::parent_pipe()?)?;
    let stack = Stack::new(args, report)?;
    crashed::wait_for_leftovers(stack.data_dir(), report).await;
    ports::check_free(args)?;
    let end = tokio::select! {
        biased;
        reason = signals.next() => End::Asked(reason),
        error = supervisor::run(&stack) => End::Failed(error),
    };
    let result = match end {
        End::Asked(reason) => {
            report.stopping(reason);
            match stack.is_ready() {
                true => Ok(()),
                false => Err(anyhow!("stopped before it was ready")),
            }
        }
        End::Failed(error) => {
            // The start of the error; the end of `up` prints all of it.
            let text = error.to_string();
            report.stopping(text.split([';', '\n']).next().unwrap_or_default());
            Err(error)
        }
    };
    tokio::select! {
        () = stack.stop() => {}
        _ = signals.hurry() => {
            report.stopping("at once");
            stack.kill().await;
        }
    }
    stack.forget();
    result
}

/// Checks everything that can be checked before the start.
fn check(args: &UpArgs) -> Result<()> {
    ports::check(args)?;
    args.replicas.check()?;
    if args.no_console {
        return inherited::collector().map(drop);
    }
    if args.standard.standard {
        return standard::check(args);
    }
    if let Some(rules) = &args.rules {
        console::check_rules(rules)?;
    }
    notify::check_inherited()
}

enum End {
    Asked(&'static str),
    Failed(anyhow::Error),
}

/// Takes the lock of the data directory; the error names its holder.
async fn claim(data_dir: &Path) -> Result<Flock<File>> {
    /// `health` and `fault` hold the lock for a moment to see whether somebody else does.
    const OTHERS_LOOKING: Duration = Duration::from_millis(500);
    let data_dir = &files::own_directory(data_dir, files::data_directory_mode())?;
    let path = state::lock_path(data_dir);
    let start = Instant::now();
    loop {
        if let Some(mut lock) = files::try_lock(&path).context(files::DATA_DIR)? {
            lock.set_len(0)?;
            lock.rewind()?;
            write!(lock, "{}", std::process::id())?;
            return Ok(lock);
        }
        if start.elapsed() > OTHERS_LOOKING {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let running = running_stack(data_dir);
    let mut message = format!(
        "already running (pid {}) in {}",
        running["running_pid"],
        data_dir.display()
    );
    for (name, field) in [
        ("console", "console_url"),
        ("prometheus", "prometheus_url"),
        ("gateway", "gateway_url"),
    ] {
        if let Some(url) = running[field].as_str() {
            message.push_str(&format!("   {name} {url}"));
        }
    }
    bail!(
        "{message}\nstop it with `omnitrace stop`, or start a second stack with another --data-dir"
    )
}

/// The other stack that runs in `data_dir`, as far as its files tell.
fn running_stack(data_dir: &Path) -> serde_json::Value {
    let pid = data_dir
        .canonicalize()
        .ok()
        .and_then(|data_dir| files::read(&state::lock_path(&data_dir)).ok())
        .and_then(|text| text.trim().parse::<u32>().ok());
    let Some(pid) = pid.filter(|pid| *pid != std::process::id()) else {
        return json!({});
    };
    let state = State::read(data_dir)
        .filter(|state| state.pid == pid)
        .unwrap_or_default();
    json!({"running_pid": pid, "console_url": state.url("console"), "prometheus_url": state.url("prometheus"), "gateway_url": state.url("gateway")})
}

//! `omnitrace doctor --preflight`: checks whether the stack can start on this machine.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::statvfs::statvfs;

use super::args::DoctorArgs;
use super::report::{Report, Row, State};
use crate::up::ports;

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;
/// The memory limits of deploy/compose.yaml add up to 2 GiB, and the engine needs some too.
const MEMORY_GIB: f64 = 2.5;
/// Images, and a few days of volumes.
const DISK_GIB: f64 = 5.0;

/// Checks, prints a line per check, and fails when one does not hold.
pub fn run(args: &DoctorArgs) -> Result<ExitCode> {
    let mut report = Report::new(args.json);
    if args.skip_ports {
        report.add(row(
            "ports",
            State::Absent,
            String::new(),
            "leave out --skip-ports",
        ));
    } else {
        for port in &args.ports {
            report.add(port_row(*port));
        }
    }
    report.add(memory_row()?);
    report.add(disk_row(&args.disk_path)?);
    report.finish();
    Ok(report.exit_code())
}

fn port_row(port: u16) -> Row {
    let hint = "stop what uses it, or publish another port (deploy/.env, the variables *_PORT)";
    let path = format!("port {port}");
    match ports::choose("preflight", port, false) {
        Ok(ports::Choice {
            moved: Some(problem),
            ..
        }) => row(&path, State::Fail, problem, hint),
        Ok(_) => row(&path, State::Ok, "free".to_owned(), hint),
        Err(error) => row(&path, State::Fail, format!("{error:#}"), hint),
    }
}

fn memory_row() -> Result<Row> {
    let meminfo = std::fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    let kib: f64 = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok())
        .context("/proc/meminfo has no MemAvailable")?;
    let hint = "stop something, or give the Docker machine more memory";
    Ok(enough("memory", kib * 1024.0 / GIB, MEMORY_GIB, hint))
}

fn disk_row(path: &Path) -> Result<Row> {
    let status = statvfs(path).with_context(|| format!("--disk-path {}", path.display()))?;
    let free = status.blocks_available() as f64 * status.fragment_size() as f64;
    let hint = "free some (docker system df), or name another place with --disk-path";
    Ok(enough("disk", free / GIB, DISK_GIB, hint))
}

fn enough(path: &str, have: f64, need: f64, hint: &str) -> Row {
    let state = if have >= need { State::Ok } else { State::Fail };
    let detail = format!("{have:.1} GiB available, {need:.1} GiB needed");
    row(path, state, detail, hint)
}

fn row(path: &str, state: State, detail: String, hint: &str) -> Row {
    Row {
        path: path.to_owned(),
        state,
        detail,
        hint: hint.to_owned(),
        seconds: Duration::ZERO,
    }
}

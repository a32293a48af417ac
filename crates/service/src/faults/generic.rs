//! Faults that every service has.
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::burn::Burn;
use super::{Fault, Parameter, Parameters, Spec, Switchboard};
use crate::readiness::Readiness;

/// Stands for the faulty service itself, if its own metric shows the fault.
const SELF: &str = "self";

#[derive(Debug, Clone, Copy, Deserialize)]
struct CpuBurn {
    threads: u32,
}

impl Parameters for CpuBurn {
    const SPEC: Spec = Spec {
        name: "cpu_burn",
        description: "Keeps a number of threads busy.",
        signal_service: SELF,
        signal: "process_cpu_seconds_total",
        parameters: &[Parameter::integer("threads", "1", 1, 16, 2)],
    };
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct MemoryLeak {
    mib_per_s: u32,
    max_mib: u32,
}

impl Parameters for MemoryLeak {
    const SPEC: Spec = Spec {
        name: "memory_leak",
        description: "Allocates memory at a rate, up to a bound, and frees it at the end.",
        signal_service: SELF,
        signal: "process_resident_memory_bytes",
        parameters: &[
            Parameter::integer("mib_per_s", "MiB/s", 1, 256, 16),
            Parameter::integer("max_mib", "MiB", 1, 1024, 256),
        ],
    };
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct ReadinessFlap {
    period_ms: u64,
}

impl Parameters for ReadinessFlap {
    const SPEC: Spec = Spec {
        name: "readiness_flap",
        description: "Is not ready for the first half of each period.",
        signal_service: SELF,
        signal: "service_readiness_changes_total",
        parameters: &[Parameter::integer("period_ms", "ms", 100, 60_000, 2000)],
    };
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct LogStorm {
    lines_per_s: u32,
}

impl Parameters for LogStorm {
    const SPEC: Spec = Spec {
        name: "log_storm",
        description: "Logs the same warning over and over.",
        signal_service: SELF,
        signal: "log_records_total{level=\"WARN\"}",
        parameters: &[Parameter::integer("lines_per_s", "1/s", 1, 10_000, 2000)],
    };
}

/// The generic faults, whose effects run besides the requests.
pub(crate) struct Generic {
    cpu_burn: Arc<Fault<CpuBurn>>,
    memory_leak: Arc<Fault<MemoryLeak>>,
    readiness_flap: Arc<Fault<ReadinessFlap>>,
    log_storm: Arc<Fault<LogStorm>>,
}

impl Generic {
    /// Adds the generic faults to a service's own.
    pub(crate) fn add_to(board: Switchboard) -> (Self, Switchboard) {
        let faults = Self {
            cpu_burn: Arc::default(),
            memory_leak: Arc::default(),
            readiness_flap: Arc::default(),
            log_storm: Arc::default(),
        };
        let board = board
            .with(&faults.cpu_burn)
            .with(&faults.memory_leak)
            .with(&faults.readiness_flap)
            .with(&faults.log_storm);
        (faults, board)
    }

    /// Starts the tasks that cause the effects; they end with the runtime.
    pub(crate) fn start(self, readiness: Arc<Readiness>) {
        actix_web::rt::spawn(self.cpu_burn.drive(async |fault| {
            let _burn = Burn::start(fault.threads);
            std::future::pending::<()>().await;
        }));
        actix_web::rt::spawn(self.memory_leak.drive(leak));
        actix_web::rt::spawn(
            self.readiness_flap
                .drive(async move |fault| flap(&readiness, fault).await),
        );
        actix_web::rt::spawn(self.log_storm.drive(storm));
    }
}

/// The memory is touched, so that it is resident, and freed when the future is dropped.
async fn leak(fault: MemoryLeak) {
    const MIB: usize = 1024 * 1024;
    let mut held: Vec<Vec<u8>> = Vec::new();
    let mut ticks = interval(Duration::from_secs(1) / fault.mib_per_s);
    while held.len() < fault.max_mib as usize {
        ticks.tick().await;
        held.push(vec![1; MIB]);
    }
    std::future::pending::<()>().await;
}

/// Makes the service ready again on drop.
struct Suspended<'a>(&'a Readiness);

impl Drop for Suspended<'_> {
    fn drop(&mut self) {
        self.0.suspend(false);
    }
}

async fn flap(readiness: &Readiness, fault: ReadinessFlap) {
    let half = Duration::from_millis(fault.period_ms) / 2;
    loop {
        readiness.suspend(true);
        let suspended = Suspended(readiness);
        sleep(half).await;
        drop(suspended);
        sleep(half).await;
    }
}

async fn storm(fault: LogStorm) {
    // A timer is not finer than a millisecond, so at higher rates each tick logs several lines.
    let per_tick = fault.lines_per_s.div_ceil(100);
    let mut ticks = interval(Duration::from_secs(1) * per_tick / fault.lines_per_s);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        for _ in 0..per_tick {
            tracing::warn!("unexpected state, trying again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_declaration_fits_its_struct() {
        let (_faults, board) = Generic::add_to(Switchboard::default());
        board.check_declarations();
    }
}

//! Waits for children of a killed `up` that are still stopping.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::report::Report;
use super::state::{Part, State};

/// Longer than a service drains and flushes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for the children of a killed run, which stop by themselves when their pipe closes, so that their ports and
/// their Postgres are free again. Called with the lock held.
pub async fn wait_for_leftovers(data_dir: &Path, report: &Report) {
    let Some(state) = State::read(data_dir) else {
        return;
    };
    let start = Instant::now();
    let mut told = false;
    loop {
        let left: Vec<&Part> = state.parts.iter().filter(|part| part.is_alive()).collect();
        if left.is_empty() {
            return;
        }
        if !told {
            let names: Vec<String> = left
                .iter()
                .map(|part| format!("{} (pid {})", part.name, part.pid))
                .collect();
            report.progress(
                "up",
                &format!(
                    "the last run was killed; waiting for what it left: {}",
                    names.join(", ")
                ),
            );
            told = true;
        }
        if start.elapsed() > PATIENCE {
            for part in left {
                kill(Pid::from_raw(part.pid.cast_signed()), Signal::SIGKILL).ok();
            }
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

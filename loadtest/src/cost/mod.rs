//! What telemetry costs: the ladder of docs/OVERHEAD.md, the same handler elsewhere, an hour's spans in minutes, and the backend; what each part of the standard stack costs.

pub mod args;
mod batches;
mod exposition;
mod generator;
mod ingest;
mod overhead;
mod peers;
mod process;
mod report;
mod scale;
mod services;
mod sink;
mod soak;
mod spread;
mod steps;

use anyhow::Result;

use self::args::Command;

/// Runs a command to its end; true when it found what it promises.
pub fn run(command: Command) -> Result<bool> {
    match command {
        Command::Overhead(args) => overhead::run(&args),
        Command::Peers(args) => peers::run(&args),
        Command::Soak(args) => soak::run(&args),
        Command::Ingest(args) => ingest::run(&args),
        Command::Scale(args) => scale::run(&args),
        Command::Emit(args) => soak::emit(&args),
        Command::Sink => sink::run(),
    }
}

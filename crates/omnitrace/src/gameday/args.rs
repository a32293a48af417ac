//! The options of `omnitrace gameday`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// Examples of `omnitrace help gameday`.
pub const EXAMPLES: &str = "\
Examples:
  omnitrace gameday check                               check the scenario files
  omnitrace gameday run --only 'downstream-*'           a few, once each
  omnitrace gameday run --repeats 3 --jobs 2            all, three times, two stacks side by side
  omnitrace gameday report                              write the reports again";

/// `omnitrace gameday …`.
#[derive(Debug, Subcommand)]
pub enum GamedayAction {
    /// Run scenarios: each starts a stack of its own, breaks it, and records what people are told
    ///
    /// A run that was finished before with the same build and the same scenario file is not repeated. Ctrl-C ends what is running, takes
    /// back every fault, and leaves a report of what was finished.
    Run(RunArgs),
    /// Read every scenario file, and print which applies to which mode
    Check {
        #[command(flatten)]
        files: Files,
    },
    /// Score what was run, and write gameday.json and report.html again
    Report {
        #[command(flatten)]
        files: Files,
        #[command(flatten)]
        results: Results,
    },
}

/// `omnitrace gameday run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub files: Files,
    #[command(flatten)]
    pub results: Results,
    /// Which stack: the console's, or collector, Prometheus, Alertmanager and Jaeger themselves
    #[arg(long, value_name = "MODE", default_value = "embedded", value_enum)]
    pub mode: ModeArg,
    /// How often each scenario is run
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=20))]
    pub repeats: u32,
    /// How many stacks run side by side; more than there are cores makes them slower than they are
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=32))]
    pub jobs: u32,
    /// Run again what was finished before
    #[arg(long, conflicts_with = "any_build")]
    pub again: bool,
    /// Do not repeat what was finished with another build either; the report names all builds
    #[arg(long)]
    pub any_build: bool,
}

/// The scenario files.
#[derive(Debug, Clone, Args)]
pub struct Files {
    /// Directory of the scenario files
    #[arg(long, value_name = "DIR", default_value = "gameday")]
    pub scenarios: PathBuf,
    /// Scenarios by name; `*` stands for any text. May be repeated
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub only: Vec<String>,
}

/// Where runs are kept.
#[derive(Debug, Clone, Args)]
pub struct Results {
    /// Directory of the records and reports
    #[arg(long, value_name = "DIR", default_value = ".omnitrace/gameday")]
    pub out: PathBuf,
    /// Print JSON: one line per run, then the summary
    #[arg(long)]
    pub json: bool,
}

/// A mode, as the command line takes it.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ModeArg {
    /// `omnitrace up`
    Embedded,
    /// `omnitrace up --standard`
    Standard,
}

impl From<ModeArg> for gameday::Mode {
    fn from(mode: ModeArg) -> Self {
        match mode {
            ModeArg::Embedded => Self::Embedded,
            ModeArg::Standard => Self::Standard,
        }
    }
}

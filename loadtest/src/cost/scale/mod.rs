//! What each part of the standard stack costs, with the real programs and the files of `deploy/`: docs/SCALE.md carries it to more
//! services.

mod prometheus;
mod report;
mod series;
mod spans;

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use standard::{Part, Tools};

use self::report::Report;
use super::args::ScaleArgs;
use super::batches::SPANS;
use super::report::machine;
use super::{generator, overhead, process};

/// What all measurements use.
struct Bench<'a> {
    args: &'a ScaleArgs,
    deploy: PathBuf,
    tools: Tools,
    omnitrace: PathBuf,
    client: reqwest::Client,
}

impl Bench<'_> {
    /// A program of the standard stack, kept to the core of the measurement.
    fn on_core(&self, tool: &str, command: standard::Command) -> Result<Command> {
        let mut part = process::on_core(self.args.core, &self.tools.program(tool)?);
        part.args(command.arguments).envs(command.environment);
        Ok(part)
    }

    /// What Prometheus evaluates.
    fn rules(&self) -> PathBuf {
        self.deploy
            .with_file_name("alerts")
            .join("rules/production.yml")
    }
}

/// Measures and prints.
pub fn run(args: &ScaleArgs) -> Result<bool> {
    let tools = Tools::find(|name| Ok(std::env::var_os(name).map(PathBuf::from)))?;
    tools.programs(&Part::ALL.map(Part::tool))?;
    let bench = Bench {
        deploy: standard::find_deploy(args.deploy.as_deref(), &std::env::current_dir()?)?,
        omnitrace: overhead::executable(args.omnitrace.as_deref())?,
        client: generator::client()?,
        args,
        tools,
    };
    let report = tokio::runtime::Runtime::new()?.block_on(measure(&bench))?;
    match args.json {
        true => println!("{}", serde_json::to_string_pretty(&report)?),
        false => println!("{}", report.markdown()),
    }
    Ok(true)
}

async fn measure(bench: &Bench<'_>) -> Result<Report> {
    let (machine, load_before) = machine();
    let mut spans = vec![];
    for round in 1..=bench.args.rounds {
        for tiers in [1, 2] {
            eprintln!("round {round} of {}, tiers: {tiers}", bench.args.rounds);
            spans.push(spans::measure(bench, tiers).await?);
        }
    }
    eprintln!("the whole stack, {} s", bench.args.seconds);
    let metrics = series::measure(bench).await?;
    let mut scraped = vec![];
    for services in prometheus::SERVICES {
        eprintln!("Prometheus, {services} services");
        scraped.push(prometheus::measure(bench, &metrics.page, services).await?);
    }
    Ok(Report {
        machine,
        load_before,
        spans_each_time: u64::from(bench.args.batches) * SPANS,
        spans,
        metrics,
        scraped,
    })
}

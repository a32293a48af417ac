//! The ladder: every step on every route, at a fixed rate and at saturation, in turn.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::{Client, Method, Request};
use serde_json::json;
use url::Url;

use super::args::OverheadArgs;
use super::generator::{self, Load, Outcome};
use super::report::{ALL, BACKEND, Export, ROUTES, Report, Sample, machine};
use super::services::{Allocated, ITEM, SERVICES, Services, Surroundings};
use super::steps::{STEPS, Step};

/// Share of the throughput at saturation that is the fixed rate.
const SHARE: f64 = 0.6;
/// Length of a measurement with `--quick`.
const QUICK: Duration = Duration::from_millis(300);

/// Measures and prints; true when every request was answered with success.
pub fn run(args: &OverheadArgs) -> Result<bool> {
    let args = args.clone().resolved();
    let (machine, load_before) = machine();
    let directory = directory()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let report = runtime.block_on(async {
        let around = Surroundings::start(&executable(&args)?, &directory)?;
        let client = generator::client()?;
        let mut ladder = Ladder {
            report: Report {
                machine,
                load_before,
                rounds: args.pace.rounds,
                seconds: args.pace.seconds,
                connections: args.connections,
                rates: BTreeMap::new(),
                samples: vec![],
                exports: vec![],
            },
            args: &args,
            around: &around,
            client,
        };
        ladder.rates().await?;
        ladder.rounds().await?;
        anyhow::Ok(ladder.report)
    });
    let _ = std::fs::remove_dir_all(&directory);
    let report = report?;
    let text = match args.pace.json {
        true => report.json()?,
        false => report.markdown(),
    };
    println!("{text}");
    Ok(report.samples.iter().all(|sample| sample.failed == 0))
}

/// The executable that is measured.
fn executable(args: &OverheadArgs) -> Result<PathBuf> {
    let beside = std::env::current_exe()?.with_file_name("omnitrace");
    let path = args.omnitrace.clone().unwrap_or(beside);
    if !path.is_file() {
        bail!(
            "--omnitrace: there is no {}; build it with `cargo build --release -p omnitrace`",
            path.display()
        );
    }
    Ok(path)
}

/// Open to others: where this runs as root, Postgres runs as somebody else.
fn directory() -> Result<PathBuf> {
    let name = format!("omnitrace-overhead-{}", uuid::Uuid::new_v4().simple());
    let path = std::env::temp_dir().join(name);
    std::fs::create_dir(&path).with_context(|| format!("create {}", path.display()))?;
    Ok(path)
}

struct Ladder<'a> {
    args: &'a OverheadArgs,
    around: &'a Surroundings,
    client: Client,
    report: Report,
}

impl Ladder<'_> {
    fn time(&self) -> Duration {
        match self.args.quick {
            true => QUICK,
            false => Duration::from_secs(self.args.pace.seconds.into()),
        }
    }

    /// The rate of the open loop by route: the one asked for, or found at the lowest step.
    async fn rates(&mut self) -> Result<()> {
        if let Some(rate) = self.args.rate {
            self.report.rates = ROUTES.map(|route| (route, rate)).into();
            return Ok(());
        }
        let services = Services::start(self.around, &STEPS[0])?;
        for route in ROUTES {
            let request = request(&services.url, route)?;
            let load = Load::Saturation(self.args.connections);
            let outcome = generator::run(&self.client, &request, load, self.time()).await?;
            let rate = outcome.per_second() * SHARE;
            eprintln!("{route}: the rate is {rate:.0} requests/s");
            self.report.rates.insert(route, (rate as u32).max(1));
            services.rest().await?;
        }
        services.stop();
        Ok(())
    }

    async fn rounds(&mut self) -> Result<()> {
        let rounds = self.args.pace.rounds;
        // Two loads on each route, a fifth more to warm up, and about a second of rest.
        let each = f64::from(self.args.pace.seconds) * 1.2 + 1.0;
        let minutes = each * (2 * ROUTES.len() * STEPS.len()) as f64 * f64::from(rounds) / 60.0;
        eprintln!(
            "{rounds} rounds of {} steps: about {minutes:.0} minutes",
            STEPS.len()
        );
        for round in 1..=rounds {
            // There and back: what drifts, as the table of orders grows, is the same for all.
            let mut steps: Vec<&Step> = STEPS.iter().collect();
            if round % 2 == 0 {
                steps.reverse();
            }
            for step in steps {
                eprintln!("round {round} of {rounds}: {}", step.name);
                self.step(round, step).await?;
            }
        }
        Ok(())
    }

    async fn step(&mut self, round: u32, step: &Step) -> Result<()> {
        let before = self.around.sink.received().await?;
        let services = Services::start(self.around, step)?;
        let mut requests = BTreeMap::new();
        for route in ROUTES {
            let rate = Load::Rate(self.report.rates[route]);
            for load in [rate, Load::Saturation(self.args.connections)] {
                let request = request(&services.url, route)?;
                let warm = generator::run(&self.client, &request, load, self.time() / 5).await?;
                let (outcome, spent) = self.measure(&services, step, &request, load).await?;
                *requests.entry(route).or_default() += warm.requests() + outcome.requests();
                let sample = sample(round, step, route, load, &outcome, spent)?;
                self.report.samples.push(sample);
            }
        }
        let counted = services.counted().await?;
        services.stop();
        let received = self.around.sink.received().await?.since(before);
        let step = step.name;
        self.report.exports.push(Export {
            round,
            step,
            requests,
            counted,
            received,
        });
        Ok(())
    }

    /// What came of the load, and what it took.
    async fn measure(
        &self,
        services: &Services,
        step: &Step,
        request: &Request,
        load: Load,
    ) -> Result<(Outcome, Spent)> {
        let cpu = || anyhow::Ok((services.cpu()?, self.around.backend_cpu(step)?));
        services.rest().await?;
        let allocated = services.allocated().await?;
        let (before, backend) = cpu()?;
        let outcome = generator::run(&self.client, request, load, self.time()).await?;
        services.rest().await?;
        let (after, backend_after) = cpu()?;
        let allocated = allocated.zip(services.allocated().await?);
        let per_request = |spent: Duration| spent.as_secs_f64() * 1e6 / outcome.requests() as f64;
        let spent = [0, 1, 2].map(|index| per_request(after[index] - before[index]));
        let mut cpu_us: BTreeMap<_, _> = SERVICES.into_iter().zip(spent).collect();
        cpu_us.insert(ALL, spent.iter().sum());
        cpu_us.insert(BACKEND, per_request(backend_after - backend));
        let each = |value: fn(&Allocated) -> u64| {
            let (before, after) = allocated?;
            Some((value(&after) - value(&before)) as f64 / outcome.requests() as f64)
        };
        let allocated = each(|all| all.allocations).zip(each(|all| all.bytes));
        Ok((outcome, Spent { cpu_us, allocated }))
    }
}

/// Per request.
struct Spent {
    cpu_us: BTreeMap<&'static str, f64>,
    /// How often, and how much.
    allocated: Option<(f64, f64)>,
}

fn sample(
    round: u32,
    step: &Step,
    route: &'static str,
    load: Load,
    outcome: &Outcome,
    spent: Spent,
) -> Result<Sample> {
    Ok(Sample {
        round,
        step: step.name,
        route,
        load: match load {
            Load::Rate(_) => "rate",
            Load::Saturation(_) => "saturation",
        },
        requests: outcome.requests(),
        failed: outcome.failed,
        requests_per_second: outcome.per_second(),
        p50_ms: outcome.percentile_ms(0.5).context("an answer")?,
        p99_ms: outcome.percentile_ms(0.99).context("an answer")?,
        cpu_us: spent.cpu_us,
        allocations: spent.allocated.map(|(often, _)| often),
        allocated_bytes: spent.allocated.map(|(_, bytes)| bytes),
    })
}

fn request(gateway: &Url, route: &str) -> Result<Request> {
    let url = gateway.join(route)?;
    if route != "/api/orders" {
        return Ok(Request::new(Method::GET, url));
    }
    let order = json!({"sku": ITEM, "quantity": 1, "customer_email": "ada@example.com"});
    Ok(Client::new().post(url).json(&order).build()?)
}

//! The ladder: every step on every route, at a fixed rate and at saturation, in turn.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::{Client, Method, Request};
use serde_json::json;
use tempfile::TempDir;
use url::Url;

use super::args::OverheadArgs;
use super::generator::{self, Load, Outcome};
use super::report::{ALL, BACKEND, Report, Sample, machine};
use super::services::{Allocated, ITEM, SERVICES, Services, Surroundings};
use super::sink::Received;
use super::steps::{STEPS, Step};

/// Share of the throughput at saturation that is the fixed rate.
const SHARE: f64 = 0.6;
/// Length of a measurement with `--quick`.
const QUICK: Duration = Duration::from_millis(300);

/// Measures and prints; true when every request was answered with success and the services came to rest each time.
pub fn run(args: &OverheadArgs) -> Result<bool> {
    let args = args.clone().resolved();
    let (machine, load_before) = machine();
    let directory = directory()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let report = runtime.block_on(async {
        let around =
            Surroundings::start(&executable(args.omnitrace.as_deref())?, directory.path())?;
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
            },
            args: &args,
            around: &around,
            client,
        };
        ladder.say_how_long();
        ladder.rates().await?;
        ladder.rounds().await?;
        anyhow::Ok(ladder.report)
    })?;
    let text = match args.pace.json {
        true => report.json()?,
        false => report.markdown(),
    };
    println!("{text}");
    Ok(report.samples.iter().all(Sample::sound))
}

/// The executable that is measured.
pub fn executable(asked: Option<&Path>) -> Result<PathBuf> {
    let beside = std::env::current_exe()?.with_file_name("omnitrace");
    let path = asked.map_or(beside, Path::to_owned);
    if !path.is_file() {
        bail!(
            "--omnitrace: there is no {}; build it with `cargo build --release -p omnitrace`",
            path.display()
        );
    }
    Ok(path)
}

/// Open to others, whatever the umask: where this runs as root, Postgres runs as somebody else.
pub fn directory() -> Result<TempDir> {
    let directory = tempfile::tempdir()?;
    std::fs::set_permissions(directory.path(), Permissions::from_mode(0o755))?;
    Ok(directory)
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

    fn say_how_long(&self) {
        let (rounds, routes) = (self.args.pace.rounds, self.args.routes().len());
        // Two loads on each route, a fifth more to warm up, and about a second of rest; two seconds for a start.
        let each = self.time().as_secs_f64() * 1.2 + 1.2;
        let steps = (2.0 + each * 2.0 * routes as f64) * STEPS.len() as f64;
        eprintln!(
            "{rounds} rounds of {} steps on {routes} routes: about {:.0} minutes",
            STEPS.len(),
            (steps * f64::from(rounds) / 60.0).ceil()
        );
    }

    /// The rate of the open loop by route: the one asked for, or found at the lowest step.
    async fn rates(&mut self) -> Result<()> {
        let routes = self.args.routes();
        if let Some(rate) = self.args.rate {
            self.report.rates = routes.into_iter().map(|route| (route, rate)).collect();
            return Ok(());
        }
        let services = Services::start(self.around, &STEPS[0])?;
        for route in routes {
            let request = request(&services.url, route)?;
            let load = Load::Saturation(self.args.connections);
            let outcome = generator::run(&self.client, &request, load, self.time()).await?;
            if outcome.failed > 0 {
                bail!(
                    "{route}: {} of {} requests at saturation failed: no rate follows from that; give --rate, or fewer --connections",
                    outcome.failed,
                    outcome.requests()
                );
            }
            let rate = outcome.per_second() * SHARE;
            eprintln!("{route}: the rate is {rate:.0} requests/s");
            self.report.rates.insert(route, (rate as u32).max(1));
            // Whether they came to rest counts, and is asked again, where something is measured.
            services.rest().await?;
        }
        services.stop();
        Ok(())
    }

    async fn rounds(&mut self) -> Result<()> {
        let rounds = self.args.pace.rounds;
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
        let services = Services::start(self.around, step)?;
        for route in self.args.routes() {
            let rate = Load::Rate(self.report.rates[route]);
            for load in [rate, Load::Saturation(self.args.connections)] {
                let request = request(&services.url, route)?;
                let warm = generator::run(&self.client, &request, load, self.time() / 5).await?;
                let (outcome, spent) = self.measure(&services, step, &request, load).await?;
                let mut sample = sample(round, step, route, load, &outcome, spent)?;
                sample.failed += warm.failed;
                self.report.samples.push(sample);
            }
        }
        services.stop();
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
        let rested = services.rest().await?;
        let (counted, received) = self.seen(services).await?;
        let allocated = services.allocated().await?;
        let (before, backend) = cpu()?;
        let outcome = generator::run(&self.client, request, load, self.time()).await?;
        let rested = services.rest().await? && rested;
        let (after, backend_after) = cpu()?;
        let allocated = allocated.zip(services.allocated().await?);
        let seen = self.seen(services).await?;
        let per_request = |spent: Duration| spent.as_secs_f64() * 1e6 / outcome.requests() as f64;
        let by_service = [0, 1, 2].map(|index| per_request(after[index] - before[index]));
        let mut cpu_us: BTreeMap<_, _> = SERVICES.into_iter().zip(by_service).collect();
        cpu_us.insert(ALL, by_service.iter().sum());
        cpu_us.insert(BACKEND, per_request(backend_after - backend));
        let each = |value: fn(&Allocated) -> u64| {
            let (before, after) = allocated?;
            Some((value(&after) - value(&before)) as f64 / outcome.requests() as f64)
        };
        let allocated = each(|all| all.allocations).zip(each(|all| all.bytes));
        let spent = Spent {
            cpu_us,
            allocated,
            counted: seen.0 - counted,
            received: seen.1.since(received),
            rested,
        };
        Ok((outcome, spent))
    }

    /// Requests that the gateway has counted, and what has arrived at the sink.
    async fn seen(&self, services: &Services) -> Result<(u64, Received)> {
        Ok((
            services.counted().await?,
            self.around.sink.received().await?,
        ))
    }
}

/// What a measurement took, and what was seen of it.
struct Spent {
    /// Per request.
    cpu_us: BTreeMap<&'static str, f64>,
    /// How often, and how much, per request.
    allocated: Option<(f64, f64)>,
    counted: u64,
    received: Received,
    rested: bool,
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
        rested: spent.rested,
        requests_per_second: outcome.per_second(),
        p50_ms: outcome.percentile_ms(0.5).context("an answer")?,
        p99_ms: outcome.percentile_ms(0.99).context("an answer")?,
        cpu_us: spent.cpu_us,
        allocations: spent.allocated.map(|(often, _)| often),
        allocated_bytes: spent.allocated.map(|(_, bytes)| bytes),
        counted: spent.counted,
        received: spent.received,
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

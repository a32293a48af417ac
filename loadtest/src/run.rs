//! One load test, from the check of the target to the report.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;
use goose::config::GooseConfiguration;
use goose::metrics::GooseMetrics;
use goose::{GooseAttack, GooseScheduler};
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Args;
use crate::metrics::ClientMetrics;
use crate::progress::Progress;
use crate::stdout::Stdout;
use crate::summary::{Summary, summarize};
use crate::truth::Truth;
use crate::users::{Shop, scenario};
use crate::{report, target, thresholds};

/// How long the last spans may take to be delivered.
const FLUSH: Duration = Duration::from_secs(10);

/// Runs the test; true when all thresholds held.
pub async fn run(args: Args) -> Result<bool> {
    let mut stdout = Stdout::take().context("standard output cannot be used")?;
    let url = target::check(&args.target, args.allow_remote)?;
    if args.think_min_ms > args.think_max_ms {
        bail!(
            "--think-min-ms {} is more than --think-max-ms {}; give a pause that can be",
            args.think_min_ms,
            args.think_max_ms
        );
    }
    if args.duration < args.profile.shortest() {
        bail!(
            "--duration {} s is too short for --profile {}; give at least {} s",
            args.duration.as_secs(),
            args.profile.name(),
            args.profile.shortest().as_secs()
        );
    }
    if let Some(directory) = &args.report_dir {
        report::prepare(directory)?;
    }
    let metrics = ClientMetrics::new(env!("CARGO_PKG_VERSION"))?;
    let address = metrics.serve(args.metrics_listen)?;
    let telemetry = start_telemetry()?;
    if !args.quiet {
        eprintln!("load on {url}, metrics on http://{address}/metrics, Ctrl-C ends it early");
    }

    let truth = Arc::new(Truth::new(metrics));
    let shop = Arc::new(Shop::new(url.as_str(), Arc::clone(&truth))?);
    let progress = Progress::start(Arc::clone(&truth), args.duration, !args.quiet);
    let started = Instant::now();
    let goose = attack(&args, url.as_str(), &shop).await;
    let seconds = started.elapsed().as_secs_f64();
    let timeline = progress.stop();
    // Flushed whether the test could be run or not.
    let delivered = tokio::task::spawn_blocking(move || telemetry.shutdown(FLUSH)).await?;

    let summary = summarize(
        &args,
        &truth.counts(),
        &goose?,
        timeline,
        seconds,
        delivered,
    );
    publish(&args, &summary, &mut stdout)?;
    Ok(thresholds::all_held(&summary.thresholds))
}

fn start_telemetry() -> Result<telemetry::Telemetry> {
    let mut settings = service::settings::Env::process().telemetry()?;
    // Standard output belongs to the report; whether telemetry was lost is said there.
    settings.log_filter = "off".to_owned();
    let info = telemetry::ServiceInfo {
        name: crate::SERVICE_NAME.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    Ok(telemetry::init(
        info,
        &settings,
        &[crate::metrics::METRICS],
    )?)
}

async fn attack(args: &Args, target: &str, shop: &Arc<Shop>) -> Result<GooseMetrics> {
    let plan = args.profile.test_plan(args.users as usize, args.duration);
    let configuration = GooseConfiguration::try_parse_from([
        "loadtest",
        "--host",
        target,
        "--test-plan",
        &plan,
        "--co-mitigation",
        "average",
        // Everything it would print is in our report; and nobody needs to steer it by telnet.
        "--no-print-metrics",
        "--no-telnet",
        "-q",
    ])?;
    let think = (
        Duration::from_millis(args.think_min_ms),
        Duration::from_millis(args.think_max_ms),
    );
    // Goose stops by itself at SIGINT only; containers are stopped by SIGTERM.
    let mut terminate = signal(SignalKind::terminate())?;
    let stopper = tokio::spawn(async move {
        if terminate.recv().await.is_some() {
            goose::trigger_killswitch("SIGTERM received");
        }
    });
    let metrics = GooseAttack::initialize_with_config(configuration)?
        // Else everybody would browse and order in step.
        .set_scheduler(GooseScheduler::Random)
        .register_scenario(scenario(shop, think)?)
        .execute()
        .await
        .context("goose could not run the test");
    stopper.abort();
    metrics
}

fn publish(args: &Args, summary: &Summary, stdout: &mut Stdout) -> Result<()> {
    if let Some(directory) = &args.report_dir {
        report::write(directory, summary)?;
    }
    if args.json {
        stdout.print(&report::json(summary)?)?;
    } else {
        stdout.print(&report::markdown(summary))?;
    }
    for verdict in summary.thresholds.iter().filter(|verdict| !verdict.held) {
        eprintln!(
            "error: --{} {}: measured {:.4}",
            verdict.name, verdict.limit, verdict.measured
        );
    }
    Ok(())
}

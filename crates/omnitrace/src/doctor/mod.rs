//! `omnitrace doctor`: checks that every signal arrives, and that each leads to the next.

pub mod args;
pub mod client;
mod path;
mod paths;
mod preflight;
mod report;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use herald::BackendTls;
use tokio::task::JoinSet;

use crate::runtime::block_on;
use crate::up::probe::{self, ProbeResult};
use args::{Backend, DoctorArgs, Places};
use client::Client;
use path::{Path, Visit};
use paths::Probe;
use report::{Report, Row, State};

/// Follows every path, prints a line per path, and fails when one does not lead where it should.
pub fn run(args: &DoctorArgs) -> Result<ExitCode> {
    if args.preflight {
        return preflight::run(args);
    }
    let client = Client::new(&args.tls.clone().files())?;
    let places = args.places()?;
    let report = block_on(follow(client, args, &places))?;
    report.conclude(&places);
    report.finish();
    Ok(report.exit_code())
}

async fn follow(client: Client, args: &DoctorArgs, places: &Places) -> Result<Report> {
    let mut report = Report::new(args.json);
    missing(args, places).for_each(|row| report.add(row));
    let start = Instant::now();
    let deadline = start + args.timeout;
    let Some(probe) = order(&client, places, &mut report, deadline).await else {
        return Ok(report);
    };
    report.trace_id = Some(probe.order.trace_id.clone());
    let password = args.grafana_password.clone();
    let visit = Arc::new(Visit {
        client,
        places: places.clone(),
        grafana: password.map(|password| (args.grafana_user.clone(), password)),
        data_dir: args.data_dir.clone(),
        probe,
    });
    let mut running = JoinSet::new();
    for path in Path::ALL.into_iter().filter(|path| path.is_given(places)) {
        running.spawn(Arc::clone(&visit).follow(path, deadline));
    }
    while let Some(row) = running.join_next().await {
        report.add(row?);
    }
    report.seconds = start.elapsed();
    Ok(report)
}

/// Places an order, and waits until its trace, its log lines and its request are visible.
///
/// # Errors
/// The order fails, or something of it is not visible after `patience`: what, why, and where to look.
pub async fn until_visible(
    places: Places,
    data_dir: &std::path::Path,
    patience: Duration,
) -> Result<ProbeResult> {
    let client = Client::new(&BackendTls::default())?;
    let deadline = Instant::now() + patience;
    let probe = place(&client, &places, deadline).await?;
    let visit = Visit {
        client,
        places,
        grafana: None,
        data_dir: data_dir.to_owned(),
        probe,
    };
    for path in [Path::Trace, Path::Logs, Path::Count] {
        let look_at = || format!("{}; look at {}", path.name(), visit.hint(path));
        visit.leads(path, deadline).await.with_context(look_at)?;
    }
    Ok(visit.probe.order)
}

/// Backends without a URL. If all are missing there is nothing to check, which is a failure.
fn missing(args: &DoctorArgs, places: &Places) -> impl Iterator<Item = Row> {
    let is_told = |backend: &Backend| !places.is_console || args.requires(*backend);
    let gone = Backend::ALL
        .into_iter()
        .filter(|backend| places.url(*backend).is_none());
    let rows = gone.filter(is_told).map(|backend| absent(args, backend));
    let nothing = places.backends.is_empty().then(|| Row {
        path: "backends".to_owned(),
        state: State::Fail,
        detail: "no backend is given, so nothing was followed".to_owned(),
        hint: "the variables above, or omnitrace doctor --help".to_owned(),
        seconds: Duration::ZERO,
    });
    rows.chain(nothing)
}

fn absent(args: &DoctorArgs, backend: Backend) -> Row {
    let required = args.requires(backend);
    Row {
        path: backend.name().to_owned(),
        state: if required { State::Fail } else { State::Absent },
        detail: if required {
            "is required and its URL is not given".to_owned()
        } else {
            String::new()
        },
        hint: format!("set {}", backend.variable()),
        seconds: Duration::ZERO,
    }
}

/// Places the probe order. Without it there is nothing to follow.
async fn order(
    client: &Client,
    places: &Places,
    report: &mut Report,
    deadline: Instant,
) -> Option<Probe> {
    let start = Instant::now();
    let placed = place(client, places, deadline).await;
    let (state, detail) = match &placed {
        Ok(probe) => (
            State::Ok,
            format!("answered, trace {}", probe.order.trace_id),
        ),
        Err(error) => (State::Fail, format!("{error:#}")),
    };
    report.add(Row {
        path: "order -> gateway".to_owned(),
        state,
        detail,
        hint: format!(
            "{} and the logs of gateway, data and downstream",
            places.gateway
        ),
        seconds: start.elapsed(),
    });
    placed.ok()
}

/// The earlier count of each route. A missing answer is no failure here, and a silent Prometheus takes at most a quarter of
/// the order's time: the later paths report the reason.
async fn counted_before(
    client: &Client,
    places: &Places,
    deadline: Instant,
) -> [(&'static str, f64); 2] {
    let patience = deadline.saturating_duration_since(Instant::now()) / 4;
    let count = async |route| {
        let Some(prometheus) = places.url(Backend::Prometheus) else {
            return (route, 0.0);
        };
        let asked = paths::count(client, prometheus, route);
        let answer = tokio::time::timeout(patience, asked).await;
        (route, answer.ok().and_then(Result::ok).unwrap_or(0.0))
    };
    let (orders, data) = tokio::join!(count("/api/orders"), count("/api/data"));
    [orders, data]
}

async fn place(client: &Client, places: &Places, deadline: Instant) -> Result<Probe> {
    let before = counted_before(client, places, deadline).await;
    let patience = deadline.saturating_duration_since(Instant::now());
    let visible = probe::send_within(client.http(), &places.gateway, patience).await?;
    let (_, counted_before) = before
        .into_iter()
        .find(|(route, _)| *route == visible.route())
        .context("the probe's route")?;
    Ok(Probe {
        order: visible,
        counted_before,
    })
}

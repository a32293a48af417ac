//! `omnitrace gameday`: breaks stacks of its own, one per run, and measures what people are told.
//!
//! [`play`] is one run: [`stack`] starts it, [`inject`] breaks it, [`receiver`] is the webhook, [`links`] follows the links of each
//! notification. [`files`] keeps the records, the crate `gameday` scores them.

pub mod args;
mod dashboard;
mod files;
mod inject;
mod links;
mod play;
mod receiver;
mod stack;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use gameday::{Mode, Record, Scenario, Score, Summary};
use listen::StopSignals;
use serde_json::json;
use tokio::sync::{Mutex, Semaphore, watch};

use crate::environment;
use crate::runtime::block_on;
use crate::terminal::{say, say_json, say_lines};
use args::{GamedayAction, Results, RunArgs};
use files::{Out, Read};
use play::{Interrupted, Run, Shared};

/// What a run takes besides its own times, until there is one to learn from.
const AROUND: Duration = Duration::from_secs(120);

/// Runs `gameday run`, `check` or `report`.
pub fn run(action: &GamedayAction) -> Result<ExitCode> {
    match action {
        GamedayAction::Run(args) => {
            block_on(tokio::task::LocalSet::new().run_until(play_all(args)))
        }
        GamedayAction::Check { files } => {
            let scenarios: Vec<Scenario> = files::scenarios(files)?
                .into_iter()
                .map(|read| read.scenario)
                .collect();
            say_lines(gameday::matrix(&scenarios).trim_end());
            say(&format!("{} scenarios, no mistake found", scenarios.len()));
            Ok(ExitCode::SUCCESS)
        }
        GamedayAction::Report { files, results } => {
            let out = Out::new(&results.out)?;
            report(&files::scenarios(files)?, results, &out, false)
        }
    }
}

async fn play_all(args: &RunArgs) -> Result<ExitCode> {
    let mode = Mode::from(args.mode);
    let scenarios = files::scenarios(&args.files)?;
    // Runbooks and dashboards are beside the scenarios.
    let checkout = args.files.scenarios.canonicalize()?;
    let shared = Shared {
        client: incoming::client()
            .no_proxy()
            .timeout(Duration::from_secs(10))
            .build()?,
        out: Out::new(&args.results.out)?,
        checkout: checkout.parent().unwrap_or(&checkout).to_owned(),
        machine: Semaphore::new(args.jobs as usize),
        jobs: args.jobs,
        next_start: Mutex::new(tokio::time::Instant::now()),
    };
    let runs = open_runs(&scenarios, mode, args, &shared.out);
    let mut signals = StopSignals::install(environment::parent_pipe()?)?;
    let (stop, stopped) = watch::channel(false);
    let playing = play_side_by_side(&runs, &shared, &stopped, Progress::new(&runs, args));
    tokio::pin!(playing);
    let partial = tokio::select! {
        done = &mut playing => { done?; false }
        why = signals.next() => {
            say(&format!("{why}: every fault is taken back, and the stacks are stopped"));
            stop.send_replace(true);
            playing.await?;
            true
        }
    };
    report(&scenarios, &args.results, &shared.out, partial)
}

/// The runs that are not finished yet, repeat by repeat: an interrupted game day then has every scenario once rather than one of them
/// often. Those that run alone come first: later, each would wait until the others have taken their faults back.
fn open_runs<'a>(scenarios: &'a [Read], mode: Mode, args: &RunArgs, out: &Out) -> Vec<Run<'a>> {
    let mut runs = Vec::new();
    for repeat in 1..=args.repeats {
        for Read { scenario, hash } in scenarios {
            let finished = |record: &Record| {
                let is_this = args.any_build || record.build == crate::BUILD;
                is_this && record.file == *hash && record.broken.is_none()
            };
            let is_open = args.again
                || !out
                    .record(mode, &scenario.name, repeat)
                    .as_ref()
                    .is_some_and(finished);
            if is_open && !scenario.not_in.contains_key(&mode) {
                runs.push(Run {
                    scenario,
                    hash,
                    mode,
                    repeat,
                });
            }
        }
    }
    runs.sort_by_key(|run| (run.repeat, !run.scenario.alone));
    runs
}

async fn play_side_by_side(
    runs: &[Run<'_>],
    shared: &Shared,
    stopped: &watch::Receiver<bool>,
    mut progress: Progress<'_>,
) -> Result<()> {
    let mut waiting = runs.iter();
    let mut playing = FuturesUnordered::new();
    loop {
        while playing.len() < shared.jobs as usize && !*stopped.borrow() {
            let Some(run) = waiting.next() else { break };
            progress.begins(run);
            let stopped = stopped.clone();
            playing.push(async move { (run.play(shared, stopped).await, run) });
        }
        match playing.next().await {
            None => return Ok(()),
            Some((Err(Interrupted), _)) => {}
            Some((Ok(record), run)) => {
                shared.out.keep(&record)?;
                progress.ended(run, &record);
            }
        }
    }
}

/// Tells how far it is.
struct Progress<'a> {
    args: &'a RunArgs,
    width: usize,
    /// What is expected of all runs, and of those that are done.
    total: Duration,
    over: Duration,
    /// Since when each of the others plays, by name, and what is expected of it.
    playing: BTreeMap<String, (Instant, Duration)>,
    done: usize,
    of: usize,
    start: Instant,
}

impl<'a> Progress<'a> {
    fn new(runs: &[Run<'_>], args: &'a RunArgs) -> Self {
        Self {
            args,
            width: runs
                .iter()
                .map(|run| run.scenario.name.len())
                .max()
                .unwrap_or_default(),
            total: runs.iter().map(|run| expected(run)).sum(),
            over: Duration::ZERO,
            playing: BTreeMap::new(),
            done: 0,
            of: runs.len(),
            start: Instant::now(),
        }
    }

    fn begins(&mut self, run: &Run<'_>) {
        self.playing
            .insert(run.name(), (Instant::now(), expected(run)));
        if !self.args.results.json {
            let left = self.minutes_left();
            say(&format!(
                "{} of {}: {}   (about {left} min left)",
                self.done + self.playing.len(),
                self.of,
                run.name()
            ));
        }
    }

    fn ended(&mut self, run: &Run<'_>, record: &Record) {
        let score = gameday::score(run.scenario, record);
        self.done += 1;
        self.playing.remove(&run.name());
        self.over += expected(run);
        match self.args.results.json {
            true => say_json(
                &json!({"event": "run", "done": self.done, "of": self.of, "minutes_left": self.minutes_left(), "score": score}),
            ),
            false => say(&gameday::line(&score, self.width)),
        }
    }

    /// As fast as so far: what was expected of the runs that are done, and of the others as much as they have played, took until now.
    fn minutes_left(&self) -> u64 {
        let played = |(since, expected): &(Instant, Duration)| since.elapsed().min(*expected);
        let past = self.over + self.playing.values().map(played).sum::<Duration>();
        let took = self.start.elapsed();
        // The first one starts with no past to learn from.
        let pace = match took < AROUND {
            true => 1.0 / f64::from(self.args.jobs),
            false => took.as_secs_f64() / past.as_secs_f64(),
        };
        (self.total.saturating_sub(past).as_secs_f64() * pace / 60.0).ceil() as u64
    }
}

fn expected(run: &Run<'_>) -> Duration {
    AROUND + run.scenario.longest() / 2
}

/// Scores every record, writes the reports and prints the table. Fails if a goal is missed.
fn report(scenarios: &[Read], results: &Results, out: &Out, partial: bool) -> Result<ExitCode> {
    let mut runs: Vec<(Score, Record)> = Vec::new();
    for record in out.records()? {
        let scenario = scenarios
            .iter()
            .find(|read| read.scenario.name == record.scenario);
        if let Some(Read { scenario, .. }) = scenario {
            runs.push((gameday::score(scenario, &record), record));
        }
    }
    if runs.is_empty() {
        bail!(
            "nothing was run yet in {}: `omnitrace gameday run`",
            results.out.display()
        );
    }
    let scores: Vec<Score> = runs.iter().map(|(score, _)| score.clone()).collect();
    let summaries: Vec<Summary> = Mode::ALL
        .into_iter()
        .filter(|mode| scores.iter().any(|score| score.mode == *mode))
        .map(|mode| gameday::summary(mode, &scores))
        .collect();
    let about = about(&runs);
    let facts: serde_json::Map<_, _> = about
        .iter()
        .map(|(name, fact)| ((*name).to_owned(), fact.as_str().into()))
        .collect();
    let whole = json!({"partial": partial, "about": facts, "summaries": summaries, "runs": scores});
    let json_path = out.report("gameday.json", &serde_json::to_vec_pretty(&whole)?)?;
    let html_path = out.report(
        "report.html",
        gameday::html(&about, partial, &runs, &summaries).as_bytes(),
    )?;
    match results.json {
        true => say_json(
            &json!({"event": "report", "partial": partial, "summaries": summaries, "report": html_path, "json": json_path}),
        ),
        false => {
            say_lines(gameday::table(&scores, &summaries).trim_end());
            say(&format!(
                "report: {}   {}",
                html_path.display(),
                json_path.display()
            ));
        }
    }
    let reached = summaries
        .iter()
        .flat_map(|summary| &summary.goals)
        .all(|goal| goal.met != Some(false));
    Ok(if reached && !partial {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Where and when.
fn about(runs: &[(Score, Record)]) -> [(&'static str, String); 5] {
    let builds: BTreeSet<&str> = runs
        .iter()
        .map(|(_, record)| record.build.as_str())
        .collect();
    let builds: Vec<&str> = builds.into_iter().collect();
    let shown = |at: Option<DateTime<Utc>>| {
        at.map_or_else(String::new, |at| {
            at.format("%Y-%m-%d %H:%M UTC").to_string()
        })
    };
    let started = runs.iter().filter_map(|(_, record)| record.times.started);
    let stopped = runs.iter().filter_map(|(_, record)| record.times.stopped);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let profile = if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    };
    [
        ("build", builds.join(", ")),
        ("profile", profile.to_owned()),
        (
            "machine",
            format!(
                "{cores} cores, {}, {}",
                std::env::consts::OS,
                std::env::consts::ARCH
            ),
        ),
        ("first run", shown(started.min())),
        ("last run", shown(stopped.max())),
    ]
}

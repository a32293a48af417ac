//! One run of a scenario: a fresh stack, a baseline, the fault, what people are told of it, its end.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use chrono::Utc;
use gameday::{Mode, Record, Scenario, Score, Times, score};
use reqwest::Client;
use tokio::sync::{Mutex, Semaphore, SemaphorePermit, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::files::Out;
use super::inject::Injected;
use super::links::Guide;
use super::receiver::Receiver;
use super::stack::GameStack;

/// After the first notification that tells of the fault, for one that names its place.
const SECOND_LOOK: Duration = Duration::from_secs(60);

/// Stacks that start in the same second take the processors from each other, and so do their faults a baseline later.
const BETWEEN_STARTS: Duration = Duration::from_secs(5);

/// Which run.
pub struct Run<'a> {
    pub scenario: &'a Scenario,
    pub hash: &'a str,
    pub mode: Mode,
    pub repeat: u32,
}

/// What all runs share.
pub struct Shared {
    pub client: Client,
    pub out: Out,
    /// The repository, with runbooks and dashboards.
    pub checkout: PathBuf,
    /// A permit per stack that may run beside others.
    pub machine: Semaphore,
    pub jobs: u32,
    /// When the next stack may start.
    pub next_start: Mutex<Instant>,
}

impl Shared {
    async fn turn(&self) {
        let mut next = self.next_start.lock().await;
        sleep_until(*next).await;
        *next = Instant::now() + BETWEEN_STARTS;
    }
}

/// Why a run has no record.
pub struct Interrupted;

impl Run<'_> {
    pub fn name(&self) -> String {
        format!(
            "{} ({}, run {})",
            self.scenario.name,
            self.mode.as_str(),
            self.repeat
        )
    }

    /// Plays it. A run that fails is a record that says why; only one that is interrupted is none. Whatever happens, what was done is
    /// taken back and the stack is stopped.
    pub async fn play(
        &self,
        shared: &Shared,
        mut stop: watch::Receiver<bool>,
    ) -> Result<Record, Interrupted> {
        let permits = if self.scenario.alone { shared.jobs } else { 1 };
        let permit = shared.machine.acquire_many(permits).await;
        let permit = permit.expect("it is never closed");
        tokio::select! {
            () = shared.turn() => {}
            _ = stop.wait_for(|stop| *stop) => return Err(Interrupted),
        }
        let mut record = Record {
            scenario: self.scenario.name.clone(),
            mode: self.mode,
            repeat: self.repeat,
            build: crate::BUILD.to_owned(),
            file: self.hash.to_owned(),
            times: Times {
                started: Some(Utc::now()),
                ..Times::default()
            },
            notifications: Vec::new(),
            hops: Vec::new(),
            broken: None,
        };
        let result = self
            .on_a_stack(&mut record, shared, permit, stop.clone())
            .await;
        if *stop.borrow() {
            return Err(Interrupted);
        }
        record.broken = result.err().map(|why| format!("{why:#}"));
        record.times.stopped = Some(Utc::now());
        Ok(record)
    }

    async fn on_a_stack(
        &self,
        record: &mut Record,
        shared: &Shared,
        permit: SemaphorePermit<'_>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<()> {
        let receiver = Receiver::start()?;
        let data_dir = shared
            .out
            .stack(self.mode, &self.scenario.name, self.repeat);
        let webhook = receiver.url();
        let starting = GameStack::start(self.scenario, self.mode, &webhook, &data_dir);
        let stack = tokio::select! {
            stack = starting => stack?,
            // What has been started ends with the pipe to it.
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        };
        let mut injected = Injected::new(&shared.client);
        let result = tokio::select! {
            result = self.steps(record, shared, permit, &stack, &mut injected, &receiver) => result,
            _ = stop.wait_for(|stop| *stop) => Ok(()),
        };
        let taken_back = injected.clear(&stack).await;
        record.notifications = receiver.notifications();
        let result = result.and(taken_back);
        let stopped = stack.stop(result.is_err()).await;
        result.and(stopped)
    }

    async fn steps(
        &self,
        record: &mut Record,
        shared: &Shared,
        permit: SemaphorePermit<'_>,
        stack: &GameStack,
        injected: &mut Injected<'_>,
        receiver: &Receiver,
    ) -> Result<()> {
        record.times.ready = Some(Utc::now());
        sleep(self.scenario.baseline).await;
        record.times.injected = Some(Utc::now());
        for inject in &self.scenario.inject {
            sleep(inject.after).await;
            injected.inject(&inject.action, stack).await?;
        }
        if !self.scenario.is_control() {
            self.until_told(record, receiver).await;
        }
        sleep(self.scenario.hold).await;
        record.notifications = receiver.notifications();
        record.hops = Guide::new(&shared.client, stack, &shared.checkout)?
            .follow(&record.notifications)
            .await;
        injected.clear(stack).await?;
        record.times.cleared = Some(Utc::now());
        // From here it only waits.
        drop(permit);
        if !self.scenario.is_control() {
            self.until_over(record, receiver).await;
        }
        Ok(())
    }

    /// Until the first notification that names the true place, for as long as the scenario says; from the first one that tells of the
    /// fault only for a second look.
    async fn until_told(&self, record: &mut Record, receiver: &Receiver) {
        let mut deadline = Instant::now() + self.scenario.patience;
        let mut told = false;
        self.until(record, receiver, |score| {
            if score.first_s.is_some() && !told {
                told = true;
                deadline = deadline.min(Instant::now() + SECOND_LOOK);
            }
            (score.first_right_s.is_some(), deadline)
        })
        .await;
    }

    async fn until_over(&self, record: &mut Record, receiver: &Receiver) {
        let deadline = Instant::now() + self.scenario.resolve;
        self.until(record, receiver, |score| {
            (
                score.episodes.iter().all(|episode| episode.over.is_some()),
                deadline,
            )
        })
        .await;
    }

    /// Until what was notified so far is enough, or the deadline; both may change with each notification.
    async fn until(
        &self,
        record: &mut Record,
        receiver: &Receiver,
        mut enough: impl FnMut(&Score) -> (bool, Instant),
    ) {
        let mut count = receiver.count();
        loop {
            count.mark_unchanged();
            record.notifications = receiver.notifications();
            let (enough, deadline) = enough(&score(self.scenario, record));
            if enough || timeout_at(deadline, count.changed()).await.is_err() {
                return;
            }
        }
    }
}

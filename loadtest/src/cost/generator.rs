//! Load in an open loop (requests start when they are due) and in a closed one (each connection asks again when it is answered).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use reqwest::{Client, Request};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub enum Load {
    /// Requests/s, over as many connections as it takes, up to a bound.
    Rate(u32),
    /// As many as this number of connections can.
    Saturation(u32),
}

/// Connections of an open loop. More than would be busy at once on a machine that keeps up.
const OPEN_CONNECTIONS: u32 = 128;

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Latencies in microseconds, sorted. In an open loop from when the request was due.
    pub latencies: Vec<u32>,
    /// Requests without an answer, or with one other than 2xx.
    pub failed: u64,
    /// From the first request to the last answer.
    pub took: Duration,
}

impl Outcome {
    /// Requests that were sent.
    pub fn requests(&self) -> u64 {
        self.latencies.len() as u64 + self.failed
    }

    /// Answers per second.
    pub fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.took.as_secs_f64()
    }

    /// The latency that this share of the answers does not exceed, in milliseconds.
    pub fn percentile_ms(&self, share: f64) -> Option<f64> {
        let last = self.latencies.len().checked_sub(1)?;
        let index = (last as f64 * share).round() as usize;
        Some(f64::from(self.latencies[index]) / 1000.0)
    }
}

/// A client whose connections last.
pub fn client() -> Result<Client> {
    Ok(Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(10))
        .build()?)
}

/// Puts `load` on a server for a time, with copies of `request`.
pub async fn run(
    client: &Client,
    request: &Request,
    load: Load,
    time: Duration,
) -> Result<Outcome> {
    let turns = Arc::new(Turns::new(load, time));
    let mut workers = JoinSet::new();
    for _ in 0..turns.workers() {
        let (turns, client) = (Arc::clone(&turns), client.clone());
        let request = request.try_clone().context("a body that can be copied")?;
        workers.spawn(async move { work(&turns, &client, &request).await });
    }
    let started = turns.start;
    let pacer = Arc::clone(&turns).pace();
    let mut outcome = Outcome::default();
    while let Some(worker) = workers.join_next().await {
        let (latencies, failed) = worker?;
        outcome.latencies.extend(latencies);
        outcome.failed += failed;
    }
    outcome.took = started.elapsed();
    pacer.await?;
    outcome.latencies.sort_unstable();
    if outcome.latencies.is_empty() {
        bail!("no request to {} was answered with success", request.url());
    }
    Ok(outcome)
}

/// Who may send when.
struct Turns {
    load: Load,
    start: Instant,
    time: Duration,
    due: Semaphore,
    taken: AtomicU64,
}

impl Turns {
    fn new(load: Load, time: Duration) -> Self {
        Self {
            load,
            start: Instant::now(),
            time,
            due: Semaphore::new(0),
            taken: AtomicU64::new(0),
        }
    }

    fn workers(&self) -> u32 {
        match self.load {
            Load::Rate(rate) => rate.min(OPEN_CONNECTIONS),
            Load::Saturation(connections) => connections,
        }
    }

    /// When the next request counts from; `None` at the end.
    async fn next(&self) -> Option<Instant> {
        let Load::Rate(rate) = self.load else {
            return (self.start.elapsed() < self.time).then(Instant::now);
        };
        self.due.acquire().await.ok()?.forget();
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        (number < self.total(rate)).then(|| self.start + offset(number, rate))
    }

    fn total(&self, rate: u32) -> u64 {
        (f64::from(rate) * self.time.as_secs_f64()).ceil() as u64
    }

    /// Lets requests go when they are due. A thread: timers of the runtime are as coarse as a millisecond.
    fn pace(self: Arc<Self>) -> tokio::task::JoinHandle<()> {
        tokio::task::spawn_blocking(move || {
            let Load::Rate(rate) = self.load else { return };
            for number in 0..self.total(rate) {
                let due = offset(number, rate);
                if let Some(early) = due.checked_sub(self.start.elapsed()) {
                    std::thread::sleep(early);
                }
                self.due.add_permits(1);
            }
            // One more for each, to see that it is over.
            self.due.add_permits(self.workers() as usize);
        })
    }
}

fn offset(number: u64, rate: u32) -> Duration {
    Duration::from_secs_f64(number as f64 / f64::from(rate))
}

async fn work(turns: &Turns, client: &Client, request: &Request) -> (Vec<u32>, u64) {
    let (mut latencies, mut failed) = (Vec::new(), 0);
    while let Some(due) = turns.next().await {
        let copy = request.try_clone().expect("copied before");
        if answered(client, copy).await {
            let micros = due.elapsed().as_micros();
            latencies.push(u32::try_from(micros).unwrap_or(u32::MAX));
        } else {
            failed += 1;
        }
    }
    (latencies, failed)
}

async fn answered(client: &Client, request: Request) -> bool {
    match client.execute(request).await {
        Ok(answer) => answer.status().is_success() && answer.bytes().await.is_ok(),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let latencies = (1..=101).map(|ms| ms * 1000).collect();
        let outcome = Outcome {
            latencies,
            ..Outcome::default()
        };
        assert_eq!(outcome.percentile_ms(0.5), Some(51.0));
        assert_eq!(outcome.percentile_ms(0.99), Some(100.0));
        assert_eq!(Outcome::default().percentile_ms(0.5), None);
    }
}

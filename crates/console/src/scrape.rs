//! Scrapes the targets, each on its own schedule, and keeps what became of it.

mod report;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use incoming::{Body, Unread};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde::Serialize;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::budget::{Account, Budget, Purpose};
use crate::clock::now_us;
use crate::counters::{AcceptedItems, Counters};
use crate::exposition::{self, Format};
use crate::log;
use crate::metadata::Metadata;
use crate::samples::Labels;
use crate::series::SeriesStore;
use crate::targets::{Target, TargetsFile};
use report::{ScrapeResult, report};

/// The `Accept` header. The services add exemplars only to OpenMetrics.
const ACCEPTED: &str = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";

/// The largest page.
const MAX_PAGE: usize = 8 << 20;

/// How many bytes of samples are parsed before they are passed on, by estimate.
const PART: usize = 1 << 20;

/// A page takes no longer than the interval, but for a short one, nor than this.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Even a short interval leaves a busy service this long to answer.
const MIN_TIMEOUT: Duration = Duration::from_secs(1);

/// How often the file of targets is looked at.
const POLL: Duration = Duration::from_millis(500);

/// The result of a target's last scrape. One that was skipped for lack of memory changes only `error`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct TargetState {
    /// `host:port`.
    pub address: String,
    /// The service's name.
    pub service_name: String,
    /// Its job, for a target without a `service_name`.
    pub job: String,
    /// The scraped URL.
    #[serde(skip)]
    pub url: String,
    /// Labels that every sample gets.
    #[serde(skip)]
    pub labels: Labels,
    /// Whether the last scrape worked; `false` before the first.
    pub up: bool,
    /// Microseconds since the epoch.
    pub last_scrape_us: Option<u64>,
    /// How long it took.
    pub duration_ms: Option<f64>,
    /// Why the scrape failed, or what was left out.
    pub error: Option<String>,
    /// Series held.
    pub series: u64,
}

/// All targets; `/api/targets` shows it as it is.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct TargetStates {
    /// In the order of the file.
    pub targets: Vec<TargetState>,
    error: Option<String>,
}

/// A shared handle to the states.
#[derive(Debug, Clone, Default)]
pub(crate) struct Targets(Arc<Mutex<TargetStates>>);

impl Targets {
    /// A snapshot.
    pub fn snapshot(&self) -> TargetStates {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, TargetStates> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: TargetState) {
        let mut states = self.lock();
        if let Some(known) = states
            .targets
            .iter_mut()
            .find(|known| known.address == state.address)
        {
            *known = state;
        }
    }

    /// Takes over a new list; targets that remain keep their state.
    fn set_list(&self, list: &[Target]) {
        let mut states = self.lock();
        let mut before: HashMap<_, _> = states
            .targets
            .drain(..)
            .map(|state| (state.address.clone(), state))
            .collect();
        states.targets = list
            .iter()
            .map(|target| match before.remove(&target.address) {
                Some(state) if state.url == target.url && state.labels == target.labels => state,
                _ => unknown(target),
            })
            .collect();
    }
}

fn unknown(target: &Target) -> TargetState {
    TargetState {
        address: target.address.clone(),
        service_name: target.service_name.clone(),
        job: target.job().to_owned(),
        url: target.url.clone(),
        labels: target.labels.clone(),
        up: false,
        last_scrape_us: None,
        duration_ms: None,
        error: None,
        series: 0,
    }
}

/// Source names of targets start so, those of senders do not.
const SOURCE: &str = "scrape ";

/// And what became of the scrape is a source of its own, that stays when the target does not.
const UP: &str = " up";

/// A scrape that is late by at most this much gets its planned time, as in Prometheus: regular times compress best.
const LATE_US: u64 = 2_000;

/// How often the scraper reads the metadata of a target's metrics, which rarely changes.
const DESCRIBED_EVERY: Duration = Duration::from_secs(60);

/// What the scraper needs.
#[derive(Debug, Clone)]
pub(crate) struct Scraper {
    /// Between two scrapes of a target.
    pub interval: Duration,
    /// The store of samples.
    pub series: SeriesStore,
    /// The store of metadata.
    pub metadata: Metadata,
    /// The list of states.
    pub targets: Targets,
    /// The budget for pages.
    pub budget: Budget,
    /// The counts of skipped scrapes.
    pub counters: Counters,
}

/// Why there are no samples.
enum Failed {
    /// The target is down, in words.
    Down(String),
    /// The console has no memory for the page.
    NoRoom,
}

/// Scrapes forever, if there is a file of targets, and drops old received data. The caller drops (aborts) it at the end;
/// then all its tasks end too.
pub(crate) async fn run(file: Option<&Path>, scraper: Scraper) {
    let (series, targets) = (&scraper.series, &scraper.targets);
    let client = match incoming::client()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
    {
        Ok(client) => client,
        Err(why) => {
            log::warn("scraping is impossible", json!({"error": why.to_string()}));
            return;
        }
    };
    let mut file = file.map(TargetsFile::new);
    let mut running: BTreeMap<String, (Target, Task)> = BTreeMap::new();
    let mut ticks = tokio::time::interval(POLL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match file.as_mut().and_then(TargetsFile::poll) {
            None => {}
            Some(Ok(list)) => {
                targets.lock().error = None;
                targets.set_list(&list);
                running.retain(|address, (target, _)| {
                    list.iter()
                        .any(|new| new.address == *address && new == target)
                });
                for target in list {
                    running.entry(target.address.clone()).or_insert_with(|| {
                        let job = scraper
                            .clone()
                            .scrape_again_and_again(client.clone(), target.clone());
                        (target, Task(tokio::spawn(job)))
                    });
                }
            }
            Some(Err(why)) => {
                log::warn(
                    "the list of targets cannot be used, the last good one is kept",
                    json!({"error": why}),
                );
                targets.lock().error = Some(why);
            }
        }
        let is_target = |source: &str| {
            source
                .strip_prefix(SOURCE)
                .map(|address| address.strip_suffix(UP).unwrap_or(address))
                .is_some_and(|address| running.contains_key(address))
        };
        series.tidy(is_target, |source| source.starts_with(SOURCE), now_us());
    }
}

/// A task that ends when it is dropped.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Scraper {
    async fn scrape_again_and_again(self, client: reqwest::Client, target: Target) {
        let mut ticks = tokio::time::interval(self.interval.max(Duration::from_millis(10)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut state = unknown(&target);
        let (mut planned_us, mut described) = (0, None);
        loop {
            ticks.tick().await;
            let started = Instant::now();
            let now_us = planned(planned_us, now_us());
            planned_us = now_us + u64::try_from(ticks.period().as_micros()).unwrap_or_default();
            let is_due = described.is_none_or(|at: Instant| at.elapsed() >= DESCRIBED_EVERY);
            let scraped = self.scrape(&client, &target, now_us, is_due).await;
            if is_due && scraped.is_ok() {
                described = Some(started);
            }
            let scrape = (now_us, started.elapsed());
            if self.take(&target, scraped, scrape, &mut state) {
                state.last_scrape_us = Some(now_us);
                state.duration_ms = Some(scrape.1.as_secs_f64() * 1e3);
            }
            self.targets.set(state.clone());
        }
    }

    /// Keeps what a target says now.
    async fn scrape(
        &self,
        client: &reqwest::Client,
        target: &Target,
        now_us: u64,
        is_described: bool,
    ) -> Result<ScrapeResult, Failed> {
        let timeout = self.interval.clamp(MIN_TIMEOUT, TIMEOUT);
        let mut account = self.budget.account(Purpose::Page);
        let page = page(client, &target.url, timeout, &mut account).await?;
        let (scraper, target) = (self.clone(), target.clone());
        let job = move || {
            let kept = scraper.keep(&page, &target, now_us)?;
            if is_described {
                scraper.describe(&page);
            }
            Ok(kept)
        };
        let kept = tokio::task::spawn_blocking(job).await;
        kept.unwrap_or_else(|why| Err(format!("the page cannot be parsed: {why}")))
            .map_err(Failed::Down)
    }

    /// Stores the samples of a page, if the whole page is valid. The first pass checks that. If the page has more than one
    /// part, a second pass parses it again, part by part.
    fn keep(&self, page: &Page, target: &Target, now_us: u64) -> Result<ScrapeResult, String> {
        let text = std::str::from_utf8(&page.text)
            .map_err(|why| format!("the page is no UTF-8: {why}"))?;
        let (mut part, mut bytes) = (Vec::new(), 0);
        exposition::parse(text, page.format, &mut |sample| {
            bytes += sample.cost();
            if bytes < PART {
                part.push(sample);
            }
        })?;
        let (source, labels) = (source(target), &target.labels);
        let started = Instant::now();
        let mut kept = ScrapeResult::default();
        let mut keep = |part: Vec<_>| {
            kept.samples += part.len() as u64;
            let lost = self.series.scraped(&source, labels, part, now_us);
            kept.no_room += lost.no_room;
            kept.out_of_order += lost.out_of_order;
        };
        if bytes >= PART {
            (part, bytes) = (Vec::new(), 0);
            exposition::parse(text, page.format, &mut |sample| {
                bytes += sample.cost();
                part.push(sample);
                if bytes >= PART {
                    keep(std::mem::take(&mut part));
                    bytes = 0;
                }
            })?;
        }
        keep(part);
        kept.series = self.series.end_unheard(&source, started, now_us);
        Ok(kept)
    }

    /// Keeps what a page that can be read says about its metrics.
    fn describe(&self, page: &Page) {
        let text = std::str::from_utf8(&page.text).unwrap_or_default();
        exposition::described(text, page.format, &mut |name, described| {
            self.metadata.add(name, described, false);
        });
    }

    /// Records the result of a scrape. One that was skipped for lack of memory says nothing about the target; then it
    /// returns `false`.
    fn take(
        &self,
        target: &Target,
        scraped: Result<ScrapeResult, Failed>,
        (now_us, took): (u64, Duration),
        state: &mut TargetState,
    ) -> bool {
        let source = source(target);
        let (mut samples, mut metrics) = (0, 0);
        (state.up, state.series, state.error) = match scraped {
            Ok(kept) => {
                samples = kept.samples;
                metrics = samples.saturating_sub(kept.no_room + kept.out_of_order);
                (true, kept.series, kept.complaint())
            }
            Err(Failed::Down(why)) => {
                self.series.went_down(&source, now_us);
                (false, 0, Some(why))
            }
            Err(Failed::NoRoom) => {
                self.counters.skipped_scrape();
                let why = "no room for the page among all requests under way (--memory); what was known stays";
                state.error = Some(why.to_owned());
                return false;
            }
        };
        let report = report(state.up, took, samples);
        // Readers must update for a target that is down, too.
        metrics += report.len() as u64;
        self.series
            .replace(&format!("{source}{UP}"), &target.labels, report, now_us);
        self.counters.accepted(AcceptedItems {
            metrics,
            ..AcceptedItems::default()
        });
        true
    }
}

fn source(target: &Target) -> String {
    format!("{SOURCE}{}", target.address)
}

/// The time of a scrape.
fn planned(planned_us: u64, now_us: u64) -> u64 {
    match now_us.abs_diff(planned_us) <= LATE_US {
        true => planned_us,
        false => now_us,
    }
}

/// A page as it came.
struct Page {
    text: Vec<u8>,
    format: Format,
}

/// Reads one page.
async fn page(
    client: &reqwest::Client,
    url: &str,
    timeout: Duration,
    account: &mut Account,
) -> Result<Page, Failed> {
    let down = |why: reqwest::Error| Failed::Down(reason(&why));
    let request = client.get(url).header(ACCEPT, ACCEPTED).timeout(timeout);
    let response = request.send().await.map_err(down)?;
    if !response.status().is_success() {
        return Err(Failed::Down(format!("status {}", response.status())));
    }
    let content_type = response.headers().get(CONTENT_TYPE);
    let format = Format::of(
        content_type
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default(),
    );
    let unread = |why: Unread| match why {
        Unread::Broken(why) => down(why),
        large @ Unread::TooLarge(_) => Failed::Down(large.to_string()),
    };
    let (mut body, mut text) = (Body::of(response, MAX_PAGE), Vec::new());
    while let Some(part) = body.part().await.map_err(unread)? {
        let size = text.len() + part.len();
        if size > text.capacity() {
            text.reserve_exact(size + size / 8 - text.len());
        }
        if !account.cover(text.capacity()) {
            return Err(Failed::NoRoom);
        }
        text.extend_from_slice(&part);
    }
    Ok(Page { text, format })
}

/// The innermost reason: reqwest's own text is only the outermost.
pub(crate) fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "timed out".into();
    }
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

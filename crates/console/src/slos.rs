//! `GET /api/alerts`: the objectives of `alerts/slo.toml` over what was scraped, by the arithmetic of the rules for Prometheus.
//!
//! The demo profile, and of it the windows that page: they look back 24 minutes, the others would for hours.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::{HttpResponse, web};
use serde_json::{Value, json};
use slo::{Burn, Definition, Engine, Gone, Indicator, Profile, Reading, Series, Severity};

use crate::answer::{Answers, off_thread};
use crate::samples::{Labels, Sample, milliseconds};
use crate::scrape::now_us;
use crate::series::all_labels;

/// The profile whose windows fit a demonstration.
const PROFILE: &str = "demo";

/// The most counters; what finds no room is not evaluated. A counter's samples take 7 KiB at most.
const MAX_COUNTERS: usize = 500;

/// A shared handle.
#[derive(Debug, Clone)]
pub(crate) struct Slos(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    definition: Definition,
    profile: Profile,
    sources: Mutex<BTreeMap<String, Counters>>,
}

/// The counters of one target, by metric and labels.
type Counters = HashMap<(String, Labels), Series>;

/// Adds the route.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config.route("/api/alerts", web::get().to(alerts));
}

async fn alerts(slos: web::Data<Slos>, answers: web::Data<Answers>) -> HttpResponse {
    let slos = slos.get_ref().clone();
    off_thread(&answers, move |_| Ok(slos.answer(milliseconds(now_us())))).await
}

impl Slos {
    /// With the definitions of the repository.
    ///
    /// # Errors
    /// They cannot be used; a test of `slo` says that they can.
    pub fn new() -> anyhow::Result<Self> {
        let definition = Definition::embedded()?;
        let profile = definition
            .profile(PROFILE)
            .map_err(anyhow::Error::msg)?
            .clone();
        Ok(Self(Arc::new(Inner {
            definition,
            profile,
            sources: Mutex::default(),
        })))
    }

    /// Keeps what objectives read of a page. What a target does not say any more is gone, as Prometheus has it.
    pub fn scraped(&self, source: &str, own: &Labels, page: &[Sample], now_us: u64) {
        let mut sources = self.lock();
        let mut room = MAX_COUNTERS.saturating_sub(sources.values().map(Counters::len).sum());
        let counters = sources.entry(source.to_owned()).or_default();
        let now_ms = milliseconds(now_us);
        let mut said = HashSet::new();
        for sample in page
            .iter()
            .filter(|sample| sample.name.starts_with(slo::REQUESTS))
        {
            let labels = all_labels(own, sample.labels.clone());
            let key = (sample.name.clone(), labels);
            if !counters.contains_key(&key) {
                let Some(series) = self.counter(&key).filter(|_| room > 0) else {
                    continue;
                };
                room -= 1;
                counters.insert(key.clone(), series);
            }
            if let Some(series) = counters.get_mut(&key) {
                let at = sample.timestamp_us.map_or(now_ms, milliseconds);
                self.push(series, at, Ok(sample.value));
            }
            said.insert(key);
        }
        for (key, series) in counters.iter_mut() {
            if !said.contains(key) {
                self.push(series, now_ms, Err(Gone));
            }
        }
        self.forget(&mut sources, now_ms);
    }

    /// The target does not answer.
    pub fn went_down(&self, source: &str, now_us: u64) {
        self.scraped(source, &Labels::new(), &[], now_us);
    }

    /// A counter that some objective reads.
    fn counter(&self, (name, labels): &(String, Labels)) -> Option<Series> {
        let labels = labels
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        Series::of(name, labels).filter(|series| self.0.definition.reads(series))
    }

    fn push(&self, series: &mut Series, at_ms: i64, value: Result<f64, Gone>) {
        let last = series.samples.last();
        if last.is_some_and(|last| last.at_ms >= at_ms || (last.value.is_err() && value.is_err())) {
            return;
        }
        series.samples.push(slo::Sample { at_ms, value });
        let (memory, interval) = (self.0.profile.memory(), self.0.profile.scrape_interval);
        let most = usize::try_from(memory.seconds() / interval.seconds()).unwrap_or(usize::MAX);
        let excess = series.samples.len().saturating_sub(most.saturating_add(1));
        series.samples.drain(..excess);
    }

    /// Drops counters that no window reaches any more.
    fn forget(&self, sources: &mut BTreeMap<String, Counters>, now_ms: i64) {
        let oldest = now_ms - self.0.profile.memory().millis();
        let is_reached = |series: &Series| {
            series
                .samples
                .last()
                .is_some_and(|last| last.at_ms > oldest)
        };
        for counters in sources.values_mut() {
            counters.retain(|_, series| is_reached(series));
        }
        sources.retain(|_, counters| !counters.is_empty());
    }

    /// In the form of Prometheus's `/api/v1/alerts`, with the objectives beside the alerts.
    fn answer(&self, at_ms: i64) -> Value {
        let series: Vec<Series> = self
            .lock()
            .values()
            .flat_map(HashMap::values)
            .cloned()
            .collect();
        let engine = Engine::new(&self.0.definition, &self.0.profile);
        let readings = engine.read(&series, at_ms);
        let alerts: Vec<Value> = readings.iter().filter_map(alert).collect();
        let objectives: Vec<Value> = readings.iter().map(objective).collect();
        json!({"status": "success", "data": {"alerts": alerts, "objectives": objectives, "profile": PROFILE}})
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Counters>> {
        self.0
            .sources
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn alert(reading: &Reading) -> Option<Value> {
    let (severity, rate) = reading.alert(Severity::Page)?;
    let objective = &reading.objective;
    let (alert, what) = match objective.indicator {
        Indicator::Availability => ("AvailabilityBurnRate", "requests fail".to_owned()),
        Indicator::Latency { seconds } => {
            let slow = format!("requests take longer than {seconds} s");
            ("LatencyBurnRate", slow)
        }
    };
    Some(json!({
        "labels": {
            "alertname": alert,
            "severity": severity.as_str(),
            "team": objective.team,
            "slo": objective.indicator.name(),
            "service": reading.service,
            "route": reading.route,
            "burn": "fast",
        },
        "annotations": {
            "summary": format!("{} {}: {what}", reading.service, reading.route),
            "description": format!("The error budget burns {rate:.1} times too fast."),
        },
        "state": "firing",
        "value": rate.to_string(),
    }))
}

fn objective(reading: &Reading) -> Value {
    let is_kept = |burn: &&Burn| burn.pair.severity == Severity::Page;
    let burns: Vec<Value> = reading.burns.iter().filter(is_kept).map(burn).collect();
    json!({
        "service": reading.service,
        "route": reading.route,
        "slo": reading.objective.indicator.name(),
        "objective": reading.objective.target,
        "seconds": match reading.objective.indicator {
            Indicator::Availability => None,
            Indicator::Latency { seconds } => Some(seconds),
        },
        "burns": burns,
    })
}

/// `null` where there were no requests.
fn burn(burn: &Burn) -> Value {
    json!({
        "threshold": burn.pair.burn_rate,
        "long": {"window": burn.pair.long.to_string(), "burn_rate": burn.long, "bad_events": burn.bad_events},
        "short": {"window": burn.pair.short.to_string(), "burn_rate": burn.short},
        "firing": burn.is_firing,
    })
}

//! The state of each service: what its callers cannot tell apart. A process that is gone from one that hangs, one instance that is worse than
//! the others, more requests than before, a process that takes the processors.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde::Serialize;
use telemetry::names::http_server::HTTP_SERVER_DURATION;
use telemetry::names::process::{BUILD_INFO, PROCESS_CPU, PROCESS_START};

use super::answer::excerpt;
use super::prometheus::{Prometheus, Series};
use super::store::Weigh;
use super::{Part, Window};

/// More services and other targets are not shown.
const SHOWN: usize = 50;

/// More instances of one service are not compared; those with the most requests are.
const INSTANCES: usize = 20;

/// More series of one answer are not asked for.
const WORST: usize = 1000;

/// A target that lets a scrape wait for so long, in seconds, does not answer; where no process listens, the connection is refused at once.
/// Half of the shortest time-out that a scraper here has: the console's, of 1 s.
const SILENT_S: f64 = 0.5;

/// How long before the trouble a service is looked at for comparison, in seconds.
const BEFORE_S: i64 = 300;

/// What is "of late", in seconds.
const RECENT_S: i64 = 10;

/// How far back a service is known that cannot be scraped, in seconds.
const KNOWN_S: i64 = 3600;

/// Whether a service can be scraped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Answers {
    /// It can.
    #[default]
    Yes,
    /// No process listens.
    Gone,
    /// A process takes the connection and does not answer.
    Silent,
}

/// One of several instances.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Instance {
    /// Requests per second.
    pub(crate) requests: f64,
    /// Requests that fail, per second.
    pub(crate) errors: f64,
    pub(crate) p95_s: Option<f64>,
}

/// A service, or another target that is scraped.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct ServiceState {
    pub(crate) service: String,
    pub(crate) answers: Answers,
    /// A process of it has ended since the trouble began.
    pub(crate) ended: bool,
    /// By `service.instance.id`.
    pub(crate) instances: BTreeMap<String, Instance>,
    /// Requests per second of late, see [`recent`].
    pub(crate) requests: f64,
    /// The same at the busiest time of the five minutes before the trouble. Not of a whole minute: a service that started in it would seem to have
    /// had few.
    pub(crate) requests_before: Option<f64>,
    /// How many processors its busiest process uses of late.
    pub(crate) cpus: Option<f64>,
    pub(crate) cpus_before: Option<f64>,
    /// What does not answer it, as it says.
    pub(crate) dependencies_down: Vec<String>,
}

impl ServiceState {
    fn note_instance(&mut self, series: &Series, note: impl FnOnce(&mut Instance)) {
        let id = excerpt(series.label("service_instance_id"), 60);
        if self.instances.len() < INSTANCES || self.instances.contains_key(&id) {
            note(self.instances.entry(id).or_default());
        }
    }
}

impl Weigh for ServiceState {
    fn bytes(&self) -> usize {
        let lists = self.instances.len() * 150 + self.dependencies_down.len() * 80;
        size_of::<Self>() + self.service.len() + lists
    }
}

/// A query about the time of the trouble or the time before it, and what an answer says of a service.
struct Question {
    query: String,
    before: bool,
    note: fn(&mut ServiceState, &Series, f64),
}

/// Asks for the state of all services, sorted by name.
pub(super) async fn collect(prometheus: &Prometheus, window: Window) -> Part<Vec<ServiceState>> {
    let questions = questions(window);
    let asked = questions.iter().map(|question| {
        let time = match question.before {
            true => window.before(),
            false => window.end,
        };
        prometheus.vector(&question.query, time)
    });
    let mut part = Part::default();
    let mut states: BTreeMap<String, ServiceState> = BTreeMap::new();
    for (question, answer) in questions.iter().zip(join_all(asked).await) {
        for (series, value) in part.take(answer) {
            let name = series.get("service_name").or_else(|| series.get("job"));
            let Some(name) = name.map(|name| excerpt(name, 60)) else {
                continue;
            };
            if states.len() < SHOWN || states.contains_key(&name) {
                let state = states.entry(name).or_default();
                (question.note)(state, &series, value);
            }
        }
    }
    let named = states
        .into_iter()
        .map(|(service, state)| ServiceState { service, ..state });
    part.value = named.collect();
    part
}

/// How fast a counter grows, soon after its pace has changed: a page comes a few seconds later. Scrapes that are one second apart say too little of
/// it: ten requests per second come in bursts, and the processor time of a process is counted in whole seconds. Those that are far apart do not have
/// two in [`RECENT_S`].
fn recent(counter: &str) -> String {
    format!("(rate({counter}[{RECENT_S}s]) or irate({counter}[60s]))")
}

fn questions(window: Window) -> Vec<Question> {
    let since = window.trouble_s;
    let http = HTTP_SERVER_DURATION.name();
    let (build, start) = (BUILD_INFO.name(), PROCESS_START.name());
    // Of an instance that has ended, the rates are still there for a while.
    let by_instance = "by (service_name, service_instance_id)";
    let runs = format!("and on (service_instance_id) {start}");
    let requests = recent(&format!("{http}_count"));
    let cpu = PROCESS_CPU.name();
    let unanswered = "(scrape_duration_seconds and on (job, instance) up == 0)";
    let question = |before, query: String, note| Question {
        query: format!("topk({WORST}, {query})"),
        before,
        note,
    };
    vec![
        question(
            false,
            // A discovered target goes with its process: then nothing is scraped any more.
            format!(
                "{unanswered} * on (job, instance) group_left (service_name) \
                 group by (job, instance, service_name) (last_over_time({build}[{KNOWN_S}s])) \
                 or {unanswered} or 0 * (service:known:info unless on (service_name) {build})"
            ),
            |state, _, took| {
                let seen = match took < SILENT_S {
                    true => Answers::Gone,
                    false => Answers::Silent,
                };
                state.answers = state.answers.max(seen);
            },
        ),
        question(
            false,
            format!(
                "group by (service_name) (last_over_time({start}{{job!=\"loadtest\"}}[{since}s]) \
                 unless on (service_name, service_instance_id) {start})"
            ),
            |state, _, _| state.ended = true,
        ),
        question(
            false,
            format!("sum {by_instance} (rate({http}_count[{since}s])) {runs}"),
            |state, series, rate| state.note_instance(series, |one| one.requests = rate),
        ),
        question(
            false,
            format!("sum {by_instance} (rate({http}_count{{outcome=\"error\"}}[{since}s])) {runs}"),
            |state, series, rate| state.note_instance(series, |one| one.errors = rate),
        ),
        question(
            false,
            format!(
                "histogram_quantile(0.95, sum by (service_name, service_instance_id, le) (rate({http}_bucket[{since}s]))) {runs}"
            ),
            |state, series, p95| state.note_instance(series, |one| one.p95_s = Some(p95)),
        ),
        question(
            false,
            format!("sum by (service_name) {requests}"),
            |state, _, rate| state.requests = rate,
        ),
        question(
            true,
            format!("max_over_time(sum by (service_name) {requests}[{BEFORE_S}s:15s])"),
            |state, _, rate| state.requests_before = Some(rate),
        ),
        question(
            false,
            format!("max by (service_name) {}", recent(cpu)),
            |state, _, cpus| state.cpus = Some(cpus),
        ),
        question(
            true,
            format!("max by (service_name) (rate({cpu}[60s]))"),
            |state, _, cpus| state.cpus_before = Some(cpus),
        ),
        question(
            false,
            "min by (service_name, dependency) (service_dependency_up) == 0".to_owned(),
            |state, series, _| {
                let name = excerpt(series.label("dependency"), 60);
                state.dependencies_down.push(name);
            },
        ),
    ]
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use promql::{Labels, Limits, NAME, Sample, Select, Selected, Source, Value};

    use super::*;

    /// A counter of a process, scraped every so many seconds: what it shows so many seconds after its start at second 0 of the epoch.
    struct Scraped {
        counter: &'static str,
        every_s: i64,
        shows: fn(i64) -> f64,
    }

    impl Source for Scraped {
        fn select(&self, wanted: &Select<'_>) -> Result<Vec<Selected>, promql::Error> {
            let name = self.counter.to_owned();
            let labels = Labels::new([(NAME, name), ("service_name", "shop".to_owned())]);
            let scraped = (0..60).map(|scrape| Sample {
                at_ms: scrape * self.every_s * 1000,
                value: (self.shows)(scrape * self.every_s),
            });
            let is_in =
                |sample: &Sample| (wanted.after_ms + 1..=wanted.until_ms).contains(&sample.at_ms);
            Ok(vec![Selected::of(
                labels,
                scraped.filter(is_in),
                wanted.detail,
            )])
        }
    }

    impl Scraped {
        /// What the question about it says, asked so many seconds after its start.
        fn answers(&self, before: bool, asked_s: i64) -> f64 {
            let alerted = DateTime::from_timestamp(1_000_000, 0).expect("a time");
            let asks = |question: &Question| {
                question.before == before
                    && question.query.contains(self.counter)
                    && question.query.contains("irate")
            };
            let questions = questions(Window::of(alerted, alerted));
            let question = questions.into_iter().find(asks).expect("a question");
            let expression = promql::parse(&question.query).expect("PromQL");
            let answer = promql::instant(&expression, self, asked_s * 1000, &Limits::default());
            let Ok(Value::Vector(answer)) = answer else {
                panic!("{answer:?}");
            };
            assert_eq!(answer.len(), 1);
            answer[0].1.value
        }
    }

    const REQUESTS: &str = "http_server_request_duration_seconds_count";

    #[test]
    fn a_service_that_has_just_started_has_no_more_requests_than_before() {
        let young = Scraped {
            counter: REQUESTS,
            every_s: 5,
            shows: |second| (10 * second) as f64,
        };
        let before = young.answers(true, 30);
        assert!((before - 10.0).abs() < 0.1, "{before}");
    }

    #[test]
    fn requests_that_come_in_one_second_of_five_are_no_more_than_the_others() {
        let bursts = Scraped {
            counter: REQUESTS,
            every_s: 1,
            shows: |second| (50 * (second / 5)) as f64,
        };
        for asked_s in 30..40 {
            let now = bursts.answers(false, asked_s);
            assert!((5.0..15.0).contains(&now), "{now} at {asked_s}");
        }
    }

    #[test]
    fn a_process_whose_second_of_work_is_counted_just_now_is_not_busy() {
        let idle = Scraped {
            counter: PROCESS_CPU.name(),
            every_s: 1,
            shows: |second| (second / 25) as f64,
        };
        let busiest = (30..60).map(|asked_s| idle.answers(false, asked_s));
        let busiest = busiest.fold(0.0, f64::max);
        assert!(busiest < 0.2, "{busiest}");
    }

    #[test]
    fn scrapes_that_are_far_apart_are_enough() {
        let busy = Scraped {
            counter: PROCESS_CPU.name(),
            every_s: 15,
            shows: |second| (2 * (second - 60).max(0)) as f64,
        };
        for (asked_s, expected) in [(60, 0.0), (75, 2.0), (89, 2.0)] {
            let now = busy.answers(false, asked_s);
            assert!((now - expected).abs() < 0.1, "{now} at {asked_s}");
        }
    }
}

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
    /// Requests per second at the last two scrapes, since a page comes a few seconds after they have grown.
    pub(crate) requests: f64,
    /// The same at the busiest time of the five minutes before the trouble. Not of a whole minute: a service that started in it would seem to have
    /// had few.
    pub(crate) requests_before: Option<f64>,
    /// How many processors its busiest process uses, at the last two scrapes.
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

fn questions(window: Window) -> Vec<Question> {
    let since = window.trouble_s;
    let http = HTTP_SERVER_DURATION.name();
    let (build, start) = (BUILD_INFO.name(), PROCESS_START.name());
    // Of an instance that has ended, the rates are still there for a while.
    let by_instance = "by (service_name, service_instance_id)";
    let runs = format!("and on (service_instance_id) {start}");
    let cpus = |rate| {
        let cpu = PROCESS_CPU.name();
        format!("max by (service_name) ({rate}({cpu}[60s]))")
    };
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
            format!("sum by (service_name) (irate({http}_count[60s]))"),
            |state, _, rate| state.requests = rate,
        ),
        question(
            true,
            format!(
                "max_over_time(sum by (service_name) (irate({http}_count[60s]))[{BEFORE_S}s:15s])"
            ),
            |state, _, rate| state.requests_before = Some(rate),
        ),
        question(false, cpus("irate"), |state, _, cpus| {
            state.cpus = Some(cpus)
        }),
        question(true, cpus("rate"), |state, _, cpus| {
            state.cpus_before = Some(cpus);
        }),
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

    /// Ten requests per second, scraped every 5 s, of a service that started half a minute before the trouble.
    struct Young(i64);

    impl Source for Young {
        fn select(&self, wanted: &Select<'_>) -> Result<Vec<Selected>, promql::Error> {
            let name = format!("{}_count", HTTP_SERVER_DURATION.name());
            let labels = Labels::new([(NAME, name), ("service_name", "shop".to_owned())]);
            let scraped = (0..13).map(|scrape| Sample {
                at_ms: (self.0 + 5 * scrape) * 1000,
                value: (50 * scrape) as f64,
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

    #[test]
    fn a_service_that_has_just_started_has_no_more_requests_than_before() {
        let alerted = DateTime::from_timestamp(1_000_000, 0).expect("a time");
        let window = Window::of(alerted, alerted);
        let before = window.before().timestamp();
        let mut questions = questions(window).into_iter();
        let asked = questions.find(|question| question.before && question.query.contains("_count"));
        let asked = asked.expect("a question about requests");
        let expression = promql::parse(&asked.query).expect("PromQL");
        let answer = promql::instant(
            &expression,
            &Young(before - 30),
            before * 1000,
            &Limits::default(),
        );
        let Ok(Value::Vector(answer)) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(answer.len(), 1);
        assert!((answer[0].1.value - 10.0).abs() < 0.1, "{answer:?}");
    }
}

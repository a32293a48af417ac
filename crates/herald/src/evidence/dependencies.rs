//! Which dependency fails or is slow: follows the calls of every service from the alert's service downwards.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures_util::future::join_all;
use serde::Serialize;
use tokio::sync::Semaphore;

use super::answer::excerpt;
use super::prometheus::{Prometheus, Samples, Series};
use super::store::Weigh;
use super::trail::{Trail, follow, quoted};
use super::{Part, Window};

/// A dependency that fails less often is not to blame.
const FAILING: f64 = 0.01;

/// Ignores a callee that fails much less often than its caller: a failure above may come from several calls, but not from
/// noise.
const MATTERS: f64 = 0.1;

/// A dependency that takes a smaller part of its caller's time does not explain it.
const EXPLAINS: f64 = 0.5;

/// How many calls are kept per caller: of those that fail most, and of those that take longest.
const PER_CALLER: usize = 8;

/// More than the worst calls Prometheus need not list.
const WORST: usize = 4000;

/// How long before the trouble the calls are looked at for comparison, in seconds.
const BEFORE_S: i64 = 300;

/// How much memory a sample takes, about.
const SAMPLE: usize = 256;

/// Answers about all calls are large, so this many windows are requested at the same time.
static AT_ONCE: Semaphore = Semaphore::const_new(1);

/// The kind of a dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Another service.
    Http,
    /// A statement.
    Database,
    /// The wait for a connection.
    Pool,
}

/// Calls of one service to one dependency.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Edge {
    pub(crate) kind: Kind,
    pub(crate) caller: String,
    /// `downstream`, `postgresql SELECT items`.
    pub(crate) callee: String,
    /// Share of calls that fail since the trouble began.
    pub(crate) error_share: f64,
    /// The most frequent `error_type` of these.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) error_type: String,
    /// The share of errors in the five minutes before.
    pub(crate) error_share_before: f64,
    /// 95th percentile, in seconds.
    pub(crate) p95_s: Option<f64>,
    /// The percentile one hour before the trouble, else two minutes before, else just before.
    pub(crate) p95_before_s: Option<f64>,
}

/// The two trails.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Dependencies {
    /// The trail to the call with the most failures; none if no call fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failing: Option<Trail>,
    /// Towards what takes the time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) slowest: Option<Trail>,
    /// Where a trail ends at a pool: the slowest statement of its service, which may keep the connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) statement: Option<Edge>,
}

struct CallMetric {
    kind: Kind,
    metric: &'static str,
    /// The labels that name the callee, after `service_name`.
    callee: &'static [&'static str],
}

const SOURCES: [CallMetric; 3] = [
    CallMetric {
        kind: Kind::Http,
        metric: telemetry::names::http_client::HTTP_CLIENT_DURATION.name(),
        callee: &["service_peer_name"],
    },
    CallMetric {
        kind: Kind::Database,
        metric: telemetry::names::db::DB_DURATION.name(),
        callee: &["db_system_name", "db_operation_name", "db_collection_name"],
    },
    CallMetric {
        kind: Kind::Pool,
        metric: telemetry::names::db::DB_WAIT.name(),
        callee: &["db_client_connection_pool_name"],
    },
];

impl CallMetric {
    fn by(&self) -> String {
        format!("service_name, {}", self.callee.join(", "))
    }

    fn errors(&self, window: i64) -> String {
        let (metric, by) = (self.metric, self.by());
        format!(
            "topk({WORST}, sum by ({by}, error_type) (rate({metric}_count{{outcome=\"error\"}}[{window}s])) \
             / on ({by}) group_left () sum by ({by}) (rate({metric}_count[{window}s])) > 0)"
        )
    }

    fn p95(&self, window: i64, offset: &str) -> String {
        let (metric, by) = (self.metric, self.by());
        // The comparison drops NaN: a series without observations.
        format!(
            "topk({WORST}, histogram_quantile(0.95, sum by (le, {by}) (rate({metric}_bucket[{window}s]{offset}))) >= 0)"
        )
    }

    fn p95_before(&self) -> String {
        format!(
            "{} or {} or {}",
            self.p95(BEFORE_S, " offset 1h"),
            self.p95(BEFORE_S, " offset 2m"),
            // Of a system that has not run for longer.
            self.p95(BEFORE_S, "")
        )
    }

    /// Caller and callee.
    fn key(&self, series: &Series) -> Option<(String, String)> {
        let caller = series.get("service_name")?;
        let parts = self.callee.iter().filter_map(|label| series.get(label));
        let callee = parts.collect::<Vec<_>>().join(" ");
        let callee = match self.kind {
            Kind::Pool => format!("a connection of the pool {callee}"),
            Kind::Http | Kind::Database => callee,
        };
        Some((caller.to_owned(), callee))
    }
}

/// Prometheus's answers about the calls of one metric.
#[derive(Debug, Default)]
struct CallSamples {
    errors: Samples,
    errors_before: Samples,
    p95: Samples,
    p95_before: Samples,
}

impl CallSamples {
    fn len(&self) -> usize {
        self.errors.len() + self.errors_before.len() + self.p95.len() + self.p95_before.len()
    }
}

impl Weigh for Edge {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.caller.len() + self.callee.len() + self.error_type.len()
    }
}

/// Asks for all calls, and keeps those that may matter to anybody.
pub(super) async fn calls(prometheus: &Prometheus, window: Window) -> Part<Vec<Edge>> {
    let mut part = Part::default();
    let turn = prometheus.backend.turn(&AT_ONCE).await.map(Some);
    let Some(_turn) = part.take(turn) else {
        return part;
    };
    let asked = SOURCES.iter().map(|source| ask(prometheus, source, window));
    let mut answers = Vec::new();
    for (source, asked) in SOURCES.iter().zip(join_all(asked).await) {
        answers.push((source, part.merge(asked)));
    }
    let samples: usize = answers.iter().map(|(_, answers)| answers.len()).sum();
    let work = move || {
        let edges = answers
            .into_iter()
            .flat_map(|(source, answers)| edges(source, answers));
        matter(edges.collect())
    };
    part.value = part.take(prometheus.backend.work(samples * SAMPLE, work).await);
    part
}

async fn ask(prometheus: &Prometheus, source: &CallMetric, window: Window) -> Part<CallSamples> {
    let (errors, errors_before) = (source.errors(window.trouble_s), source.errors(BEFORE_S));
    let (p95, p95_before) = (source.p95(window.trouble_s, ""), source.p95_before());
    let (errors, errors_before, p95, p95_before) = futures_util::join!(
        prometheus.vector(&errors, window.end),
        prometheus.vector(&errors_before, window.before()),
        prometheus.vector(&p95, window.end),
        prometheus.vector(&p95_before, window.before()),
    );
    let mut part = Part::default();
    part.value = CallSamples {
        errors: part.take(errors),
        errors_before: part.take(errors_before),
        p95: part.take(p95),
        p95_before: part.take(p95_before),
    };
    part
}

fn edges(source: &CallMetric, mut answers: CallSamples) -> Vec<Edge> {
    let mut edges: BTreeMap<(String, String), Edge> = BTreeMap::new();
    // The most frequent type of error comes first.
    answers.errors.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let mut each = |samples: Samples, set: fn(&mut Edge, &Series, f64)| {
        for (series, value) in samples {
            let Some((caller, callee)) = source.key(&series) else {
                continue;
            };
            let edge = || Edge::new(source.kind, caller.clone(), callee.clone());
            set(
                edges
                    .entry((caller.clone(), callee.clone()))
                    .or_insert_with(edge),
                &series,
                value,
            );
        }
    };
    each(answers.errors, |edge, series, share| {
        edge.error_share = (edge.error_share + share).min(1.0);
        if edge.error_type.is_empty() {
            edge.error_type = excerpt(series.label("error_type"), 40);
        }
    });
    each(answers.errors_before, |edge, _, share| {
        edge.error_share_before = (edge.error_share_before + share).min(1.0);
    });
    each(answers.p95, |edge, _, seconds| edge.p95_s = Some(seconds));
    each(answers.p95_before, |edge, _, seconds| {
        edge.p95_before_s = Some(seconds)
    });
    edges.into_values().collect()
}

impl Edge {
    pub(crate) fn new(kind: Kind, caller: String, callee: String) -> Self {
        Self {
            kind,
            caller,
            callee,
            error_share: 0.0,
            error_type: String::new(),
            error_share_before: 0.0,
            p95_s: None,
            p95_before_s: None,
        }
    }
}

/// The calls of each caller that fail most or take longest: no trail contains others.
fn matter(edges: Vec<Edge>) -> Vec<Edge> {
    let failing = most(&edges, |edge| {
        Some(edge.error_share).filter(|share| *share >= FAILING)
    });
    let slow = most(&edges, |edge| edge.p95_s);
    let each = edges.into_iter().enumerate();
    let kept = each.filter(|(index, _)| failing.contains(index) || slow.contains(index));
    kept.map(|(_, edge)| edge).collect()
}

fn most(edges: &[Edge], score: impl Fn(&Edge) -> Option<f64>) -> HashSet<usize> {
    let each = edges.iter().enumerate();
    let mut scored: Vec<(usize, f64)> = each
        .filter_map(|(index, edge)| Some((index, score(edge)?)))
        .collect();
    scored.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let mut of_caller: HashMap<&str, usize> = HashMap::new();
    let room = |(index, _): &(usize, f64)| {
        let count = of_caller.entry(&edges[*index].caller).or_default();
        *count += 1;
        *count <= PER_CALLER
    };
    scored
        .into_iter()
        .filter(room)
        .map(|(index, _)| index)
        .collect()
}

/// Follows the calls from `service`, or from the worst of all when there is none.
pub(super) fn blame(edges: &[Edge], service: Option<&str>) -> Dependencies {
    let failing = follow(edges, service, failing);
    let slowest = follow(edges, service, |edge, above| {
        let p95 = edge.p95_s?;
        let enough = above
            .and_then(|above| above.p95_s)
            .is_none_or(|above| p95 >= above * EXPLAINS);
        enough.then_some(p95)
    });
    let ends = [&failing, &slowest].into_iter().flatten();
    let pool = ends
        .filter_map(Trail::last)
        .find(|edge| edge.kind == Kind::Pool);
    let statement = pool.and_then(|pool| {
        let of_pool = |edge: &&Edge| edge.kind == Kind::Database && edge.caller == pool.caller;
        let statements = edges.iter().filter(of_pool);
        statements.max_by(|a, b| a.p95_s.unwrap_or(0.0).total_cmp(&b.p95_s.unwrap_or(0.0)))
    });
    Dependencies {
        statement: statement.map(quoted),
        failing,
        slowest,
    }
}

fn failing(edge: &Edge, above: Option<&Edge>) -> Option<f64> {
    let least = above.map_or(FAILING, |above| FAILING.max(above.error_share * MATTERS));
    Some(edge.error_share).filter(|share| *share >= least)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::prometheus::tests::series;
    use super::*;

    pub(crate) fn edge(caller: &str, callee: &str, error_share: f64, p95_s: f64) -> Edge {
        Edge {
            error_share,
            p95_s: Some(p95_s),
            ..Edge::new(Kind::Http, caller.to_owned(), callee.to_owned())
        }
    }

    /// Every service calls every other, and all fail.
    pub(crate) fn mesh(services: usize) -> Vec<Edge> {
        let name = |index| format!("service-{index}");
        let pairs =
            (0..services).flat_map(|caller| (0..services).map(move |callee| (caller, callee)));
        let pairs = pairs.filter(|(caller, callee)| caller != callee);
        pairs
            .map(|(caller, callee)| edge(&name(caller), &name(callee), 0.5, 0.1))
            .collect()
    }

    fn path(edges: &[Edge], from: Option<&str>) -> Option<String> {
        follow(edges, from, failing).map(|trail| trail.path())
    }

    #[test]
    fn the_deepest_failing_call_is_found_from_the_top_or_without_one() {
        let edges = [
            edge("gateway", "data", 0.5, 0.1),
            edge("data", "postgresql SELECT items", 0.0, 0.01),
            edge("data", "downstream", 0.6, 0.01),
        ];
        let way = Some("gateway → data → downstream".to_owned());
        assert_eq!(path(&edges, Some("gateway")), way);
        assert_eq!(path(&edges, None), Some("data → downstream".to_owned()));
        assert_eq!(path(&edges, Some("downstream")), None);
        assert_eq!(path(&[], None), None);
    }

    #[test]
    fn noise_below_the_call_at_fault_is_no_part_of_the_trail() {
        let edges = [
            edge("gateway", "data", 0.5, 0.1),
            edge("data", "mail", 0.02, 0.01),
        ];
        assert_eq!(
            path(&edges, Some("gateway")),
            Some("gateway → data".to_owned())
        );
        assert_eq!(path(&edges, Some("data")), Some("data → mail".to_owned()));
    }

    #[test]
    fn of_a_full_mesh_the_worst_calls_of_each_service_are_kept() {
        let mut edges = mesh(100);
        edges.push(edge("service-7", "the culprit", 0.9, 0.1));
        let kept = matter(edges);
        assert!(kept.len() <= 100 * 2 * PER_CALLER, "{}", kept.len());
        let way = Some("service-7 → the culprit".to_owned());
        assert_eq!(path(&kept, Some("service-7")), way);
    }

    #[test]
    fn values_that_cannot_be_are_not_printed() {
        let call = series(&[("service_name", "gateway"), ("service_peer_name", "data")]);
        let answers = CallSamples {
            errors: vec![(call.clone(), 1e9)],
            p95: vec![(call, 0.2)],
            ..CallSamples::default()
        };
        let [edge] = edges(&SOURCES[0], answers).try_into().unwrap();
        assert_eq!((edge.error_share, edge.p95_s), (1.0, Some(0.2)));
    }

    #[test]
    fn queries_name_what_they_count() {
        let [http, _, pool] = &SOURCES;
        assert_eq!(
            http.errors(120),
            "topk(4000, sum by (service_name, service_peer_name, error_type) (rate(http_client_request_duration_seconds_count{outcome=\"error\"}[120s])) \
             / on (service_name, service_peer_name) group_left () sum by (service_name, service_peer_name) (rate(http_client_request_duration_seconds_count[120s])) > 0)"
        );
        assert!(pool.p95_before().contains("[300s] offset 1h"));
    }
}

//! Which dependency fails or is slow: the calls of every service, followed downwards from the one that the alert is about.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use futures_util::future::try_join_all;
use serde::Serialize;

use super::Window;
use super::prometheus::{Prometheus, Series};
use crate::text::quoted;

/// A dependency that fails less often is not to blame.
const FAILING: f64 = 0.01;

/// A dependency that takes a smaller part of its caller's time does not explain it.
const EXPLAINS: f64 = 0.5;

/// What a dependency is.
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
    /// Share of calls that fail.
    pub(crate) error_share: f64,
    /// 95th percentile, in seconds.
    pub(crate) p95_s: Option<f64>,
    /// The same an hour before the alert, else two minutes before.
    pub(crate) p95_before_s: Option<f64>,
}

/// Where the trouble leads: each hop is a call, the last one is the deepest that shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Trail {
    /// From the caller on top to the dependency at fault.
    pub(crate) hops: Vec<Edge>,
}

/// Both trails.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Dependencies {
    /// Towards what fails most; none when nothing fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failing: Option<Trail>,
    /// Towards what takes the time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) slowest: Option<Trail>,
}

impl Trail {
    /// The call at fault.
    pub(crate) fn last(&self) -> Option<&Edge> {
        self.hops.last()
    }

    /// `gateway → data → downstream`.
    pub(crate) fn path(&self) -> String {
        let first = self.hops.first().map(|hop| hop.caller.as_str());
        let names = first
            .into_iter()
            .chain(self.hops.iter().map(|hop| hop.callee.as_str()));
        names.collect::<Vec<_>>().join(" → ")
    }
}

struct Source {
    kind: Kind,
    metric: &'static str,
    /// After `service_name`.
    callee: &'static [&'static str],
}

const SOURCES: [Source; 3] = [
    Source {
        kind: Kind::Http,
        metric: telemetry::names::HTTP_CLIENT_DURATION,
        callee: &["peer_service"],
    },
    Source {
        kind: Kind::Database,
        metric: telemetry::names::DB_DURATION,
        callee: &["db_system_name", "db_operation_name", "db_collection_name"],
    },
    Source {
        kind: Kind::Pool,
        metric: telemetry::names::DB_WAIT,
        callee: &["db_client_connection_pool_name"],
    },
];

impl Source {
    fn by(&self) -> String {
        format!("service_name, {}", self.callee.join(", "))
    }

    fn errors(&self, window: u64) -> String {
        let (metric, by) = (self.metric, self.by());
        format!(
            "sum by ({by}) (rate({metric}_count{{outcome=\"error\"}}[{window}s])) / sum by ({by}) (rate({metric}_count[{window}s])) > 0"
        )
    }

    fn p95(&self, window: u64, offset: &str) -> String {
        let (metric, by) = (self.metric, self.by());
        // The comparison drops what is no number: a series without observations.
        format!(
            "histogram_quantile(0.95, sum by (le, {by}) (rate({metric}_bucket[{window}s]{offset}))) >= 0"
        )
    }

    fn p95_before(&self) -> String {
        format!(
            "{} or {}",
            self.p95(300, " offset 1h"),
            self.p95(300, " offset 2m")
        )
    }

    fn key(&self, series: &Series) -> Option<(String, String)> {
        let caller = series.get("service_name")?.clone();
        let parts: Vec<&str> = self
            .callee
            .iter()
            .filter_map(|label| series.get(*label))
            .map(String::as_str)
            .collect();
        let callee = parts.join(" ");
        let callee = if self.kind == Kind::Pool {
            format!("a connection of the pool {callee}")
        } else {
            callee
        };
        Some((quoted(&caller, 60), quoted(callee.trim(), 80)))
    }
}

/// Asks for all calls and follows them from `service`, or from the worst of all when there is none.
pub(crate) async fn collect(
    prometheus: &Prometheus,
    service: Option<&str>,
    started: DateTime<Utc>,
    window: &Window,
) -> Result<Dependencies, String> {
    let edges = try_join_all(
        SOURCES
            .iter()
            .map(|source| edges(prometheus, source, started, window)),
    )
    .await?;
    let edges = edges.concat();
    Ok(Dependencies {
        failing: follow(&edges, service, |edge, _| {
            Some(edge.error_share).filter(|share| *share >= FAILING)
        }),
        slowest: follow(&edges, service, |edge, above| {
            let p95 = edge.p95_s?;
            let enough = above
                .and_then(|above| above.p95_s)
                .is_none_or(|above| p95 >= above * EXPLAINS);
            enough.then_some(p95)
        }),
    })
}

async fn edges(
    prometheus: &Prometheus,
    source: &Source,
    started: DateTime<Utc>,
    window: &Window,
) -> Result<Vec<Edge>, String> {
    let (now, rate) = (window.end, window.seconds());
    let failed = source.errors(rate);
    let (current, earlier) = (source.p95(rate, ""), source.p95_before());
    let (errors, now, before) = futures_util::try_join!(
        prometheus.vector(&failed, now),
        prometheus.vector(&current, now),
        prometheus.vector(&earlier, started),
    )?;
    let mut edges: BTreeMap<(String, String), Edge> = BTreeMap::new();
    let mut each = |samples: Vec<(Series, f64)>, set: fn(&mut Edge, f64)| {
        for (series, value) in samples {
            let Some((caller, callee)) = source.key(&series) else {
                continue;
            };
            let edge = edges
                .entry((caller.clone(), callee.clone()))
                .or_insert(Edge {
                    kind: source.kind,
                    caller,
                    callee,
                    error_share: 0.0,
                    p95_s: None,
                    p95_before_s: None,
                });
            set(edge, value);
        }
    };
    each(errors, |edge, share| edge.error_share = share);
    each(now, |edge, seconds| edge.p95_s = Some(seconds));
    each(before, |edge, seconds| edge.p95_before_s = Some(seconds));
    Ok(edges.into_values().collect())
}

/// Goes from caller to callee, each time along the call with the highest score; `score` also gets the hop above.
fn follow(
    edges: &[Edge],
    from: Option<&str>,
    score: impl Fn(&Edge, Option<&Edge>) -> Option<f64>,
) -> Option<Trail> {
    let mut hops: Vec<Edge> = Vec::new();
    loop {
        let above = hops.last();
        let next = edges
            .iter()
            .filter(|edge| match (above, from) {
                (Some(above), _) => edge.caller == above.callee,
                (None, Some(from)) => edge.caller == from,
                (None, None) => true,
            })
            // Services may call each other in a circle.
            .filter(|edge| !hops.contains(edge))
            .filter_map(|edge| Some((score(edge, above)?, edge)))
            .max_by(|(a, _), (b, _)| a.total_cmp(b));
        match next {
            Some((_, edge)) => hops.push(edge.clone()),
            None => break,
        }
    }
    (!hops.is_empty()).then_some(Trail { hops })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(caller: &str, callee: &str, error_share: f64, p95_s: f64) -> Edge {
        Edge {
            kind: Kind::Http,
            caller: caller.to_owned(),
            callee: callee.to_owned(),
            error_share,
            p95_s: Some(p95_s),
            p95_before_s: None,
        }
    }

    fn failing(edges: &[Edge], from: Option<&str>) -> Option<String> {
        follow(edges, from, |edge, _| {
            Some(edge.error_share).filter(|share| *share >= FAILING)
        })
        .map(|trail| trail.path())
    }

    #[test]
    fn the_deepest_failing_call_is_found_from_the_top_or_without_one() {
        let edges = [
            edge("gateway", "data", 0.5, 0.1),
            edge("data", "postgresql SELECT items", 0.0, 0.01),
            edge("data", "downstream", 0.6, 0.01),
        ];
        let path = Some("gateway → data → downstream".to_owned());
        assert_eq!(failing(&edges, Some("gateway")), path);
        assert_eq!(failing(&edges, None), Some("data → downstream".to_owned()));
        assert_eq!(failing(&edges, Some("downstream")), None);
        assert_eq!(failing(&[], None), None);
    }

    #[test]
    fn services_that_call_each_other_end_the_search() {
        let edges = [edge("a", "b", 0.5, 0.1), edge("b", "a", 0.5, 0.1)];
        assert_eq!(failing(&edges, Some("a")), Some("a → b → a".to_owned()));
    }

    #[test]
    fn queries_name_what_they_count() {
        let [http, _, pool] = &SOURCES;
        assert_eq!(
            http.errors(120),
            "sum by (service_name, peer_service) (rate(http_client_request_duration_seconds_count{outcome=\"error\"}[120s])) \
             / sum by (service_name, peer_service) (rate(http_client_request_duration_seconds_count[120s])) > 0"
        );
        assert!(pool.p95_before().contains("[300s] offset 1h"));
    }
}

//! Releases: the running version, the one before, and a comparison of the two.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};
use futures_util::future::join_all;
use serde::Serialize;

use super::Part;
use super::answer::excerpt;
use super::dependencies::{Dependencies, Edge, Kind};
use super::prometheus::{Prometheus, Times, literal};
use super::rollback::{self, RollBack, Verdict};
use super::store::Weigh;

/// How far back a release is looked for.
const LOOKBACK_H: i64 = 6;

/// The resolution of that query, in seconds, and the precision of a release's time.
pub(super) const STEP_S: u32 = 15;

/// Releases that are compared, the latest first.
const COMPARED: usize = 3;

/// How many services are listed with their running versions, and how many versions per service.
const LISTED: usize = 100;
const VERSIONS: usize = 5;

/// The valid times of a release, in seconds since 1970: until the year 2200.
const CLOCK: std::ops::Range<f64> = 0.0..7_258_118_400.0;

/// The known facts about releases.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Releases {
    /// Versions that run now, by service.
    pub(crate) running: BTreeMap<String, Vec<String>>,
    /// More services that run, not listed.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) running_left_out: usize,
    /// Services whose version has changed recently.
    pub(crate) changes: Vec<Release>,
}

/// A change of version.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Release {
    pub(crate) service: String,
    /// When the new version was first seen.
    pub(crate) at: DateTime<Utc>,
    pub(crate) before: Figures,
    pub(crate) now: Figures,
    pub(crate) roll_back: RollBack,
    /// Why.
    pub(crate) reason: String,
    #[serde(skip)]
    pub(crate) fails_more: bool,
}

/// Figures of one version, of all requests that it served in the time looked at.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Figures {
    pub(crate) version: String,
    pub(crate) requests: f64,
    pub(crate) error_share: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p95_s: Option<f64>,
}

/// The facts that do not depend on the start of an alert, so that all alerts share them.
#[derive(Debug, Clone, Default)]
pub(super) struct ReleaseHistory {
    running: BTreeMap<String, Vec<String>>,
    running_left_out: usize,
    changes: Vec<(Release, Verdict)>,
}

impl Weigh for Option<ReleaseHistory> {
    fn bytes(&self) -> usize {
        let running = self.iter().flat_map(|seen| &seen.running);
        running
            .map(|(service, versions)| 200 + service.len() + versions.len() * 80)
            .sum()
    }
}

/// The running versions and the changes, by service.
#[derive(Debug, Default)]
struct VersionChanges {
    running: BTreeMap<String, Vec<String>>,
    running_left_out: usize,
    changes: Vec<(String, Change)>,
}

/// Finds the changes and compares before and after.
pub(super) async fn collect(
    prometheus: &Prometheus,
    end: DateTime<Utc>,
) -> Part<Option<ReleaseHistory>> {
    let start = end - Duration::hours(LOOKBACK_H);
    let query = format!(
        "count by (service_name, service_version) ({})",
        telemetry::names::process::BUILD_INFO.name()
    );
    let reduce = move |times| find(times, end);
    let found = prometheus.times(&query, (start, end), STEP_S, reduce).await;
    let mut part = Part::default();
    let Some(found) = part.take(found.map(Some)) else {
        return part;
    };
    let compared = found
        .changes
        .iter()
        .map(|(service, change)| compare(prometheus, service, change, end));
    let compared = join_all(compared).await.into_iter();
    part.value = Some(ReleaseHistory {
        changes: compared
            .filter_map(|change| part.take(change.map(Some)))
            .collect(),
        running: found.running,
        running_left_out: found.running_left_out,
    });
    part
}

fn find(times: Times, end: DateTime<Utc>) -> VersionChanges {
    let mut services: BTreeMap<String, Vec<(String, Vec<f64>)>> = BTreeMap::new();
    for (series, times) in times {
        if let (Some(service), Some(version)) =
            (series.get("service_name"), series.get("service_version"))
        {
            let versions = services.entry(service.to_owned()).or_default();
            versions.push((version.to_owned(), times));
        }
    }
    let mut found = VersionChanges::default();
    for (service, versions) in services {
        found
            .changes
            .extend(change(&versions, end).map(|change| (service.clone(), change)));
        if found.running.len() < LISTED {
            let running = versions
                .iter()
                .filter(|(_, times)| runs(times, end))
                .take(VERSIONS);
            let shown = running.map(|(version, _)| excerpt(version, 60)).collect();
            found.running.insert(excerpt(&service, 60), shown);
        } else {
            found.running_left_out += 1;
        }
    }
    found
        .changes
        .sort_by_key(|(_, change)| std::cmp::Reverse(change.at));
    found.changes.truncate(COMPARED);
    found
}

/// A version took the place of another.
#[derive(Debug, Clone, PartialEq)]
struct Change {
    before: String,
    now: String,
    at: DateTime<Utc>,
}

/// Whether it ran at the end: within the time after which Prometheus treats a series as gone.
fn runs(times: &[f64], end: DateTime<Utc>) -> bool {
    let edge = end.timestamp() as f64 - 2.0 * f64::from(STEP_S);
    times.last().is_some_and(|last| *last >= edge)
}

/// The running version that appeared last, and the other version that ran last before it appeared.
fn change(versions: &[(String, Vec<f64>)], end: DateTime<Utc>) -> Option<Change> {
    let newest = versions
        .iter()
        .filter(|(_, times)| runs(times, end))
        .filter_map(|(version, times)| Some((version, latest_start(times)?)))
        .max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    let (now, at) = newest;
    let last_before = |times: &[f64]| times.iter().copied().rfind(|time| *time < at);
    let (before, _) = versions
        .iter()
        .filter(|(version, _)| version != now)
        .filter_map(|(version, times)| Some((version, last_before(times)?)))
        .max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    let at = CLOCK.contains(&at).then_some(at as i64)?;
    Some(Change {
        before: before.clone(),
        now: now.clone(),
        at: DateTime::from_timestamp(at, 0)?,
    })
}

/// When a version appeared for the last time: it may have stopped and started again.
fn latest_start(times: &[f64]) -> Option<f64> {
    let gap = 4.0 * f64::from(STEP_S);
    let mut start = *times.first()?;
    for pair in times.windows(2) {
        if pair[1] - pair[0] > gap {
            start = pair[1];
        }
    }
    Some(start)
}

async fn compare(
    prometheus: &Prometheus,
    service: &str,
    change: &Change,
    end: DateTime<Utc>,
) -> Result<(Release, Verdict), String> {
    let since = (end - change.at).num_seconds().clamp(30, 3600);
    let before_end = change.at - Duration::seconds(i64::from(STEP_S));
    let (now, before, verdict) = futures_util::try_join!(
        figures(prometheus, service, &change.now, since, end),
        figures(prometheus, service, &change.before, 1800, before_end),
        rollback::verdict(prometheus, service, &change.now, end),
    )?;
    let verdict = verdict.or_of(&before, &now);
    let release = Release {
        service: excerpt(service, 60),
        at: change.at,
        before,
        now,
        roll_back: RollBack::Unclear,
        reason: String::new(),
        fails_more: verdict.errors.is_some(),
    };
    Ok((release, verdict))
}

async fn figures(
    prometheus: &Prometheus,
    service: &str,
    version: &str,
    window: i64,
    time: DateTime<Utc>,
) -> Result<Figures, String> {
    let metric = telemetry::names::http_server::HTTP_SERVER_DURATION.name();
    let of = format!(
        "service_name={}, service_version={}",
        literal(service),
        literal(version)
    );
    let requests = format!("sum (increase({metric}_count{{{of}}}[{window}s]))");
    let errors = format!("sum (increase({metric}_count{{{of}, outcome=\"error\"}}[{window}s]))");
    let p95 =
        format!("histogram_quantile(0.95, sum by (le) (rate({metric}_bucket{{{of}}}[{window}s])))");
    let (requests, errors, p95) = futures_util::try_join!(
        prometheus.vector(&requests, time),
        prometheus.vector(&errors, time),
        prometheus.vector(&p95, time),
    )?;
    let value = |samples: Vec<(_, f64)>| samples.first().map(|(_, value)| *value);
    let requests = value(requests).unwrap_or_default();
    Ok(Figures {
        version: excerpt(version, 60),
        requests: requests.round(),
        error_share: if requests > 0.0 {
            (value(errors).unwrap_or_default() / requests).min(1.0)
        } else {
            0.0
        },
        p95_s: value(p95),
    })
}

impl ReleaseHistory {
    /// The facts for an alert that began at this time.
    pub(super) fn judged(&self, started: DateTime<Utc>) -> Releases {
        let changes = self.changes.iter().map(|(release, verdict)| {
            let (roll_back, reason) = verdict.judge(release.at, started);
            Release {
                roll_back,
                reason,
                ..release.clone()
            }
        });
        Releases {
            running: self.running.clone(),
            running_left_out: self.running_left_out,
            changes: changes.collect(),
        }
    }
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Releases {
    /// A release is not at fault if its unchanged dependency fails or is slow. Its SQL statements are its own.
    pub(crate) fn qualify(&mut self, dependencies: &Dependencies) {
        let changed: Vec<String> = self
            .changes
            .iter()
            .map(|release| release.service.clone())
            .collect();
        for release in self
            .changes
            .iter_mut()
            .filter(|release| release.roll_back == RollBack::Advised)
        {
            let below = |edge: &&Edge| {
                edge.kind == Kind::Http
                    && edge.caller == release.service
                    && !changed.contains(&edge.callee)
            };
            let failing = dependencies
                .failing
                .as_ref()
                .and_then(|trail| trail.last())
                .filter(below);
            let fails = failing.filter(|_| release.fails_more);
            let slowest = dependencies
                .slowest
                .as_ref()
                .and_then(|trail| trail.last())
                .filter(below);
            let slow = slowest.filter(|edge| edge.p95_s >= release.now.p95_s.map(|p95| p95 / 2.0));
            if let Some(edge) = fails.or(slow) {
                release.roll_back = RollBack::Unclear;
                release.reason += &format!(
                    ", but {}, which has not changed, is at fault too: look there first",
                    edge.callee
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn seen(from: i64, to: i64) -> Vec<f64> {
        (from..=to)
            .step_by(STEP_S as usize)
            .map(|time| time as f64)
            .collect()
    }

    fn figures(version: &str, requests: f64, error_share: f64, p95_s: f64) -> Figures {
        Figures {
            version: version.to_owned(),
            requests,
            error_share,
            p95_s: Some(p95_s),
        }
    }

    #[test]
    fn the_last_change_is_found_also_after_a_rollback() {
        let versions = |old, new| vec![("0.1.0".to_owned(), old), ("0.2.0".to_owned(), new)];
        let found = |versions: &[(String, Vec<f64>)], end| change(versions, at(end));
        let change = |before: &str, now: &str, time| {
            Some(Change {
                before: before.into(),
                now: now.into(),
                at: at(time),
            })
        };

        let release = versions(seen(0, 600), seen(615, 900));
        assert_eq!(found(&release, 900), change("0.1.0", "0.2.0", 615));
        let back = versions([seen(0, 600), seen(1500, 1800)].concat(), seen(615, 1485));
        assert_eq!(found(&back, 1800), change("0.2.0", "0.1.0", 1500));
        assert_eq!(found(&[("0.1.0".to_owned(), seen(0, 900))], 900), None);
        assert_eq!(
            found(&[("0.1.0".to_owned(), seen(0, 90))], 900),
            None,
            "nothing runs"
        );
    }

    #[test]
    fn a_dependency_that_has_not_changed_is_looked_at_first() {
        let release = |p95| Release {
            service: "data".to_owned(),
            at: at(0),
            before: figures("0.1.0", 100.0, 0.0, 0.02),
            now: figures("0.2.0", 100.0, 0.0, p95),
            roll_back: RollBack::Advised,
            reason: "its p95 is 3.0 times as long".to_owned(),
            fails_more: false,
        };
        let slowest = |kind, callee: &str| Dependencies {
            slowest: Some(super::super::trail::Trail {
                hops_left_out: 0,
                hops: vec![Edge {
                    p95_s: Some(0.4),
                    ..Edge::new(kind, "data".to_owned(), callee.to_owned())
                }],
            }),
            ..Dependencies::default()
        };
        for (dependencies, expected) in [
            (slowest(Kind::Http, "downstream"), RollBack::Unclear),
            (
                slowest(Kind::Database, "postgresql SELECT items"),
                RollBack::Advised,
            ),
            (Dependencies::default(), RollBack::Advised),
        ] {
            let mut releases = Releases {
                changes: vec![release(0.45)],
                ..Releases::default()
            };
            releases.qualify(&dependencies);
            assert_eq!(releases.changes[0].roll_back, expected, "{dependencies:?}");
        }
    }
}

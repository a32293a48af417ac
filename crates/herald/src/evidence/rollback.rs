//! Whether to roll back: the result of the recording rules, and the facts that they do not have.

use chrono::{DateTime, Utc};
use serde::Serialize;
use slo::release;

use super::prometheus::{Prometheus, literal};
use super::releases::STEP_S;
use crate::text::percent;

/// Whether to roll back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RollBack {
    /// The new version is worse.
    Advised,
    /// A rollback is not advised.
    NotAdvised,
    /// The figures do not tell, or something else is at fault too.
    Unclear,
}

/// The result of the recording rules for a release (`slo::release`).
#[derive(Debug, Clone, Default)]
pub(super) struct Verdict {
    /// Both releases have enough requests for a comparison.
    judged: bool,
    /// By how much the share of failed requests is larger.
    pub(super) errors: Option<f64>,
    /// Its p95 is so many times as long.
    latency: Option<f64>,
}

/// Asks for the rules' results.
pub(super) async fn verdict(
    prometheus: &Prometheus,
    service: &str,
    version: &str,
    time: DateTime<Utc>,
) -> Result<Verdict, String> {
    let (service, version) = (literal(service), literal(version));
    let of = |rule| format!("{rule}{{service_name={service}, service_version={version}}}");
    let (advised, judged) = (of(release::ROLLBACK_ADVISED), of(release::ROLLBACK_JUDGED));
    let (advised, judged) = futures_util::try_join!(
        prometheus.vector(&advised, time),
        prometheus.vector(&judged, time)
    )?;
    let because = |reason: &str| {
        let mut advised = advised.iter();
        let found = advised.find(|(series, _)| series.label("reason") == reason);
        found.map(|(_, value)| *value)
    };
    Ok(Verdict {
        judged: !judged.is_empty(),
        errors: because(release::ERRORS),
        latency: because(release::LATENCY),
    })
}

impl Verdict {
    /// Combines the rules' result with the start of the alert, which the rules do not know.
    pub(super) fn judge(&self, at: DateTime<Utc>, started: DateTime<Utc>) -> (RollBack, String) {
        let worse = match (self.errors, self.latency) {
            (Some(more), _) => {
                let more = percent(more.min(1.0));
                format!("{more} more of its requests fail than before")
            }
            (None, Some(times)) => format!("its p95 is {times:.1} times as long as before"),
            (None, None) if self.judged => {
                let reason =
                    "it is neither clearly slower nor failing more than the version before";
                return (RollBack::NotAdvised, reason.to_owned());
            }
            (None, None) => {
                let reason = format!(
                    "too few requests to compare, or the rules that record {} are not loaded",
                    release::ROLLBACK_JUDGED
                );
                return (RollBack::Unclear, reason);
            }
        };
        // Seconds, since no sum of them is beyond the calendar.
        if at.timestamp() - started.timestamp() > i64::from(STEP_S) {
            let reason = format!("{worse}, but it was released after the trouble had begun");
            return (RollBack::Unclear, reason);
        }
        (RollBack::Advised, worse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::extreme_dates;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn the_rules_say_whether_a_release_is_worse_and_the_alert_whether_it_came_first() {
        let verdict = |judged, errors, latency| Verdict {
            judged,
            errors,
            latency,
        };
        let slower = verdict(true, None, Some(1.525));
        for (verdict, started, roll_back, reason) in [
            (
                &slower,
                200,
                RollBack::Advised,
                "its p95 is 1.5 times as long as before",
            ),
            (
                &verdict(true, Some(0.3), Some(2.0)),
                200,
                RollBack::Advised,
                "30.0 % more of its requests fail than before",
            ),
            (
                &slower,
                50,
                RollBack::Unclear,
                "its p95 is 1.5 times as long as before, but it was released after the trouble had begun",
            ),
            (
                &verdict(true, None, None),
                200,
                RollBack::NotAdvised,
                "it is neither clearly slower nor failing more than the version before",
            ),
            (
                &Verdict::default(),
                200,
                RollBack::Unclear,
                "too few requests to compare, or the rules that record release:rollback:judged are not loaded",
            ),
        ] {
            let judged = verdict.judge(at(100), at(started));
            assert_eq!(judged, (roll_back, reason.to_owned()), "{verdict:?}");
        }
        let advice = extreme_dates()
            .into_iter()
            .map(|started| slower.judge(at(100), started).0);
        for (advice, started) in advice.zip(extreme_dates()) {
            assert_eq!(advice == RollBack::Unclear, started < at(100), "{started}");
        }
    }
}

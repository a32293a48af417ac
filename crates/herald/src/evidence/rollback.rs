//! Whether to roll back: the result of the recording rules, or of their thresholds while nothing is recorded; and the facts that the
//! rules do not have.

use chrono::{DateTime, Utc};
use serde::Serialize;
use slo::release;

use super::prometheus::{Prometheus, literal};
use super::releases::{Figures, STEP_S};
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

/// The result of the comparison of a release with the one before it (`slo::release`).
#[derive(Debug, Clone, Default, PartialEq)]
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
    /// This one, if the rules have recorded a result; else that of herald's own figures. Prometheus records a new version only at the
    /// next evaluation, and the first page may be sent before.
    pub(super) fn or_of(self, before: &Figures, now: &Figures) -> Self {
        let enough = |of: &Figures| of.requests >= f64::from(release::MIN_REQUESTS);
        if self.judged || !enough(before) || !enough(now) {
            return self;
        }
        let more = now.error_share - before.error_share;
        let times = before
            .p95_s
            .zip(now.p95_s)
            .map(|(before, now)| now / before);
        let still_fast = now.p95_s.is_some_and(|p95| p95 <= release::STILL_FAST);
        Self {
            judged: true,
            errors: Some(more).filter(|more| *more > release::MORE_ERRORS),
            latency: times.filter(|times| *times > release::SLOWER && !still_fast),
        }
    }

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
                return (RollBack::Unclear, "too few requests to compare".to_owned());
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
    fn until_something_is_recorded_the_rules_thresholds_decide() {
        let of = |requests, error_share, p95_s| Figures {
            version: String::new(),
            requests,
            error_share,
            p95_s: Some(p95_s),
        };
        let none = Verdict::default;
        let judged = |errors, latency| Verdict {
            judged: true,
            errors,
            latency,
        };
        let before = of(900.0, 0.0, 0.1);
        for (recorded, now, verdict) in [
            (none(), of(9.0, 1.0, 9.0), none()),
            (none(), of(10.0, 0.0, 0.11), judged(None, None)),
            (none(), of(10.0, 0.0, 0.2), judged(None, Some(2.0))),
            (none(), of(10.0, 0.5, 0.1), judged(Some(0.5), None)),
            (none(), of(10.0, 0.0, 0.05), judged(None, None)),
            (judged(None, None), of(10.0, 0.5, 9.0), judged(None, None)),
        ] {
            assert_eq!(recorded.or_of(&before, &now), verdict, "{now:?}");
        }
        let fast = of(900.0, 0.0, 0.01);
        let now = of(10.0, 0.0, 0.05);
        assert_eq!(none().or_of(&fast, &now), judged(None, None));
        assert_eq!(
            none().or_of(&of(9.0, 0.0, 0.1), &of(10.0, 0.5, 9.0)),
            none()
        );
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
                "too few requests to compare",
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

//! The time that evidence is about.

use chrono::{DateTime, Utc};
use serde::Serialize;

/// Trouble begins before its alert does.
const LEAD_S: i64 = 120;

/// For an alert that has fired for long: the last hour.
const LONGEST_S: i64 = 3600;

/// Alerts that begin in the same minute and are accepted within so many seconds are asked about once.
const TOGETHER_S: i64 = 5;

/// The time that a rule needs to notice: rates start this long before the alert.
const ONSET_S: i64 = 30;

/// The ranges for rates: few, so that alerts share them. The first contains enough scrapes for a rate.
const RATES_S: [i64; 8] = [60, 120, 180, 300, 600, 900, 1800, LONGEST_S];

/// Valid times of a clock, in seconds since 1970: from the second day to the year 2200.
const CLOCK: (i64, i64) = (86_400, 7_258_118_400);

/// The time range of the evidence; the same for all alerts that share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub(crate) struct Window {
    pub(crate) start: DateTime<Utc>,
    pub(crate) end: DateTime<Utc>,
    /// How many of its last seconds hold the trouble, and little of the time before.
    #[serde(skip)]
    pub(crate) trouble_s: i64,
}

impl Window {
    /// For the start and the acceptance of an alert. It accepts any dates: a wrong clock must not invert the window.
    pub(crate) fn of(started: DateTime<Utc>, accepted: DateTime<Utc>) -> Self {
        let accepted = accepted.timestamp().clamp(CLOCK.0, CLOCK.1);
        let end = accepted - accepted % TOGETHER_S + TOGETHER_S;
        let started = started.timestamp();
        let minute = started - started.rem_euclid(60);
        let start = (minute - LEAD_S).clamp(end - LONGEST_S, end - LEAD_S);
        let since = end - started + ONSET_S;
        let trouble_s = RATES_S.into_iter().find(|rate| *rate >= since);
        Self {
            start: moment(start),
            end: moment(end),
            trouble_s: trouble_s.unwrap_or(LONGEST_S),
        }
    }

    /// Its length.
    pub(crate) fn seconds(&self) -> i64 {
        self.end.timestamp() - self.start.timestamp()
    }

    /// When the trouble had not begun.
    pub(crate) fn before(&self) -> DateTime<Utc> {
        moment(self.end.timestamp() - self.trouble_s)
    }
}

fn moment(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    /// Dates that a payload or a file may hold.
    pub(crate) fn extreme_dates() -> Vec<DateTime<Utc>> {
        let texts = [
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59.999999999Z",
            "1969-12-31T23:59:59Z",
            "2262-04-12T00:00:00Z",
        ];
        let mut dates: Vec<_> = texts.map(|text| text.parse().unwrap()).into();
        dates.extend([DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC]);
        dates
    }

    #[test]
    fn the_window_is_from_before_the_alert_and_an_hour_at_most() {
        // Accepted just after the full five seconds before.
        let accepted = 1_199_996;
        let length = |age: i64| Window::of(at(accepted - age), at(accepted)).seconds();
        assert_eq!(
            [length(-500), length(0), length(60), length(86_400)],
            [120, 180, 240, 3600]
        );
    }

    #[test]
    fn rates_are_taken_over_little_more_than_the_time_since_the_alert_began() {
        let trouble = |age: i64| Window::of(at(1_200_000 - age), at(1_200_000)).trouble_s;
        assert_eq!(
            [-500, 0, 20, 30, 100, 600, 7200].map(trouble),
            [60, 60, 60, 120, 180, 900, 3600]
        );
    }

    #[test]
    fn alerts_of_one_minute_that_come_together_share_it() {
        let window = |started: i64, accepted: i64| Window::of(at(started), at(accepted));
        let one = window(1_200_000, 1_200_065);
        assert_eq!(one, window(1_200_004, 1_200_069));
        assert_ne!(one, window(1_200_000, 1_200_070));
        assert_ne!(one, window(1_199_999, 1_200_069));
    }

    #[test]
    fn no_date_is_too_far_away() {
        for started in extreme_dates() {
            for accepted in extreme_dates() {
                let window = Window::of(started, accepted);
                assert!((120..=3600).contains(&window.seconds()), "{window:?}");
                assert!(window.before() < window.end, "{window:?}");
                assert!(window.end.timestamp_nanos_opt().is_some(), "{window:?}");
            }
        }
    }
}

//! Parts of a date in UTC, from seconds since 1970.

const DAY: i64 = 86_400;

pub(crate) fn minute(at: f64) -> f64 {
    (of_day(at) / 60 % 60) as f64
}

pub(crate) fn hour(at: f64) -> f64 {
    (of_day(at) / 3_600) as f64
}

/// Sunday is 0; 1970 began with a Thursday.
pub(crate) fn day_of_week(at: f64) -> f64 {
    (days(at) + 4).rem_euclid(7) as f64
}

pub(crate) fn day_of_month(at: f64) -> f64 {
    civil(days(at)).2 as f64
}

pub(crate) fn day_of_year(at: f64) -> f64 {
    let (year, ..) = civil(days(at));
    (days(at) - first_of(year, 1) + 1) as f64
}

pub(crate) fn days_in_month(at: f64) -> f64 {
    let (year, month, _) = civil(days(at));
    let next = if month == 12 {
        first_of(year + 1, 1)
    } else {
        first_of(year, month + 1)
    };
    (next - first_of(year, month)) as f64
}

pub(crate) fn month(at: f64) -> f64 {
    civil(days(at)).1 as f64
}

pub(crate) fn year(at: f64) -> f64 {
    civil(days(at)).0 as f64
}

fn of_day(at: f64) -> i64 {
    (at as i64).rem_euclid(DAY)
}

fn days(at: f64) -> i64 {
    (at as i64).div_euclid(DAY)
}

/// Year, month and day. Years begin in March here, so that the day that is sometimes missing is the last one
/// (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (era * 400 + year + next, month, day)
}

/// Days from 1970 to the first of a month.
fn first_of(year: i64, month: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + (153 * month + 2) / 5 - 719_468
}

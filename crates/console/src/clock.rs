//! The time now, since the epoch.

use chrono::Utc;

/// Nanoseconds.
pub(crate) fn now_ns() -> u64 {
    let now = Utc::now().timestamp_nanos_opt();
    now.and_then(|now| u64::try_from(now).ok())
        .unwrap_or_default()
}

/// Microseconds.
pub(crate) fn now_us() -> u64 {
    u64::try_from(Utc::now().timestamp_micros()).unwrap_or_default()
}

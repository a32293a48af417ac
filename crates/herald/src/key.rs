//! Keys of notifications: UUIDs of version 7, so that the names of their files sort by age.

use chrono::{DateTime, Utc};
use uuid::{Builder, Uuid, Variant};

use crate::payload::is_date;

/// The description of an invalid key, for the log.
pub(crate) const ALLOWED: &str =
    "allowed: a regular file named <UUID of version 7, in lower case, before the year 10000>.json";

/// When a key was created; `None` for keys that herald never creates, and for the last possible keys, because later
/// notifications need keys after them.
pub(crate) fn given(key: Uuid) -> Option<DateTime<Utc>> {
    if key.get_version_num() != 7 || key.get_variant() != Variant::RFC4122 {
        return None;
    }
    let (seconds, nanoseconds) = key.get_timestamp()?.to_unix();
    let given = DateTime::from_timestamp(seconds.try_into().ok()?, nanoseconds)?;
    Some(given).filter(is_date)
}

/// A new one, after `last` whatever the clock says. `None` when the next start would not take it for a key.
pub(crate) fn next(last: Option<Uuid>) -> Option<Uuid> {
    let key = Uuid::now_v7();
    let next = match last.filter(|last| *last >= key) {
        // The time is in the first 48 bits.
        Some(last) => {
            let millisecond = (last.as_u128() >> 80) as u64 + 1;
            Builder::from_unix_timestamp_millis(millisecond, &rand::random()).into_uuid()
        }
        None => key,
    };
    given(next).map(|_| next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Uuid {
        text.parse().expect("a UUID")
    }

    #[test]
    fn a_key_has_others_after_it_and_each_sorts_behind_the_one_before() {
        for bad in [
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "ffffffff-ffff-7fff-bfff-ffffffffffff",
            "01890a5d-ac96-774b-ccce-b302099a8057",
            "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            "f81d4fae-7dec-41d0-a765-00a0c91e6bf6",
        ] {
            assert_eq!(given(key(bad)), None, "{bad}");
        }
        let mut last = key("01890a5d-ac96-774b-bcce-b302099a8057");
        assert_eq!(
            given(last).map(|at| at.to_rfc3339()).as_deref(),
            Some("2023-06-30T03:34:18.518+00:00")
        );
        for planted in [last, key("e0000000-0000-7fff-bfff-ffffffffffff")] {
            last = last.max(planted);
            for _ in 0..100 {
                let next = next(Some(last)).expect("a key");
                assert!(last < next && last.to_string() < next.to_string());
                last = next;
            }
        }
        // The last millisecond of the year 9999.
        let end = key("e677d21f-dbff-7000-8000-000000000000");
        assert!(given(end).is_some());
        assert_eq!(next(Some(end)), None);
    }
}

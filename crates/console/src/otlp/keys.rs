//! Keys of attributes that came before. Senders use the same few hundred: what redaction says of one is remembered, and all items share
//! its text.
//!
//! The table forgets nothing, so it is small. A key that finds its places taken, that is long or that holds a secret is looked at each
//! time anew.

use std::borrow::Cow;
use std::sync::OnceLock;

use redact::{is_secret_key, redact};

use super::values::{MAX_NAME, cut};

const PLACES: usize = 1 << 10;

/// Where a key may be, from its own place on.
const NEIGHBOURS: usize = 8;

/// The longest that is remembered, in bytes.
const LONGEST: usize = 64;

static KNOWN: [OnceLock<Known>; PLACES] = [const { OnceLock::new() }; PLACES];

#[derive(Debug)]
struct Known {
    text: &'static str,
    is_secret: bool,
}

/// The key as it is kept, and whether its value is a secret, whatever it looks like.
pub(super) fn key(sent: &str) -> (Cow<'static, str>, bool) {
    if let Some(known) = known(sent) {
        return (Cow::Borrowed(known.text), known.is_secret);
    }
    let key = cut(sent.to_owned(), MAX_NAME);
    let is_secret = is_secret_key(&key);
    (Cow::Owned(key), is_secret)
}

fn known(key: &str) -> Option<&'static Known> {
    if key.len() > LONGEST {
        return None;
    }
    let first = place(key);
    for place in first..first + NEIGHBOURS {
        let place = &KNOWN[place % PLACES];
        match place.get() {
            Some(known) if known.text == key => return Some(known),
            Some(_) => {}
            None => return remember(place, key),
        }
    }
    None
}

fn remember(place: &'static OnceLock<Known>, key: &str) -> Option<&'static Known> {
    if matches!(redact(key), Cow::Owned(_)) {
        return None;
    }
    let known = place.get_or_init(|| Known {
        text: String::from(key).leak(),
        is_secret: is_secret_key(key),
    });
    // Another thread may have come first.
    (known.text == key).then_some(known)
}

/// Eight bytes at a time: it is asked for each attribute.
fn place(key: &str) -> usize {
    let mut hash = key.len() as u64;
    for bytes in key.as_bytes().chunks(8) {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 32;
    }
    hash as usize % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_means_the_same_each_time() {
        for _ in 0..3 {
            for (sent, kept, is_secret) in [
                ("http.route", "http.route", false),
                ("db.password", "db.password", true),
                ("ada@example.com", "[redacted]", false),
                ("", "", false),
            ] {
                let (key, secret) = key(sent);
                assert_eq!((&*key, secret), (kept, is_secret), "{sent}");
            }
        }
    }

    #[test]
    fn what_is_remembered_has_an_end() {
        let sent = |i: usize| format!("what.is.remembered.has.an.end.{i}");
        for i in 0..3 * PLACES {
            assert_eq!(key(&sent(i)), (sent(i).into(), false));
        }
        let own = (0..3 * PLACES).filter(|i| matches!(key(&sent(*i)).0, Cow::Owned(_)));
        // Other tests' keys have some of the places.
        assert!((2 * PLACES..3 * PLACES).contains(&own.count()));
        assert!(matches!(key(&"k".repeat(LONGEST + 1)).0, Cow::Owned(_)));
    }
}

//! A cache of attribute keys. Senders use the same few hundred keys, so the cache remembers how each is redacted, and all
//! items share its text.
//!
//! The table forgets nothing, so it is small. A key that finds its places taken, that is long, that holds a secret or that JSON would escape
//! is looked at each time anew.

use std::borrow::Cow;
use std::hash::Hasher;
use std::sync::OnceLock;

use redact::{is_secret_key, redact};
use rustc_hash::FxHasher;

use super::values::{MAX_NAME, cut};
use crate::attributes::Key;

const PLACES: usize = 1 << 10;

/// The number of places in which a key may be, from its own place on.
const NEIGHBOURS: usize = 8;

/// The longest that is remembered, in bytes.
const LONGEST: usize = 64;

static KNOWN: [OnceLock<Known>; PLACES] = [const { OnceLock::new() }; PLACES];

#[derive(Debug)]
struct Known {
    text: &'static str,
    is_secret: bool,
}

/// [`key`] of bytes that may be no text.
pub(super) fn read(sent: &[u8]) -> Result<(Key, bool), String> {
    if let Some(known) = known(sent) {
        return Ok((Cow::Borrowed(known.text), known.is_secret));
    }
    let sent = std::str::from_utf8(sent).map_err(|_| "a key is no UTF-8")?;
    Ok(key(sent))
}

/// The key as it is kept, and whether its value is a secret, whatever it looks like.
pub(super) fn key(sent: &str) -> (Key, bool) {
    if let Some(known) = known(sent.as_bytes()).or_else(|| remember(sent)) {
        return (Cow::Borrowed(known.text), known.is_secret);
    }
    let key = cut(sent.to_owned(), MAX_NAME);
    let is_secret = is_secret_key(&key);
    (Cow::Owned(key), is_secret)
}

fn known(key: &[u8]) -> Option<&'static Known> {
    let mut taken = places(key).map_while(OnceLock::get);
    taken.find(|known| known.text.as_bytes() == key)
}

fn remember(key: &str) -> Option<&'static Known> {
    let free = places(key.as_bytes()).find(|place| place.get().is_none())?;
    let is_escaped = |byte: u8| byte.is_ascii_control() || byte == b'"' || byte == b'\\';
    if key.len() > LONGEST || key.bytes().any(is_escaped) || matches!(redact(key), Cow::Owned(_)) {
        return None;
    }
    let known = free.get_or_init(|| Known {
        text: String::from(key).leak(),
        is_secret: is_secret_key(key),
    });
    // Another thread may have come first.
    (known.text == key).then_some(known)
}

fn places(key: &[u8]) -> impl Iterator<Item = &'static OnceLock<Known>> {
    let mut hasher = FxHasher::default();
    hasher.write(key);
    let first = hasher.finish() as usize % PLACES;
    (first..first + NEIGHBOURS).map(|place| &KNOWN[place % PLACES])
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

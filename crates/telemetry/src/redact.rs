//! Removes what must never be in telemetry: e-mail addresses, card numbers, tokens, row values in database errors.
//!
//! Applied at the source to every span name, attribute, event, link, status message and log record.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// What stands where a secret was.
pub const MARK: &str = "[redacted]";

macro_rules! pattern {
    ($name:ident, $regex:expr) => {
        static $name: LazyLock<Regex> =
            LazyLock::new(|| Regex::new($regex).expect("constant pattern"));
    };
}

pattern!(
    EMAIL,
    r"(?i)[a-z0-9._%+'\-]{1,64}(?:@|%40)[a-z0-9\-]{1,63}(?:\.[a-z0-9\-]{1,63})*"
);
// Schemes whose credentials follow after a space.
pattern!(AUTH, r"(?i)\b(bearer|basic)[\s+]+[a-z0-9._~+/\-]{8,}=*");
pattern!(
    JWT,
    r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*"
);
// `password=…`, `"api_key": "…"`, `token%3D…` and their kin, up to the end of the value.
pattern!(
    KEYED,
    r#"(?i)\b((?:[a-z0-9]+[_-])*(?:password|passwd|pwd|secret|token|api[_-]?key|access[_-]?key|authorization|signature|session[_-]?id|cookie|client[_-]?secret))("?\s*(?:[=:]|%3d)\s*)("[^"]*"|'[^']*'|\[redacted\]|[^\s&;,"'}\])]+)"#
);
// user:password@ in a URL.
pattern!(USERINFO, r"(?i)\b([a-z][a-z0-9+.\-]*://)[^/\s?#@]+@");
// Postgres: `Key (customer_email)=(…) already exists.`, `Failing row contains (…).`
pattern!(PG_KEY, r"Key \(([^)]*)\)=\((?:[^()]|\([^()]*\))*\)");
pattern!(PG_ROW, r"Failing row contains \(.*\)");
// A run of digits, perhaps grouped as on a card; the boundaries are checked by hand.
pattern!(
    DIGITS,
    r"\d{13,19}|\d{4}[ +-]\d{4}[ +-]\d{4}[ +-]\d{1,7}|\d{4}[ +-]\d{6}[ +-]\d{5}"
);

/// How often percent-encoding is undone in the search for secrets: a proxy may have encoded what was encoded.
const LAYERS: usize = 3;

/// Returns `text` with every secret replaced by [`MARK`]; borrows when there is none. Where a secret hid behind
/// percent-encoding, what surrounds it comes out decoded. Redacting twice is the same as once.
pub fn redact(text: &str) -> Cow<'_, str> {
    let mut out = redact_plain(text);
    let mut layer = percent_decoded(&out);
    for _ in 0..LAYERS {
        let Some(decoded) = layer else { break };
        let clean = redact_plain(&decoded);
        layer = percent_decoded(&clean);
        if clean != decoded {
            out = Cow::Owned(clean.into_owned());
        }
    }
    out
}

/// Undoes percent-encoding; `None` when there is none. Control characters stay out: they were encoded for a reason.
fn percent_decoded(text: &str) -> Option<String> {
    let hex = |at: usize| {
        let digits = text.get(at + 1..at + 3)?;
        let valid = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        valid.then(|| u8::from_str_radix(digits, 16).unwrap_or_default())
    };
    let first = text.find('%')?;
    let (mut bytes, mut at) = (text.as_bytes()[..first].to_vec(), first);
    let mut any = false;
    while let Some(byte) = text.as_bytes().get(at) {
        let decoded = if *byte == b'%' { hex(at) } else { None };
        any |= decoded.is_some();
        at += if decoded.is_some() { 3 } else { 1 };
        bytes.push(decoded.unwrap_or(*byte));
    }
    let printable = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    any.then(|| {
        String::from_utf8_lossy(&bytes)
            .chars()
            .map(printable)
            .collect()
    })
}

fn redact_plain(text: &str) -> Cow<'_, str> {
    let hints = Hints::of(text.as_bytes());
    let mut out = Cow::Borrowed(text);
    if hints.separator {
        for (pattern, with) in [
            (&*PG_KEY, "Key ($1)=([redacted])"),
            (&*PG_ROW, "Failing row contains ([redacted])"),
        ] {
            replace(&mut out, pattern, with);
        }
        replace(&mut out, &USERINFO, "${1}[redacted]@");
        // Before KEYED: `Authorization: Bearer x` must lose x, not only the word after the colon.
        replace(&mut out, &AUTH, "$1 [redacted]");
        replace(&mut out, &JWT, MARK);
        replace(&mut out, &KEYED, "$1$2[redacted]");
    }
    if hints.email {
        replace(&mut out, &EMAIL, MARK);
    }
    if hints.digits >= 13 {
        redact_cards(&mut out);
    }
    out
}

/// What a cheap pass over the bytes finds, so that ordinary text costs no pattern.
#[derive(Default)]
struct Hints {
    email: bool,
    separator: bool,
    digits: usize,
}

impl Hints {
    fn of(bytes: &[u8]) -> Self {
        let mut hints = Self::default();
        for (index, byte) in bytes.iter().enumerate() {
            match byte {
                b'@' => hints.email = true,
                b'%' => hints.email |= bytes[index + 1..].starts_with(b"40"),
                b'0'..=b'9' => hints.digits += 1,
                _ => {}
            }
            hints.separator |= matches!(byte, b'=' | b':' | b' ' | b'.' | b'%' | b'+');
        }
        hints.separator |= hints.email;
        hints
    }
}

fn replace(text: &mut Cow<'_, str>, pattern: &Regex, with: &str) {
    if let Cow::Owned(changed) = pattern.replace_all(text, with) {
        *text = Cow::Owned(changed);
    }
}

fn redact_cards(text: &mut Cow<'_, str>) {
    let changed = DIGITS.replace_all(text, |found: &Captures<'_>| {
        let whole = found.get(0).expect("group 0 always matches");
        if stands_alone(text, whole.start(), whole.end()) && is_card(whole.as_str()) {
            MARK.to_owned()
        } else {
            whole.as_str().to_owned()
        }
    });
    // Digits that are no card are a match too: what stays the same must stay borrowed, callers go by that.
    if let Cow::Owned(changed) = changed
        && changed != *text
    {
        *text = Cow::Owned(changed);
    }
}

/// An id is no card: digits that touch a letter, another digit, or a hyphenated group (a UUID) are spared.
fn stands_alone(text: &str, start: usize, end: usize) -> bool {
    let touches = |neighbour: Option<u8>, beyond: Option<u8>| match neighbour {
        Some(byte) if byte.is_ascii_alphanumeric() || byte == b'_' => true,
        Some(b'-') => beyond.is_some_and(|byte| byte.is_ascii_alphanumeric()),
        _ => false,
    };
    let bytes = text.as_bytes();
    let at = |index: Option<usize>| index.and_then(|index| bytes.get(index).copied());
    !touches(at(start.checked_sub(1)), at(start.checked_sub(2)))
        && !touches(at(Some(end)), at(Some(end + 1)))
}

/// Issuer prefixes of payment cards (ISO/IEC 7812: 3 to 6, and Mastercard's 2221-2720) and the Luhn check.
/// Epoch timestamps in milli-, micro- and nanoseconds begin with 1 until the year 2033.
fn is_card(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
    let issuer = matches!(digits[0], 3..=6) || (digits[0] == 2 && matches!(digits[1], 2..=7));
    issuer && (13..=19).contains(&digits.len()) && luhn(&digits)
}

fn luhn(digits: &[u32]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(index, digit)| match index % 2 {
            0 => *digit,
            _ if *digit > 4 => digit * 2 - 9,
            _ => digit * 2,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go() {
        for (text, want) in [
            ("mail ada@example.com now", "mail [redacted] now"),
            ("q=ada%40example.com", "q=[redacted]"),
            ("card 4111 1111 1111 1111.", "card [redacted]."),
            ("card=4111111111111111", "card=[redacted]"),
            ("amex 3782-822463-10005", "amex [redacted]"),
            (
                "Authorization: Bearer abcdefghijkl",
                "Authorization: [redacted] [redacted]",
            ),
            ("password=hunter2&x=1", "password=[redacted]&x=1"),
            (r#"{"api_key":"s3cr3t"}"#, r#"{"api_key":[redacted]}"#),
            ("postgres://ada:pw@db/omni", "postgres://[redacted]@db/omni"),
            (
                "Key (customer_email)=(ada(x)@example.com) already exists.",
                "Key (customer_email)=([redacted]) already exists.",
            ),
            (
                "Failing row contains (1, ada, 4).",
                "Failing row contains ([redacted]).",
            ),
            ("eyJhbGciOi.eyJzdWIiOiI.sflKxw x", "[redacted] x"),
            ("Bearer+abcdefghijkl", "Bearer [redacted]"),
            ("a=1&n=5500+0055+5555+5559", "a=1&n=[redacted]"),
            ("/u/5500%200055%205555%205559%20x", "/u/[redacted] x"),
            ("n%3D1%20and%205500005555555559", "n=1 and [redacted]"),
            ("q=ada%2540example.com%250A", "q=[redacted]%0A"),
        ] {
            assert_eq!(redact(text), want);
            assert_eq!(redact(want), want, "twice");
        }
    }

    #[test]
    fn ordinary_text_is_borrowed_and_ids_are_spared() {
        for text in [
            "GET /api/orders/{id}",
            "SELECT id FROM orders WHERE id = $1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "1763942400000000000",
            "1763942400000000",
            "order 01234567-4111-4111-1111-111111111111",
            "a4111111111111111",
            "http://127.0.0.1:8081/orders",
            "/api/orders?cursor=a%20b%26c%3D%C3%A9%zz%4",
            "omnitrace=c1892312400492329df3c2c4aac82259",
        ] {
            assert_eq!(redact(text), text);
            assert!(matches!(redact(text), Cow::Borrowed(_)), "{text}");
        }
    }
}

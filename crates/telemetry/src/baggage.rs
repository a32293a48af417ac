//! The `baggage` header, both ways.

use opentelemetry::baggage::{Baggage, BaggageMetadata};
use opentelemetry::{Key, StringValue};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::propagation::{Headers, joined};

/// Longest `baggage` read and sent, and most members: what the specification demands. Members beyond are dropped whole.
pub(crate) const MAX_LENGTH: usize = 8192;
pub(crate) const MAX_MEMBERS: usize = 64;

/// Everything in a baggage value that is no `baggage-octet`, and the sign of the encoding itself.
const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b',')
    .add(b';')
    .add(b'\\')
    .add(b'%');

type Entry = (Key, (StringValue, BaggageMetadata));

/// All entries that fit, or none when one is invalid.
pub(crate) fn read(headers: &impl Headers) -> Vec<Entry> {
    let text = joined(headers, "baggage").unwrap_or_default();
    let members = text.split(',').filter(|_| !text.is_empty());
    let entries = fitting(members).into_iter().map(member);
    entries.collect::<Option<Vec<_>>>().unwrap_or_default()
}

/// A key, a value, and the properties unparsed: a member is kept or dropped as a whole.
fn member(member: &str) -> Option<Entry> {
    let (pair, properties) = member.split_once(';').unwrap_or((member, ""));
    let (key, value) = pair.split_once('=')?;
    let (key, value) = (key.trim(), value.trim());
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let octet =
        |byte: u8| matches!(byte, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e);
    let valid = !key.is_empty()
        && key.bytes().all(token)
        && value.bytes().all(octet)
        && properties
            .bytes()
            .all(|byte| octet(byte) || b"; \t".contains(&byte));
    valid.then(|| {
        // Invalid UTF-8 becomes U+FFFD, as the specification demands.
        let value = percent_decode_str(value).decode_utf8_lossy();
        let value = StringValue::from(value.into_owned());
        (Key::new(key.to_owned()), (value, properties.into()))
    })
}

/// The entries that fit, encoded.
pub(crate) fn header(baggage: &Baggage) -> String {
    let members = baggage.iter().map(|(key, (value, properties))| {
        let value = utf8_percent_encode(value.as_str(), ENCODED);
        match properties.as_str() {
            "" => format!("{key}={value}"),
            properties => format!("{key}={value};{properties}"),
        }
    });
    fitting(members).join(",")
}

/// The members that fit into a header, in order.
fn fitting<T: AsRef<str>>(members: impl Iterator<Item = T>) -> Vec<T> {
    let mut length = 0;
    let fits = |member: &T| {
        let with = length + usize::from(length > 0) + member.as_ref().len();
        if with <= MAX_LENGTH {
            length = with;
        }
        with <= MAX_LENGTH
    };
    members.filter(fits).take(MAX_MEMBERS).collect()
}

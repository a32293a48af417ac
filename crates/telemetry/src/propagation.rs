//! W3C Trace Context and Baggage, read strictly.
//!
//! The rules are the specification's: an invalid or repeated `traceparent` starts a new trace and drops `tracestate`; a
//! higher version is read as version 00; an invalid `tracestate` or `baggage` is dropped alone.

use std::str::FromStr;
use std::sync::OnceLock;

use actix_web::http::header::HeaderMap;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};

/// Longest `tracestate` read; the specification asks for at least 512 characters to be passed on.
const MAX_TRACESTATE: usize = 1024;
const MAX_TRACESTATE_MEMBERS: usize = 32;
/// Longest `baggage` read, all headers together. The specification's ceiling is 8192; what passes is sent on by
/// every hop, so less is plenty.
const MAX_BAGGAGE: usize = 2048;
const MAX_BAGGAGE_MEMBERS: usize = 32;

/// How far callers are believed.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub(crate) trace: bool,
    pub(crate) baggage: bool,
    pub(crate) trust_callers: bool,
    pub(crate) baggage_allow: Option<Vec<String>>,
}

static POLICY: OnceLock<Policy> = OnceLock::new();

/// Sets the process's policy; the first call wins.
pub(crate) fn configure(policy: Policy) {
    let _ = POLICY.set(policy);
}

/// What a request brings: a context to continue, and a span to link to when the caller is not trusted.
#[derive(Debug, Default)]
pub(crate) struct Inbound {
    pub(crate) context: Context,
    pub(crate) link: Option<SpanContext>,
}

/// Reads the context of a request's headers.
pub(crate) fn extract(headers: &HeaderMap) -> Inbound {
    POLICY
        .get()
        .map(|policy| policy.extract(headers))
        .unwrap_or_default()
}

impl Policy {
    fn extract(&self, headers: &HeaderMap) -> Inbound {
        let caller = if self.trace {
            span_context(headers)
        } else {
            None
        };
        let mut context = Context::new();
        if self.baggage && self.trust_callers {
            let entries: Vec<KeyValue> = baggage(headers)
                .into_iter()
                .filter(|entry| self.allows(entry))
                .collect();
            if !entries.is_empty() {
                context = context.with_baggage(entries);
            }
        }
        match caller {
            Some(caller) if self.trust_callers => Inbound {
                context: context.with_remote_span_context(caller),
                link: None,
            },
            link => Inbound { context, link },
        }
    }

    fn allows(&self, entry: &KeyValue) -> bool {
        self.baggage_allow
            .as_ref()
            .is_none_or(|allowed| allowed.iter().any(|key| key == entry.key.as_str()))
    }
}

fn span_context(headers: &HeaderMap) -> Option<SpanContext> {
    let mut parents = headers.get_all("traceparent");
    let (first, second) = (parents.next(), parents.next());
    let (trace_id, span_id, flags) = match (first, second) {
        (Some(only), None) => parse_traceparent(only.to_str().ok()?)?,
        _ => return None,
    };
    Some(SpanContext::new(
        trace_id,
        span_id,
        flags,
        true,
        tracestate(headers),
    ))
}

/// Parses a `traceparent` value, or says `None`.
pub(crate) fn parse_traceparent(text: &str) -> Option<(TraceId, SpanId, TraceFlags)> {
    let text = text.trim_matches([' ', '\t']);
    let bytes = text.as_bytes();
    let dashes = [2, 35, 52].iter().all(|at| bytes.get(*at) == Some(&b'-'));
    if bytes.len() < 55 || !dashes || !text.is_ascii() {
        return None;
    }
    let version = lower_hex(&text[..2])?;
    let longer = bytes.len() > 55;
    // Version 00 has exactly four fields; a higher one may have more, after a dash.
    if version == "ff" || (version == "00" && longer) || (longer && bytes[55] != b'-') {
        return None;
    }
    let trace_id = TraceId::from_hex(lower_hex(&text[3..35])?)
        .ok()
        .filter(|id| *id != TraceId::INVALID)?;
    let span_id = SpanId::from_hex(lower_hex(&text[36..52])?)
        .ok()
        .filter(|id| *id != SpanId::INVALID)?;
    let flags = u8::from_str_radix(lower_hex(&text[53..55])?, 16).ok()?;
    // Only the sampled flag is known to this version.
    Some((
        trace_id,
        span_id,
        TraceFlags::new(flags) & TraceFlags::SAMPLED,
    ))
}

fn lower_hex(text: &str) -> Option<&str> {
    text.bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        .then_some(text)
}

fn joined(headers: &HeaderMap, name: &str, limit: usize) -> Option<String> {
    let values: Option<Vec<&str>> = headers
        .get_all(name)
        .map(|value| value.to_str().ok())
        .collect();
    let text = values?.join(",");
    (!text.is_empty() && text.len() <= limit).then_some(text)
}

fn tracestate(headers: &HeaderMap) -> TraceState {
    let Some(text) = joined(headers, "tracestate", MAX_TRACESTATE) else {
        return TraceState::default();
    };
    let members: Vec<&str> = text
        .split(',')
        .map(|member| member.trim_matches([' ', '\t']))
        .filter(|m| !m.is_empty())
        .collect();
    let mut keys: Vec<&str> = members.iter().filter_map(|member| key_of(member)).collect();
    keys.sort_unstable();
    keys.dedup();
    // Fewer keys than members: one is invalid, or stands there twice.
    if keys.len() < members.len() || members.len() > MAX_TRACESTATE_MEMBERS {
        return TraceState::default();
    }
    TraceState::from_str(&members.join(",")).unwrap_or_default()
}

/// The key of a valid `tracestate` member. The SDK's own check lets empty keys and values through.
fn key_of(member: &str) -> Option<&str> {
    let (key, value) = member.split_once('=')?;
    let first = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let key_byte = |byte: u8| first(byte) || b"_-*/@".contains(&byte);
    let value_byte = |byte: u8| matches!(byte, 0x20..=0x2b | 0x2d..=0x3c | 0x3e..=0x7e);
    let valid = key.bytes().next().is_some_and(first)
        && key.len() <= 256
        && key.bytes().all(key_byte)
        && (1..=256).contains(&value.len())
        && value.bytes().all(value_byte);
    valid.then_some(key)
}

/// All entries, or none when any part is invalid.
fn baggage(headers: &HeaderMap) -> Vec<KeyValue> {
    let Some(text) = joined(headers, "baggage", MAX_BAGGAGE) else {
        return Vec::new();
    };
    let members: Vec<&str> = text.split(',').collect();
    if members.len() > MAX_BAGGAGE_MEMBERS {
        return Vec::new();
    }
    members
        .into_iter()
        .map(baggage_member)
        .collect::<Option<Vec<_>>>()
        .unwrap_or_default()
}

fn baggage_member(member: &str) -> Option<KeyValue> {
    // Properties after `;` are dropped: the SDK would pass them on inside the value.
    let (key, value) = member.split(';').next()?.split_once('=')?;
    let (key, value) = (key.trim(), value.trim());
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let octet =
        |byte: u8| matches!(byte, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e);
    let valid = !key.is_empty() && key.bytes().all(token) && value.bytes().all(octet);
    let value = percent_decode(value)?;
    valid.then(|| KeyValue::new(key.to_owned(), value))
}

fn percent_decode(text: &str) -> Option<String> {
    url::form_urlencoded::parse(
        format!("v={}", text.replace('+', "%2B").replace('&', "%26")).as_bytes(),
    )
    .next()
    .map(|(_, value)| value.into_owned())
    .filter(|value| !value.contains('\u{fffd}'))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn inbound(headers: &[(&str, &str)], policy: &Policy) -> Inbound {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::try_from(*name).unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        policy.extract(&map)
    }

    fn trusting() -> Policy {
        Policy {
            trace: true,
            baggage: true,
            trust_callers: true,
            baggage_allow: None,
        }
    }

    #[test]
    fn traceparent_as_specified() {
        for valid in [
            PARENT,
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-holds",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff",
        ] {
            assert!(parse_traceparent(valid).is_some(), "{valid}");
        }
        for invalid in [
            "",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        ] {
            assert!(parse_traceparent(invalid).is_none(), "{invalid}");
        }
    }

    #[test]
    fn a_repeated_traceparent_starts_a_new_trace_and_bad_company_is_dropped_alone() {
        let repeated = inbound(
            &[("traceparent", PARENT), ("traceparent", PARENT)],
            &trusting(),
        );
        assert!(!repeated.context.span().span_context().is_valid());
        let bad = inbound(
            &[
                ("traceparent", PARENT),
                ("tracestate", "a=1,a=2"),
                ("baggage", "k=v,=,"),
            ],
            &trusting(),
        );
        let span = bad.context.span().span_context().clone();
        assert!(span.is_valid());
        assert_eq!(span.trace_state().header(), "");
        assert_eq!(bad.context.baggage().len(), 0);
        let good = inbound(
            &[
                ("traceparent", PARENT),
                ("tracestate", "a=1"),
                ("tracestate", "b=2"),
                ("baggage", "k=v%20w;p=1"),
            ],
            &trusting(),
        );
        assert_eq!(
            good.context.span().span_context().trace_state().header(),
            "a=1,b=2"
        );
        assert_eq!(
            good.context.baggage().get("k").map(|value| value.as_str()),
            Some("v w")
        );
    }

    #[test]
    fn limits_and_policy() {
        let big = format!("k={}", "v".repeat(MAX_BAGGAGE));
        assert_eq!(
            inbound(&[("baggage", &big)], &trusting())
                .context
                .baggage()
                .len(),
            0
        );
        let allow = Policy {
            baggage_allow: Some(vec!["tenant".into()]),
            ..trusting()
        };
        let some = inbound(&[("baggage", "tenant=a,user=b")], &allow);
        assert_eq!(some.context.baggage().len(), 1);
        let distrusting = Policy {
            trust_callers: false,
            ..trusting()
        };
        let linked = inbound(&[("traceparent", PARENT), ("baggage", "k=v")], &distrusting);
        assert!(linked.link.is_some() && !linked.context.span().span_context().is_valid());
        assert_eq!(linked.context.baggage().len(), 0);
    }
}

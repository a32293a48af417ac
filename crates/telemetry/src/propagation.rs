//! W3C Trace Context and Baggage, read strictly and passed on whole.
//!
//! The rules are the specification's: an invalid or repeated `traceparent` starts a new trace and drops `tracestate`; a
//! higher version is read as version 00; what is invalid in `tracestate` or `baggage` is dropped alone. What goes out is not written
//! by the SDK's propagators: they forget the random flag, and do not encode a `%` that they have decoded.

use std::str::FromStr;
use std::sync::OnceLock;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::baggage::{Baggage, BaggageExt};
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, Key};

use tracing::Span;

use crate::hex::{self, Hex};
use crate::{baggage, spans, synthetic, tracestate};

/// Length of a `traceparent` of version 00.
const TRACEPARENT_LENGTH: usize = 55;
/// The flag that says that the trace id is random (Trace Context Level 2).
const RANDOM: TraceFlags = TraceFlags::new(0x02);

/// Known to be random: the SDK forgets the flag of a trace that is not sampled.
#[derive(Debug, PartialEq, Eq)]
struct RandomId(TraceId);

/// The `tracestate` of a trace whose keys the SDK refuses, since it knows those of Level 1 only.
#[derive(Debug)]
struct Level2State(TraceId, String);

/// How far callers are trusted.
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

/// The headers of a framework.
pub(crate) trait Headers {
    /// Every value of a header, in order; `None` for one that is not visible ASCII.
    fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = Option<&'a str>>;
}

impl Headers for HeaderMap {
    fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = Option<&'a str>> {
        self.get_all(name)
            .into_iter()
            .map(|value| value.to_str().ok())
    }
}

/// Makes a span that has not been entered the continuation of what the headers say, as far as the caller is trusted.
pub(crate) fn continue_trace(span: &Span, headers: &impl Headers) {
    let inbound = POLICY
        .get()
        .map(|policy| policy.extract(headers))
        .unwrap_or_default();
    if let Some(caller) = inbound.link {
        spans::link(span, caller);
    }
    spans::set_parent(span, inbound.context);
    synthetic::recognise(span, headers);
}

impl Policy {
    fn extract(&self, headers: &impl Headers) -> Inbound {
        let caller = if self.trace {
            span_context(headers)
        } else {
            None
        };
        let mut context = Context::new();
        if self.baggage && self.trust_callers {
            let entries = baggage::read(headers).into_iter();
            let allowed: Baggage = entries.filter(|(key, _)| self.allows(key)).collect();
            if !allowed.is_empty() {
                context = context.with_baggage(allowed);
            }
        }
        match caller {
            Some((caller, level_2)) if self.trust_callers => {
                if caller.trace_flags() & RANDOM == RANDOM {
                    context = context.with_value(RandomId(caller.trace_id()));
                }
                if let Some(state) = level_2 {
                    context = context.with_value(state);
                }
                Inbound {
                    context: context.with_remote_span_context(caller),
                    link: None,
                }
            }
            caller => Inbound {
                context,
                link: caller.map(|(caller, _)| caller),
            },
        }
    }

    fn allows(&self, key: &Key) -> bool {
        self.baggage_allow
            .as_ref()
            .is_none_or(|allowed| allowed.iter().any(|allowed| allowed == key.as_str()))
    }
}

/// Writes the context into the headers of outgoing requests.
#[derive(Debug)]
pub(crate) struct Outbound {
    pub(crate) trace: bool,
    pub(crate) baggage: bool,
}

impl TextMapPropagator for Outbound {
    fn inject_context(&self, context: &Context, injector: &mut dyn Injector) {
        if self.trace
            && let Some(traceparent) = traceparent(context)
        {
            injector.set("traceparent", traceparent);
            let span = context.span();
            let state = match context.get() {
                Some(Level2State(trace, state)) if *trace == span.span_context().trace_id() => {
                    state.clone()
                }
                _ => span.span_context().trace_state().header(),
            };
            set_unless_empty(injector, "tracestate", state);
        }
        if self.baggage {
            set_unless_empty(injector, "baggage", baggage::header(context.baggage()));
        }
    }

    /// Nothing: what comes in is read by [`continue_trace`].
    fn extract_with_context(&self, context: &Context, _: &dyn Extractor) -> Context {
        context.clone()
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(&[])
    }
}

/// Writes the current context into the headers of an outgoing request.
pub(crate) fn inject(headers: &mut HeaderMap) {
    if let Some(Policy { trace, baggage, .. }) = POLICY.get() {
        let (trace, baggage) = (*trace, *baggage);
        let outbound = Outbound { trace, baggage };
        Context::map_current(|context| outbound.inject_context(context, &mut Outgoing(headers)));
    }
    synthetic::inject(headers);
}

struct Outgoing<'a>(&'a mut HeaderMap);

impl Injector for Outgoing<'_> {
    fn set(&mut self, name: &str, value: String) {
        let mut ours = ["traceparent", "tracestate", "baggage"].into_iter();
        let ours = ours.find(|ours| *ours == name);
        if let (Some(name), Ok(value)) = (ours, HeaderValue::try_from(value)) {
            self.0.insert(HeaderName::from_static(name), value);
        }
    }
}

fn set_unless_empty(injector: &mut dyn Injector, name: &str, value: String) {
    if !value.is_empty() {
        injector.set(name, value);
    }
}

/// The span of a context, as the header says it.
pub(crate) fn traceparent(context: &Context) -> Option<String> {
    let mut text = String::with_capacity(TRACEPARENT_LENGTH);
    write_traceparent(context, &mut text).then_some(text)
}

/// The same at the end of a text; false if there is none.
pub(crate) fn write_traceparent(context: &Context, text: &mut String) -> bool {
    let span = context.span();
    let span = span.span_context();
    let (trace_id, span_id) = (span.trace_id(), span.span_id());
    let mut flags = known(span.trace_flags());
    if context.get() == Some(&RandomId(trace_id)) {
        flags = flags | RANDOM;
    }
    if !span.is_valid() {
        return false;
    }
    let (trace_id, span_id) = (Hex::from(trace_id), Hex::from(span_id));
    let flags = Hex::from(flags.to_u8());
    for part in [
        "00-",
        trace_id.as_str(),
        "-",
        span_id.as_str(),
        "-",
        flags.as_str(),
    ] {
        text.push_str(part);
    }
    true
}

/// The flags that mean something; the others must not be passed on.
fn known(flags: TraceFlags) -> TraceFlags {
    flags & (TraceFlags::SAMPLED | RANDOM)
}

fn span_context(headers: &impl Headers) -> Option<(SpanContext, Option<Level2State>)> {
    let mut parents = headers.all("traceparent");
    let (first, second) = (parents.next(), parents.next());
    let (trace_id, span_id, flags) = match (first, second) {
        (Some(only), None) => parse_traceparent(only?)?,
        _ => return None,
    };
    let sent = tracestate::read(headers);
    let (state, level_2) = match TraceState::from_str(&sent) {
        Ok(state) => (state, None),
        Err(_) => (TraceState::default(), Some(Level2State(trace_id, sent))),
    };
    let caller = SpanContext::new(trace_id, span_id, flags, true, state);
    Some((caller, level_2))
}

/// Parses a `traceparent` value, or says `None`.
pub(crate) fn parse_traceparent(text: &str) -> Option<(TraceId, SpanId, TraceFlags)> {
    let text = text.trim_matches([' ', '\t']);
    let bytes = text.as_bytes();
    let dashes = [2, 35, 52].iter().all(|at| bytes.get(*at) == Some(&b'-'));
    if bytes.len() < 55 || !dashes || !text.is_ascii() {
        return None;
    }
    let version = hex::number(&text[..2])?;
    let longer = bytes.len() > 55;
    // Version 00 has exactly four fields; a higher one may have more, after a dash.
    if version == 0xff || (version == 0 && longer) || (longer && bytes[55] != b'-') {
        return None;
    }
    let trace_id = TraceId::from(hex::number(&text[3..35])?);
    let span_id = SpanId::from(hex::number(&text[36..52])? as u64);
    let flags = hex::number(&text[53..55])? as u8;
    let valid = trace_id != TraceId::INVALID && span_id != SpanId::INVALID;
    valid.then_some((trace_id, span_id, known(TraceFlags::new(flags))))
}

pub(crate) fn joined(headers: &impl Headers, name: &str) -> Option<String> {
    let values: Option<Vec<&str>> = headers.all(name).collect();
    Some(values?.join(",")).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baggage::{MAX_LENGTH, MAX_MEMBERS};

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
                ("tracestate", "a=1,A=2"),
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
        let entries = |header: &str| {
            let found = inbound(&[("baggage", header)], &trusting());
            found.context.baggage().len()
        };
        let fits = format!("k={}", "v".repeat(MAX_LENGTH - 2));
        assert_eq!(entries(&fits), 1);
        assert_eq!(entries(&format!("{fits}v")), 0);
        assert_eq!(entries(&format!("a=1,{fits},b=2")), 2, "dropped alone");
        let many: Vec<String> = (0..70).map(|n| format!("k{n}=v")).collect();
        assert_eq!(entries(&many.join(",")), MAX_MEMBERS);
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

    #[test]
    fn what_comes_in_goes_out() {
        let outbound = Outbound {
            trace: true,
            baggage: true,
        };
        for (flags, want) in [
            ("00", "00"),
            ("01", "01"),
            ("02", "02"),
            ("03", "03"),
            ("ff", "03"),
        ] {
            let parent = PARENT[..53].to_owned();
            let came = inbound(&[("traceparent", &(parent.clone() + flags))], &trusting());
            let mut sent = std::collections::HashMap::new();
            outbound.inject_context(&came.context, &mut sent);
            assert_eq!(sent["traceparent"], parent + want);
            assert_eq!(sent.len(), 1, "nothing empty: {sent:?}");
        }
        let states = ["foo@@bar=1,b=2", "b=2"];
        for state in states {
            let headers = [("traceparent", PARENT), ("tracestate", state)];
            let came = inbound(&headers, &trusting());
            let mut sent = std::collections::HashMap::new();
            outbound.inject_context(&came.context, &mut sent);
            assert_eq!(sent["tracestate"], state);
        }
        for (value, want) in [
            ("%2541", "%2541"),
            ("100%25", "100%25"),
            ("%20x%20", "%20x%20"),
            ("a+b=c", "a+b=c"),
            ("%41%C3%A9%0D%0A%00", "A%C3%A9%0D%0A%00"),
            ("%22%2C%3B%5C", "%22%2C%3B%5C"),
            ("v ; p=1;q", "v;p=1;q"),
            ("%EF%BF%BD", "%EF%BF%BD"),
            // Neither is an encoding: the first a plain text, the second no UTF-8.
            ("%zz", "%25zz"),
            ("%ff", "%EF%BF%BD"),
        ] {
            let came = inbound(&[("baggage", &format!("k={value}"))], &trusting());
            let mut sent = std::collections::HashMap::new();
            outbound.inject_context(&came.context, &mut sent);
            assert_eq!(sent["baggage"], format!("k={want}"));
        }
    }
}

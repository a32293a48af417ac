//! Spans on their way out: sampling, redaction, the export queue.

use std::borrow::Cow;
use std::cell::RefCell;

use opentelemetry::trace::{Link, SpanContext, SpanKind, TraceContextExt, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{
    Sampler as SdkSampler, SamplingDecision, SamplingResult, ShouldSample,
};
use redact::{MARK, is_secret_key, redact};

use crate::settings::Sampler;

mod clean;
mod layer;
mod record;

use self::clean::Clean;
#[cfg(any(feature = "actix", feature = "reqwest", feature = "tower"))]
pub(crate) use self::layer::leave;
#[cfg(feature = "sqlx")]
pub(crate) use self::layer::within;
pub(crate) use self::layer::{SpanLayer, context, link, mark, set_parent, set_value};
#[cfg(test)]
pub(crate) use self::record::Fields;
pub(crate) use self::record::{Attributes, Record, Value};

/// Longest attribute value kept; a hostile header or error text must not bloat a batch.
const MAX_VALUE: usize = 4096;

/// Member of `tracestate` in which a delivery carries the trace id of the order that caused it: the collector's tail
/// sampling decides by it (`deploy/collector/production.yaml`).
const SAMPLED_WITH: &str = "omnitrace";

/// Head sampler: as the settings say, but a linked root span (a delivery, a sweep) takes the decision of the span it links to,
/// and carries that one's trace id on, so that an order's trace and its delivery's trace are kept or dropped together,
/// here and in the collector. Not a server span, whose link names a caller that is not trusted.
#[derive(Debug, Clone)]
pub(crate) struct LinkedSampler {
    inner: SdkSampler,
}

impl LinkedSampler {
    pub(crate) fn new(settings: Sampler) -> Self {
        let root = SdkSampler::TraceIdRatioBased(settings.ratio);
        let inner = if settings.parent_based {
            SdkSampler::ParentBased(Box::new(root))
        } else {
            root
        };
        Self { inner }
    }
}

impl ShouldSample for LinkedSampler {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let orphan = parent.is_none_or(|context| !context.span().span_context().is_valid());
        match links.first() {
            Some(link) if orphan && *kind != SpanKind::Server => SamplingResult {
                decision: if link.span_context.is_sampled() {
                    SamplingDecision::RecordAndSample
                } else {
                    SamplingDecision::Drop
                },
                attributes: Vec::new(),
                trace_state: sampled_with(link.span_context.trace_id()),
            },
            _ => self
                .inner
                .should_sample(parent, trace_id, name, kind, attributes, links),
        }
    }
}

fn sampled_with(trace_id: TraceId) -> TraceState {
    // The key and 32 hex digits are always valid.
    TraceState::from_key_value([(SAMPLED_WITH, trace_id.to_string())]).unwrap_or_default()
}

/// A caller's `tracestate` is exported with every span. If it holds a secret, it is left out as a whole: redacting a part
/// would change another vendor's entry.
fn clean_state(context: &mut SpanContext) {
    if cleaned(&context.trace_state().header()).is_some() {
        *context = SpanContext::new(
            context.trace_id(),
            context.span_id(),
            context.trace_flags(),
            context.is_remote(),
            TraceState::default(),
        );
    }
}

/// The redacted and capped text, when it differs.
pub(crate) fn cleaned(text: &str) -> Option<String> {
    let known = CLEAN.try_with(|clean| clean.borrow_mut().knows(text));
    if known == Ok(true) {
        return None;
    }
    let cleaned = capped(redact(text));
    if cleaned.is_none() {
        // A thread that ends may have none left.
        let _ = CLEAN.try_with(|clean| clean.borrow_mut().keep(text));
    }
    cleaned
}

/// The same for the value of an attribute or field.
pub(crate) fn cleaned_value(key: &'static str, text: &str) -> Option<String> {
    if is_secret(key) && !text.is_empty() {
        return Some(MARK.to_owned());
    }
    cleaned(text)
}

thread_local! {
    static CLEAN: RefCell<Clean> = const { RefCell::new(Clean::new()) };
}

/// Keys that a thread has checked recently. They are names of fields in the code, so there are few, and their addresses identify them.
type Seen = [(*const u8, usize, bool); 256];

thread_local! {
    static SEEN: RefCell<Seen> = const { RefCell::new([(std::ptr::null(), 0, false); 256]) };
}

/// [`is_secret_key`], which is much slower.
pub(crate) fn is_secret(key: &'static str) -> bool {
    let (place, length) = (key.as_ptr(), key.len());
    // Names stand side by side, so they hardly ever share an entry.
    let index = (place.addr() ^ (place.addr() >> 8)) % 256;
    SEEN.with_borrow_mut(|seen| {
        let entry = &mut seen[index];
        if (entry.0, entry.1) != (place, length) {
            *entry = (place, length, is_secret_key(key));
        }
        entry.2
    })
}

/// Cuts a text that is redacted already. Cut first, half of a secret could remain and would not be recognised.
fn capped(text: Cow<'_, str>) -> Option<String> {
    if text.len() > MAX_VALUE {
        return Some(format!("{}…", &text[..text.floor_char_boundary(MAX_VALUE)]));
    }
    match text {
        Cow::Owned(clean) => Some(clean),
        Cow::Borrowed(_) => None,
    }
}

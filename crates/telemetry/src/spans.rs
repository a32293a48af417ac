//! Spans on their way out: sampling, redaction, the export queue.

use std::borrow::Cow;
use std::time::Duration;

use opentelemetry::trace::{
    Link, SpanContext, SpanKind, Status, TraceContextExt, TraceId, TraceState,
};
use opentelemetry::{Array, Context, KeyValue, StringValue, Value};
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{
    Sampler as SdkSampler, SamplingDecision, SamplingResult, ShouldSample, Span, SpanData,
    SpanProcessor,
};
use redact::{MARK, is_secret_key, redact, redact_value};

use crate::pipeline::Pipeline;
use crate::settings::Sampler;

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

/// Redacts ended spans and queues them.
#[derive(Debug)]
pub(crate) struct Processor {
    pub(crate) pipeline: Pipeline<SpanData>,
}

impl SpanProcessor for Processor {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, mut span: SpanData) {
        if span.span_context.is_sampled() {
            clean_span(&mut span);
            self.pipeline.push(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        let flushed = self.pipeline.flush(Duration::from_secs(5));
        if flushed {
            Ok(())
        } else {
            Err(OTelSdkError::Timeout(Duration::from_secs(5)))
        }
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.pipeline.shutdown(timeout);
        Ok(())
    }
}

fn clean_span(span: &mut SpanData) {
    if let Some(name) = cleaned(&span.name) {
        span.name = Cow::Owned(name);
    }
    if let Status::Error { description } = &mut span.status
        && let Some(text) = cleaned(description)
    {
        *description = Cow::Owned(text);
    }
    clean_attributes(&mut span.attributes);
    clean_state(&mut span.span_context);
    for event in &mut span.events.events {
        if let Some(name) = cleaned(&event.name) {
            event.name = Cow::Owned(name);
        }
        clean_attributes(&mut event.attributes);
    }
    for link in &mut span.links.links {
        clean_attributes(&mut link.attributes);
        clean_state(&mut link.span_context);
    }
}

/// A caller's `tracestate` is exported with every span. One that holds a secret is left out whole: a part of it with a
/// mark in it would be another vendor's entry that says something else.
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

fn clean_attributes(attributes: &mut [KeyValue]) {
    for KeyValue { key, value, .. } in attributes {
        match value {
            Value::String(text) => {
                if let Some(clean) = cleaned_value(key.as_str(), text.as_str()) {
                    *text = StringValue::from(clean);
                }
            }
            Value::Array(Array::String(texts)) => {
                for text in texts {
                    if let Some(clean) = cleaned_value(key.as_str(), text.as_str()) {
                        *text = StringValue::from(clean);
                    }
                }
            }
            Value::Bool(_) => {}
            _ if is_secret_key(key.as_str()) => *value = MARK.into(),
            _ => {}
        }
    }
}

/// The redacted and capped text, when it differs.
pub(crate) fn cleaned(text: &str) -> Option<String> {
    capped(redact(text))
}

/// The same for the value of an attribute or field.
pub(crate) fn cleaned_value(key: &str, text: &str) -> Option<String> {
    capped(redact_value(key, text))
}

/// Cuts what is redacted already: the half of a secret that a cut would leave is no longer recognised.
fn capped(text: Cow<'_, str>) -> Option<String> {
    if text.len() > MAX_VALUE {
        return Some(format!("{}…", &text[..text.floor_char_boundary(MAX_VALUE)]));
    }
    match text {
        Cow::Owned(clean) => Some(clean),
        Cow::Borrowed(_) => None,
    }
}

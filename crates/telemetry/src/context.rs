//! The current trace, as text.

use opentelemetry::trace::{SpanContext, TraceContextExt, TraceState};
use tracing::Span;

use crate::propagation::{self, parse_traceparent};
use crate::spans;

/// Trace id of the current span, 32 hex digits; `None` outside a trace.
pub fn trace_id() -> Option<String> {
    trace_id_of(&Span::current())
}

/// W3C `traceparent` of the current span; `None` outside a trace.
pub fn traceparent() -> Option<String> {
    traceparent_of(&Span::current())
}

/// Makes a span that has not been entered the root of a trace, with a link to the span whose `traceparent` caused it.
pub fn begin_trace(span: &Span, cause: Option<&str>) {
    // Without this, the span entered around this call would become the parent.
    spans::set_parent(span, opentelemetry::Context::new());
    if let Some((trace_id, span_id, flags)) = cause.and_then(parse_traceparent) {
        let state = TraceState::default();
        let cause = SpanContext::new(trace_id, span_id, flags, true, state);
        spans::link(span, cause);
    }
}

/// Makes a span that has not been entered the continuation of what a caller's headers say (`traceparent`, `tracestate`,
/// `baggage`), as far as callers are trusted. The server side does it by itself; this is for other transports.
pub fn continue_trace(span: &Span, headers: &http::HeaderMap) {
    propagation::continue_trace(span, headers);
}

pub(crate) fn trace_id_of(span: &Span) -> Option<String> {
    span_context(span).map(|context| context.trace_id().to_string())
}

pub(crate) fn traceparent_of(span: &Span) -> Option<String> {
    propagation::traceparent(&spans::context(span))
}

fn span_context(span: &Span) -> Option<SpanContext> {
    let context = spans::context(span);
    let span = context.span();
    let span = span.span_context();
    span.is_valid().then(|| span.clone())
}
